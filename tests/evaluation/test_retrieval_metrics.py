"""mAP@100 against the official loop, and each of its traps."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.evaluation.ground_truth import RetrievalGroundTruth
from landmark_dag.evaluation.intervals import mean_interval
from landmark_dag.evaluation.retrieval_metrics import (
    average_precision,
    average_precisions,
    first_hits,
    precision_at,
    query_metrics,
    recall_at,
    retrieval_metrics,
)
from landmark_dag.settings.evaluation import BootstrapSettings
from landmark_dag.storage.schemas import RETRIEVAL_METRICS
from tests.evaluation import oracles

QUERIES = ["q0", "q1", "q2", "q3", "q4"]
INDEX = [f"i{number}" for number in range(8)]
FEW = BootstrapSettings(resamples=9)


def ground_truth(relevant: dict[str, set[str]], usages: dict[str, str]) -> RetrievalGroundTruth:
    queries = [(query, usages[query], len(relevant[query])) for query in sorted(relevant)]
    right = [(query, image_id) for query in relevant for image_id in relevant[query]]
    return RetrievalGroundTruth(
        pl.DataFrame(queries, schema=["query_id", "usage", "expected"], orient="row"),
        pl.DataFrame(right, schema=["query_id", "index_id"], orient="row"),
        frozenset(["ignored"]),
    )


def ranking(lists: oracles.Lists) -> pl.DataFrame:
    rows = [(query, rank, i) for query, images in lists.items() for rank, i in enumerate(images, start=1)]
    schema = {"query_id": pl.String, "rank": pl.Int32, "index_id": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


@st.composite
def cases(draw: st.DrawFn) -> tuple[oracles.Lists, dict[str, set[str]], dict[str, str]]:
    chosen = draw(st.lists(st.sampled_from(QUERIES), unique=True, min_size=1))
    relevant = {query: draw(st.sets(st.sampled_from(INDEX), min_size=1)) for query in chosen}
    usages = {query: draw(st.sampled_from(["Public", "Private"])) for query in chosen}
    answered = draw(st.lists(st.sampled_from([*chosen, "ignored"]), unique=True))
    lists = {query: draw(st.lists(st.sampled_from([*INDEX, "other"]), max_size=14)) for query in answered}
    return lists, relevant, usages


@settings(deadline=None, max_examples=200)
@given(cases(), st.integers(0, 99))
def test_map_is_the_official_one_for_each_usage(case, seed: int) -> None:
    lists, relevant, usages = case
    shuffled = ranking(lists).sample(fraction=1, shuffle=True, seed=seed)
    metrics = retrieval_metrics({"knn": shuffled, "empty": ranking({})}, ground_truth(relevant, usages), FEW)
    assert metrics.schema == RETRIEVAL_METRICS.schema
    expected = {}
    for usage in ("Public", "Private", "all"):
        some = {query: right for query, right in relevant.items() if usage in ("all", usages[query])}
        if some:
            expected["knn", usage] = (100 * oracles.mean_average_precision(lists, some), len(some))
            expected["empty", usage] = (0, len(some))
    found = metrics.select("step", "usage", "map_at_100", "queries").rows()
    assert {row[:2]: (pytest.approx(row[2], abs=1e-10), row[3]) for row in found} == expected


@settings(deadline=None)
@given(cases())
def test_every_metric_has_a_value_a_query_and_an_interval_of_their_mean(case) -> None:
    lists, relevant, usages = case
    truth = ground_truth(relevant, usages)
    per_query = query_metrics(ranking(lists), truth)
    for row in per_query.iter_rows(named=True):
        right = relevant[row["query_id"]]
        listed = [set(lists.get(row["query_id"], [])[:rank]) & right for rank in (1, 10, 100)]
        shares = [len(listed[0]), len(listed[1]) / 10, len(listed[1]) / len(right), len(listed[2]) / len(right)]
        found = [row[name] for name in ("precision_at_1", "precision_at_10", "recall_at_10", "recall_at_100")]
        assert found == pytest.approx([100 * share for share in shares])
    metrics = retrieval_metrics({"knn": ranking(lists)}, truth, FEW).filter(usage="all")
    for name in per_query.columns[2:]:
        ends = mean_interval(per_query[name].to_numpy(), FEW)
        assert metrics.select(name, f"{name}_low", f"{name}_high").row(0) == pytest.approx(ends)


def test_photos_whose_hashes_are_equal_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []

    def hashes(series: pl.Series, seed: int) -> pl.Series:
        seeds.append(seed)
        return series.str.len_bytes().cast(pl.UInt64) + seed * original(series)

    original = pl.Series.hash
    monkeypatch.setattr(pl.Series, "hash", hashes)
    truth = ground_truth({"q": {"aa", "bbb"}}, {"q": "Public"})
    assert average_precisions(ranking({"q": ["zz", "aa"]}), truth)["average_precision"].to_list() == [25]
    assert set(seeds) == {0, 1}


@settings(deadline=None)
@given(cases(), st.integers(1, 12))
def test_precision_recall_and_other_limits_are_those_of_sets(case, rank: int) -> None:
    lists, relevant, _ = case
    codes = {image_id: code for code, image_id in enumerate(INDEX)}
    queries = sorted(relevant)
    offsets = np.cumsum([0] + [len(lists.get(query, [])) for query in queries])
    positions = np.array([codes.get(i, -1) for query in queries for i in lists.get(query, [])], dtype=np.int32)
    right = [sorted(codes[i] for i in relevant[query]) for query in queries]
    expected = np.array([len(some) for some in right])
    right_offsets = np.concatenate([[0], np.cumsum(expected)])
    hits = first_hits(offsets, positions, right_offsets, np.concatenate(right).astype(np.int32))
    found = [len(set(lists.get(query, [])[:rank]) & relevant[query]) for query in queries]
    assert precision_at(offsets, hits, rank).tolist() == [count / rank for count in found]
    np.testing.assert_allclose(recall_at(offsets, hits, expected, rank), np.array(found) / expected)
    np.testing.assert_allclose(
        average_precision(offsets, hits, expected, rank).mean(),
        oracles.mean_average_precision(lists, relevant, rank),
    )


def test_a_repeated_hit_counts_once_and_keeps_its_rank() -> None:
    truth = ground_truth({"q": {"a", "b"}}, {"q": "Public"})
    found = average_precisions(ranking({"q": ["a", "a", "b"]}), truth)
    assert found.rows() == [("q", "Public", 100 * (1 + 2 / 3) / 2)]


def test_a_list_counts_up_to_rank_100_and_so_do_relevant_photos() -> None:
    many = [f"i{number:03}" for number in range(150)]
    truth = ground_truth({"q": set(many), "p": {"i149"}}, {"q": "Public", "p": "Public"})
    found = average_precisions(ranking({"q": many, "p": many}), truth)
    assert found["average_precision"].to_list() == [0, pytest.approx(100)]


def test_a_query_that_the_ground_truth_does_not_know_is_refused() -> None:
    truth = ground_truth({"q": {"a"}}, {"q": "Public"})
    with pytest.raises(InputError, match="does not know query zz"):
        average_precisions(ranking({"q": ["a"], "zz": ["a"], "ignored": ["a"]}), truth)
