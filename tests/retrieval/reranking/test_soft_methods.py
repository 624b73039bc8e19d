"""The soft variants against plain oracles, one photo at a time."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.retrieval.reranking.agreement import agreement_ranking
from landmark_dag.retrieval.reranking.bridged import bridged_ranking
from landmark_dag.retrieval.reranking.label_product import label_product_ranking
from landmark_dag.settings.reranking import InsertSettings, SoftSettings
from landmark_dag.storage.schemas import NEIGHBOURS, RANKING, VOTES

QUERIES, INDEX = ["q1", "q2"], [f"i{n}" for n in range(7)]


def agreement(lists: pl.DataFrame, queries: pl.DataFrame, index: pl.DataFrame, insert: InsertSettings) -> pl.DataFrame:
    return agreement_ranking(lists, queries, index, insert, SoftSettings())


def bridged(lists: pl.DataFrame, queries: pl.DataFrame, index: pl.DataFrame, insert: InsertSettings) -> pl.DataFrame:
    return bridged_ranking(lists, queries, index, insert, SoftSettings())


METHODS = {"agreement": agreement, "label_product": label_product_ranking, "bridged": bridged}
values = st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0])
Scores = dict[str, dict[int, float]]
Lists = dict[str, list[tuple[str, float]]]


def scores_frame(scores: Scores) -> pl.DataFrame:
    rows = [(photo, landmark, value) for photo, row in scores.items() for landmark, value in row.items()]
    return pl.DataFrame(rows, schema=VOTES.schema, orient="row")


def neighbours_frame(lists: Lists) -> pl.DataFrame:
    rows = [(q, rank, i, s) for q, row in lists.items() for rank, (i, s) in enumerate(row, start=1)]
    return pl.DataFrame(rows, schema=NEIGHBOURS.schema, orient="row")


def rows_of(ranking: pl.DataFrame) -> dict[str, list[tuple]]:
    assert ranking.schema == RANKING.schema
    found: dict[str, list[tuple]] = {}
    for query, rank, *row in ranking.rows():
        found.setdefault(query, []).append(tuple(row))
        assert rank == len(found[query])
    return found


@st.composite
def cases(draw: st.DrawFn, most_landmarks: int) -> tuple[Lists, Scores, Scores]:
    rows = st.dictionaries(st.integers(0, 2), values, min_size=1, max_size=most_landmarks)
    queries, index = {q: draw(rows) for q in QUERIES}, {i: draw(rows) for i in INDEX}
    listed = st.lists(st.tuples(st.sampled_from(INDEX), values), unique_by=lambda row: row[0], min_size=1)
    lists = {q: sorted(draw(listed), key=lambda row: -row[1]) for q in QUERIES}
    return lists, queries, index


def in_order(lists: list[tuple[str, float]], total: dict[str, float], limit: int) -> list[str]:
    """Ids by score descending, then place in the list, then id."""
    place = {image_id: number for number, (image_id, _) in enumerate(lists)}
    return sorted(total, key=lambda i: (-total[i], place.get(i, len(INDEX)), i))[:limit]


@settings(deadline=None)
@given(cases(1), st.integers(1, 9))
def test_agreement_adds_and_takes_away_confidence(case, limit: int) -> None:
    lists, queries, index = case
    soft = SoftSettings(agreement_bonus=1, disagreement_penalty=0.25)
    found = agreement_ranking(
        neighbours_frame(lists), scores_frame(queries), scores_frame(index), InsertSettings(limit=limit), soft
    )
    for query, row in rows_of(found).items():
        (landmark,) = queries[query]
        same = {i: landmark in index[i] for i, _ in lists[query]}
        total = {i: s + next(iter(index[i].values())) * (1 if same[i] else -0.25) for i, s in lists[query]}
        expected = in_order(lists[query], total, limit)
        reasons = ["same landmark" if same[i] else "retrieved" for i in expected]
        assert [(r[0], r[2]) for r in row] == list(zip(expected, reasons, strict=True))
        assert {r[0]: r[1] for r in row} == {i: dict(lists[query])[i] for i in expected}


def through_landmarks(case, query: str, method: str, limit: int) -> list[tuple]:
    lists, queries, index = case
    listed = dict(lists[query])
    joined, total = {}, {}
    for image_id in INDEX:
        pairs = [(v, index[image_id][m]) for m, v in queries[query].items() if v > 0 and index[image_id].get(m, 0) > 0]
        direct = 0.0
        if method == "bridged":
            joined[image_id] = max((min(pair) for pair in pairs), default=0) ** 3
            direct = (1 / max(1 - listed[image_id], 1e-3)) ** 3 if image_id in listed else 0
        else:
            joined[image_id] = sum(a * b for a, b in pairs)
        if image_id in listed or joined[image_id]:
            total[image_id] = joined[image_id] + direct
    rows = []
    for image_id in in_order(lists[query], total, limit):
        reason = "retrieved" if not joined[image_id] else "same landmark" if image_id in listed else "inserted"
        rows.append((image_id, listed.get(image_id), reason))
    return rows


@settings(deadline=None, max_examples=200)
@given(cases(3), st.integers(1, 9), st.sampled_from(["label_product", "bridged"]), st.integers(0, 99))
def test_landmarks_join_queries_and_photos_as_the_oracle_says(case, limit: int, method: str, seed: int) -> None:
    lists, queries, index = case
    votes = [scores_frame(scores).sample(fraction=1, shuffle=True, seed=seed) for scores in (queries, index)]
    neighbours = neighbours_frame(lists).sample(fraction=1, shuffle=True, seed=seed)
    found = METHODS[method](neighbours, *votes, InsertSettings(limit=limit))
    assert rows_of(found) == {q: through_landmarks(case, q, method, limit) for q in QUERIES}


@pytest.mark.parametrize("method", METHODS)
def test_bad_input_is_refused_by_every_variant(method: str) -> None:
    votes = scores_frame({"q": {1: 0.5}}), scores_frame({"a": {1: 0.5}})
    with pytest.raises(InputError, match="Index photo zz has no vote"):
        METHODS[method](neighbours_frame({"q": [("zz", 0.5)]}), *votes, InsertSettings())


def test_tiny_confidences_join_too() -> None:
    votes = scores_frame({"q": {1: 1e-30, 2: 1e-30}}), scores_frame({i: {1: 1e-30, 2: 1e-30} for i in "ab"})
    found = label_product_ranking(neighbours_frame({"q": [("b", 0.5)]}), *votes, InsertSettings())
    assert rows_of(found)["q"] == [("b", 0.5, "same landmark"), ("a", None, "inserted")]


@pytest.mark.parametrize("method", METHODS)
def test_no_lists_make_no_ranking(method: str) -> None:
    votes = scores_frame({"q": {1: 0.5}}), scores_frame({"a": {1: 0.5}})
    assert METHODS[method](NEIGHBOURS.empty(), *votes, InsertSettings()).equals(RANKING.empty())
