"""Methods side by side, and the sweep, on small photos with known landmarks."""

import numpy as np
import polars as pl
import pytest

from landmark_dag.errors import InputError
from landmark_dag.evaluation.comparison import (
    PROPOSED,
    SWEPT_K,
    SWEPT_THRESHOLDS,
    Photos,
    comparison_summary,
    reranking_comparison,
    reranking_sweep,
)
from landmark_dag.evaluation.ground_truth import read_retrieval_ground_truth
from landmark_dag.evaluation.retrieval_metrics import retrieval_metrics
from landmark_dag.retrieval.neighbour_search import neighbour_table, train_neighbour_table
from landmark_dag.retrieval.reranking.insert import inserted_ranking
from landmark_dag.retrieval.reranking.sort import sorted_ranking
from landmark_dag.retrieval.votes import votes_of
from landmark_dag.settings.evaluation import BootstrapSettings, ComparisonSettings
from landmark_dag.settings.reranking import InsertSettings
from landmark_dag.settings.retrieval import NeighbourSettings, TrainNeighbourSettings
from landmark_dag.storage.embeddings import Embeddings
from landmark_dag.storage.schemas import CLEANED_DATASET, RERANKING_COMPARISON, RERANKING_SWEEP
from tests.support.vectors import landmark_embeddings

LIMIT = 12
METHODS = ["kNN", "sort", PROPOSED, "agreement", "label_product", "bridged"]
METHODS += [
    name + more for name in ("alpha-QE", "DBA", "diffusion", "EGT", "k-reciprocal") for more in ("", f" + {PROPOSED}")
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    """7 queries, of which one is ignored and one is unlike its landmark; 40 index photos; 24 train photos."""
    of_queries, of_index, of_train = (np.arange(count) % 4 for count in (7, 40, 24))
    queries, index = (landmark_embeddings(*split, 16, 0.9) for split in (("q", of_queries), ("i", of_index)))
    train = landmark_embeddings("t", of_train, 16, 0.6)
    rows = [(image_id, int(m), int(m)) for image_id, m in zip(train.image_ids, of_train, strict=True)]
    cleaned = pl.DataFrame(rows, schema=CLEANED_DATASET.schema, orient="row")
    train_neighbours = [
        train_neighbour_table(split, train, cleaned, TrainNeighbourSettings()) for split in (queries, index)
    ]
    solution = tmp_path_factory.mktemp("truth") / "solution.csv"
    lines = ["id,images,Usage"]
    for number, landmark in enumerate(of_queries):
        relevant = " ".join(f"i{n:02}" for n in np.flatnonzero(of_index == landmark))
        usage = ("Public", "Private")[number % 2] if number < 6 else "Ignored"
        lines.append(f"q{number:02},{relevant},{usage}")
    solution.write_text("\n".join(lines) + "\n")
    return Photos(queries, index, *train_neighbours, read_retrieval_ground_truth(solution))


@pytest.fixture(scope="module")
def compared(photos: Photos) -> pl.DataFrame:
    settings = ComparisonSettings(
        candidates=20, insert=InsertSettings(limit=LIMIT), bootstrap=BootstrapSettings(resamples=200)
    )
    return reranking_comparison(photos, settings)


def test_every_method_is_beside_the_proposed_one_for_every_usage(compared: pl.DataFrame) -> None:
    assert compared.schema == RERANKING_COMPARISON.schema
    assert compared["method"].unique(maintain_order=True).to_list() == METHODS
    assert compared.group_by("usage").len().sort("usage").rows() == [("Private", 16), ("Public", 16), ("all", 16)]
    assert compared.filter(usage="all")["queries"].unique().to_list() == [6]
    assert compared.filter(method=PROPOSED)["difference"].to_list() == [0.0] * 3


def test_means_and_differences_lie_in_their_intervals(compared: pl.DataFrame) -> None:
    assert compared.filter(~pl.col("map_at_100").is_between(pl.col("low") - 1e-9, pl.col("high") + 1e-9)).is_empty()
    ours = dict(compared.filter(method=PROPOSED).select("usage", "map_at_100").rows())
    for row in compared.rows(named=True):
        assert row["difference"] == pytest.approx(row["map_at_100"] - ours[row["usage"]])
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]


def test_the_papers_steps_score_as_the_pipelines_do(photos: Photos, compared: pl.DataFrame) -> None:
    knn = neighbour_table(photos.queries, photos.index, NeighbourSettings(neighbours=LIMIT))
    votes = votes_of(photos.query_train_neighbours, 3), votes_of(photos.index_train_neighbours, 3)
    ranked = sorted_ranking(knn, *votes)
    steps = {"kNN": knn, "sort": ranked, PROPOSED: inserted_ranking(ranked, *votes, InsertSettings(limit=LIMIT))}
    expected = retrieval_metrics(steps, photos.truth).rename({"step": "method"})
    found = compared.join(expected, on=["method", "usage"], suffix="_expected")
    assert found.height == 9
    assert found["map_at_100"].to_list() == pytest.approx(found["map_at_100_expected"].to_list())


def test_the_sweep_scores_as_single_runs_do(photos: Photos) -> None:
    knn = neighbour_table(photos.queries, photos.index, NeighbourSettings(neighbours=LIMIT))
    swept = reranking_sweep(knn, photos, LIMIT)
    assert swept.schema == RERANKING_SWEEP.schema
    assert swept.select("k", "threshold").rows() == [(k, t) for k in SWEPT_K for t in SWEPT_THRESHOLDS]
    for k, threshold in ((1, 0.0), (3, 0.6), (3, 1.4), (10, 0.5)):
        votes = votes_of(photos.query_train_neighbours, k), votes_of(photos.index_train_neighbours, k)
        ranking = inserted_ranking(knn, *votes, InsertSettings(threshold=threshold, limit=LIMIT))
        expected = retrieval_metrics({"x": ranking}, photos.truth).filter(usage="all")["map_at_100"][0]
        assert swept.filter(k=k, threshold=threshold)["map_at_100"][0] == pytest.approx(expected)


def test_the_sweep_goes_as_far_as_there_are_train_neighbours(photos: Photos) -> None:
    knn = neighbour_table(photos.queries, photos.index, NeighbourSettings(neighbours=LIMIT))
    train_neighbours = [
        split.filter(pl.col("rank") <= 2) for split in (photos.query_train_neighbours, photos.index_train_neighbours)
    ]
    few = Photos(photos.queries, photos.index, *train_neighbours, photos.truth)
    assert reranking_sweep(knn, few, LIMIT)["k"].unique().to_list() == [1, 2]


def test_a_query_without_a_list_counts_as_nothing_found(photos: Photos) -> None:
    knn = neighbour_table(photos.queries, photos.index, NeighbourSettings(neighbours=LIMIT))
    whole, without = (
        reranking_sweep(frame, photos, LIMIT).filter(k=3, threshold=0.6)["map_at_100"][0]
        for frame in (knn, knn.filter(pl.col("query_id") != "q00"))
    )
    assert without < whole


def test_the_summary_has_a_row_a_method_with_every_usage(compared: pl.DataFrame) -> None:
    summary = comparison_summary(compared)
    assert summary.columns == ["method", "Public", "Private", "all", "interval", f"to {PROPOSED}", "seconds"]
    assert summary["method"].to_list() == METHODS
    row = compared.filter(method=PROPOSED, usage="all").row(0, named=True)
    assert summary.filter(method=PROPOSED)["all"][0] == row["map_at_100"]
    assert summary.filter(method=PROPOSED)[f"to {PROPOSED}"][0] == "0.0 (0.0 to 0.0)"


def test_two_models_are_refused(photos: Photos) -> None:
    other = Embeddings(photos.index.image_ids, photos.index.vectors, "other")
    mixed = Photos(photos.queries, other, photos.query_train_neighbours, photos.index_train_neighbours, photos.truth)
    with pytest.raises(InputError, match="Embeddings of two models"):
        reranking_comparison(mixed, ComparisonSettings())


def test_a_query_that_the_ground_truth_does_not_know_is_refused(photos: Photos) -> None:
    stranger = Embeddings([*photos.queries.image_ids[:-1], "stranger"], photos.queries.vectors, "m")
    mixed = Photos(stranger, photos.index, photos.query_train_neighbours, photos.index_train_neighbours, photos.truth)
    with pytest.raises(InputError, match="does not know query stranger"):
        reranking_comparison(mixed, ComparisonSettings())
