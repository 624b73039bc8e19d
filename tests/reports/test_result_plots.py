"""Plots of results: what is counted in them, and that there is one for each question."""

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from landmark_dag.evaluation.ground_truth import RecognitionGroundTruth, RetrievalGroundTruth
from landmark_dag.reports import plots as pictures
from landmark_dag.reports.result_plots import retrieval_pictures, vote_pictures
from landmark_dag.storage.schemas import NEIGHBOURS, RANKING, VOTES

TRUTH = RetrievalGroundTruth(
    pl.DataFrame({"query_id": ["a", "b", "c"], "usage": ["Public"] * 3, "expected": [2, 1, 1]}),
    pl.DataFrame({"query_id": ["a", "a", "b", "c"], "index_id": ["x", "z", "y", "x"]}),
    frozenset(["ignored"]),
)
KNN = pl.DataFrame(
    [("a", 1, "y", 0.9), ("a", 2, "x", 0.5), ("b", 1, "y", 0.8), ("ignored", 1, "x", 0.1)],
    schema=NEIGHBOURS.schema,
    orient="row",
)
INSERTED = pl.DataFrame(
    [("a", 1, "x", 0.5, "same landmark"), ("a", 2, "z", None, "inserted"), ("b", 1, "y", 0.8, "retrieved")],
    schema=RANKING.schema,
    orient="row",
)


def test_plots_are_made_of_the_queries_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, tuple] = {}
    for name in ("step_bars", "precision_recall", "precision_by_landmark_size", "similarities"):
        monkeypatch.setattr(pictures, name, lambda *drawn, name=name: given.setdefault(name, drawn) and b"png")
    assert set(retrieval_pictures({"knn": KNN, "inserted": INSERTED}, TRUTH).values()) == {b"png"}
    assert given["step_bars"][0] == pytest.approx({"kNN": 100 * (1 / 4 + 1) / 3, "insert": 200 / 3})
    hits, expected = given["precision_recall"]
    assert [np.flatnonzero(row).tolist() for row in hits["kNN"]] == [[1], [0], []]
    assert [np.flatnonzero(row).tolist() for row in hits["insert"]] == [[0, 1], [0], []]
    assert expected.tolist() == [2, 1, 1]
    assert given["precision_by_landmark_size"][1]["insert"].tolist() == [100, 100, 0]
    similarity, relevant = given["similarities"]
    assert sorted(zip(similarity.tolist(), relevant.tolist(), strict=True)) == [
        (0.5, True), (pytest.approx(0.8), True), (pytest.approx(0.9), False),
    ]  # fmt: skip


def test_every_plot_is_a_picture() -> None:
    drawn = retrieval_pictures({"knn": KNN, "inserted": INSERTED}, TRUTH)
    for png in drawn.values():
        assert min(Image.open(io.BytesIO(png)).size) > 150
    assert len(set(drawn.values())) == 4


def test_without_a_query_that_counts_there_is_nothing_to_draw() -> None:
    nothing = RetrievalGroundTruth(TRUTH.queries.clear(), TRUTH.right.clear(), frozenset(["a", "b", "ignored"]))
    assert retrieval_pictures({"knn": KNN}, nothing) == {}


def test_votes_are_right_or_wrong_by_the_ground_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(pictures, "vote_confidence", lambda *drawn: given.append(drawn) or b"png")
    truth = RecognitionGroundTruth(
        pl.DataFrame({"query_id": ["a", "b"], "usage": ["Public"] * 2, "expected": [1, 0]}),
        pl.DataFrame({"query_id": ["a"], "landmark_id": [7]}),
        frozenset(["c"]),
    )
    votes = pl.DataFrame([("a", 7, 0.5), ("b", 7, 0.25), ("c", 7, 1.0)], schema=VOTES.schema, orient="row")
    assert list(vote_pictures(votes, truth).values()) == [b"png"]
    ((confidence, right),) = given
    assert dict(zip(confidence.tolist(), right.tolist(), strict=True)) == {0.5: True, 0.25: False}
