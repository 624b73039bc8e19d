"""Checks of stored tables: nothing is said of sound ones, and every kind of damage is named."""

import numpy as np
import polars as pl
import pytest

from landmark_dag.evaluation.data_checks import (
    embedding_problems,
    graph_problems,
    label_problems,
    queries_also_elsewhere,
    ranking_problems,
    regression_problems,
    step_problems,
    vote_problems,
)
from landmark_dag.settings.checks import DataCheckSettings
from landmark_dag.storage.schemas import LABELS, MANIFEST, NEIGHBOURS, RANKING, VOTES

QUERIES, INDEX = pl.Series(["q1", "q2"]), pl.Series(["a", "b", "c"])


def manifest(fingerprints: dict[str, str]) -> pl.DataFrame:
    rows = [(image_id, "/p", 0, 1, 4, 3, found) for image_id, found in fingerprints.items()]
    return pl.DataFrame(rows, schema=MANIFEST.schema, orient="row")


def graph(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=NEIGHBOURS.schema, orient="row")


def ranking(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=RANKING.schema, orient="row")


GRAPH = [("q1", 1, "a", 0.9), ("q1", 2, "b", 0.9), ("q2", 1, "c", 0.5), ("q2", 2, "a", 0.1)]
RANKED = [
    ("q1", 1, "a", 0.9, "same landmark"),
    ("q1", 2, "c", None, "inserted"),
    ("q1", 3, "b", 0.9, "retrieved"),
    ("q2", 1, "c", 0.5, "retrieved"),
]


def test_a_query_that_also_lies_in_train_or_index_is_found_by_its_bytes() -> None:
    manifests = {
        "query": manifest({"q1": "x", "q2": "y", "q3": "z"}),
        "train": manifest({"t1": "x", "t2": "w"}),
        "index": manifest({"i1": "x", "i2": "z"}),
    }
    assert queries_also_elsewhere(manifests).rows() == [
        ("q1", "index", "i1"),
        ("q1", "train", "t1"),
        ("q3", "index", "i2"),
    ]


def test_labels_that_are_missing_or_shared_are_told() -> None:
    labels = pl.DataFrame([("a", 1, "tower"), ("b", 2, "tower")], schema=LABELS.schema, orient="row")
    assert label_problems(labels, manifest({"a": "x", "c": "y"})) == [
        "1 train photos have no label, such as c.",
        "1 landmark names belong to several landmark ids, such as 'tower'.",
    ]
    assert label_problems(labels.head(1), manifest({"a": "x"})) == []


def test_sound_embeddings_have_no_problem() -> None:
    vectors = np.array([[0.6, 0.8], [1, 0]], np.float16)
    assert embedding_problems(["a", "b"], vectors, "m", manifest({"a": "x", "b": "y"}), "m") == []


@pytest.mark.parametrize(
    ("ids", "vectors", "model", "problem"),
    [
        (["a"], [[1, 0]], "m", "1 photos have no embedding, such as b."),
        (["a", "b", "z"], [[1, 0]] * 3, "m", "1 embeddings are of photos that are not in the manifest, such as z."),
        (["a", "a", "b"], [[1, 0]] * 3, "m", "1 photos have a second embedding."),
        (["a", "b"], [[1, 0], [2, 0]], "m", "1 embeddings do not have length 1, such as that of b, of length 2."),
        (["a", "b"], [[1, 0], [np.nan, 0]], "m", "such as that of b, of length nan."),
        (["a", "b"], [[1, 0]] * 2, "old", "The embeddings are by model old, the trained model is m."),
    ],
)
def test_damage_to_embeddings_is_told(ids: list[str], vectors: list, model: str, problem: str) -> None:
    found = embedding_problems(ids, np.array(vectors, np.float16), model, manifest({"a": "x", "b": "y"}), "m")
    assert len(found) == 1 and found[0].endswith(problem)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (GRAPH, None),
        (GRAPH[:2], "1 queries have no list, such as q2."),
        (GRAPH[:3], "1 lists do not have 2 photos, such as that of q2, which has 1."),
        ([*GRAPH[:3], ("q2", 2, "zz", 0.1)], "The list of q2 has zz, which is not an index photo."),
        ([*GRAPH[:3], ("q2", 2, "c", 0.1)], "The list of q2 has c more than once."),
        ([*GRAPH[:3], ("q2", 3, "a", 0.1)], "The ranks of q2 do not count from 1 without gaps."),
        ([*GRAPH[:3], ("q2", 2, "a", 0.6)], "The list of q2 rises in similarity at rank 2."),
    ],
)
def test_damage_to_a_graph_is_told(rows: list[tuple], problem: str | None) -> None:
    assert graph_problems(graph(rows), QUERIES, INDEX, 2) == ([problem] if problem else [])


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([("q1", 7, 0.9), ("q2", 8, -0.1)], None),
        ([("q1", 7, 0.9)], "1 photos have no vote, such as q2."),
        ([("q1", 7, 0.9), ("q2", 9, 0.2)], "Photo q2 votes for landmark 9, which is not in the cleaned dataset."),
        ([("q1", 7, 0.9), ("q2", 8, 1.5)], "The confidence of q2 is 1.5, outside -1 to 1."),
        ([("q1", 7, 0.9), ("q2", 8, float("nan"))], "The confidence of q2 is nan, outside -1 to 1."),
    ],
)
def test_damage_to_votes_is_told(rows: list[tuple], problem: str | None) -> None:
    votes = pl.DataFrame(rows, schema=VOTES.schema, orient="row")
    assert vote_problems(votes, QUERIES, pl.Series([7, 8])) == ([problem] if problem else [])


@pytest.mark.parametrize(
    ("rows", "in_steps", "problem"),
    [
        (RANKED, True, None),
        ([*RANKED, ("q2", 2, "a", 0.1, "retrieved"), ("q2", 3, "b", 0.1, "retrieved"),
          ("q2", 4, "zz", 0.1, "retrieved")], True, "The list of q2 has zz, which is not an index photo."),
        ([*RANKED, ("q2", 2, "c", 0.1, "retrieved")], True, "The list of q2 has c more than once."),
        ([*RANKED, ("q2", 2, "a", 0.4, "same landmark")], True,
         "The list of q2 has a photo with the reason 'same landmark' after photos that must follow it, at rank 2."),
        ([*RANKED, ("q2", 2, "a", 0.4, "same landmark")], False, None),
        ([*RANKED, ("q2", 2, "a", 0.4, "magic")], True, "The list of q2 has the unknown reason 'magic'."),
    ],
)  # fmt: skip
def test_damage_to_a_ranking_is_told(rows: list[tuple], in_steps: bool, problem: str | None) -> None:
    found = ranking_problems(ranking(rows), QUERIES, INDEX, 4, in_steps)
    assert found == ([problem] if problem else [])


def test_a_list_over_the_limit_is_told() -> None:
    found = ranking_problems(ranking(RANKED), QUERIES, INDEX, 2, True)
    assert found == ["The list of q1 has 3 photos, more than 2."]


def test_a_step_may_lose_no_more_than_a_margin_against_the_one_before() -> None:
    settings = DataCheckSettings(step_margin=1.0)
    assert step_problems({"knn": 50.0, "sorted": 49.5, "inserted": 60.0}, settings) == []
    assert step_problems({"knn": 50.0, "sorted": 48.0}, settings) == [
        "mAP@100 falls from 50.0 (knn) to 48.0 (sorted).",
    ]


def test_a_step_may_lose_no_more_than_a_margin_against_the_last_good_run() -> None:
    settings = DataCheckSettings(run_margin=2.0)
    assert regression_problems({"knn": 50.0}, {}, settings) == []
    assert regression_problems({"knn": 50.0}, {"knn": 51.5}, settings) == []
    assert regression_problems({"knn": 50.0}, {"knn": 52.5}, settings) == [
        "mAP@100 (knn) is 50.0; the last good run had 52.5.",
    ]
