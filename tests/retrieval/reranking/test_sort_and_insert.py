"""Sort-step and insert-step against a plain oracle on random small lists."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.retrieval.reranking.insert import group_by_landmark, inserted_ranking
from landmark_dag.retrieval.reranking.sort import sort_step, sorted_ranking
from landmark_dag.settings.reranking import InsertSettings
from landmark_dag.storage.schemas import NEIGHBOURS, RANKING, VOTES
from tests.retrieval import oracles

QUERIES = ["q1", "q2", "0000000000001e10", 'ü ,"']
INDEX = [f"i{n}" for n in range(12)]
confidences = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0])


def votes_frame(votes: oracles.Votes) -> pl.DataFrame:
    rows = [(image_id, landmark, confidence) for image_id, (landmark, confidence) in votes.items()]
    return pl.DataFrame(rows, schema=VOTES.schema, orient="row")


def neighbours_frame(lists: dict[str, list[str]]) -> pl.DataFrame:
    rows = [
        (query, rank, image_id, 1 - rank / 64)
        for query, retrieved in lists.items()
        for rank, image_id in enumerate(retrieved, start=1)
    ]
    return pl.DataFrame(rows, schema=NEIGHBOURS.schema, orient="row")


def rows_of(frame: pl.DataFrame) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for query, rank, image_id, _, reason in frame.rows():
        found.setdefault(query, []).append((image_id, reason))
        assert rank == len(found[query])
    return found


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, list[str]], oracles.Votes, oracles.Votes]:
    landmarks = st.integers(0, draw(st.integers(0, 3)))
    query_votes = {query: (draw(landmarks), draw(confidences)) for query in draw(st.permutations(QUERIES))}
    index_votes = {image_id: (draw(landmarks), draw(confidences)) for image_id in draw(st.permutations(INDEX))}
    lists = {
        query: draw(st.lists(st.sampled_from(INDEX), unique=True, min_size=1, max_size=len(INDEX)))
        for query in draw(st.lists(st.sampled_from(QUERIES), unique=True))
    }
    return lists, query_votes, index_votes


@settings(deadline=None, max_examples=300)
@given(
    cases(),
    st.randoms(use_true_random=False),
    st.sampled_from([0.0, 0.6, 0.5, 2.0, -1.0]),
    st.integers(1, 14),
)
def test_both_steps_are_those_of_the_oracle(case, random, threshold: float, limit: int) -> None:
    lists, query_votes, index_votes = case
    frames = votes_frame(query_votes), votes_frame(index_votes)
    neighbours = neighbours_frame(lists).sample(fraction=1, shuffle=True, seed=random.randint(0, 1000))
    ranking = sorted_ranking(neighbours, *frames)
    assert ranking.schema == RANKING.schema
    assert rows_of(ranking) == {q: oracles.sort_step(q, lists[q], query_votes, index_votes) for q in sorted(lists)}
    insert = InsertSettings(threshold=threshold, limit=limit)
    inserted = inserted_ranking(ranking, *frames, insert)
    assert inserted.equals(inserted_ranking(neighbours, *frames, insert))
    assert inserted.schema == RANKING.schema
    assert rows_of(inserted) == {
        q: oracles.insert_step(q, lists[q], query_votes, index_votes, threshold, limit) for q in sorted(lists)
    }


@settings(deadline=None)
@given(cases())
def test_a_similarity_stays_with_its_photo_and_is_null_where_inserted(case) -> None:
    lists, query_votes, index_votes = case
    neighbours = neighbours_frame(lists)
    given_similarity = {(row[0], row[2]): row[3] for row in neighbours.rows()}
    frames = votes_frame(query_votes), votes_frame(index_votes)
    ranking = inserted_ranking(sorted_ranking(neighbours, *frames), *frames, InsertSettings())
    for query, _, image_id, similarity, reason in ranking.rows():
        assert similarity == given_similarity.get((query, image_id))
        assert (similarity is None) == (reason == "inserted")


def test_confidences_that_sum_to_the_threshold_insert_nothing() -> None:
    votes = votes_frame({"q": (1, 0.3)}), votes_frame({"a": (2, 0.9), "b": (1, 0.3), "c": (1, 0.301)})
    ranking = sorted_ranking(neighbours_frame({"q": ["a"]}), *votes)
    inserted = inserted_ranking(ranking, *votes, InsertSettings(threshold=0.6))
    assert rows_of(inserted) == {"q": [("c", "inserted"), ("a", "retrieved")]}


def test_groups_hold_every_photo_once_by_confidence_then_position() -> None:
    groups = group_by_landmark(np.array([5, -3, 5, 5, -3]), np.float32([0.1, 0.5, 0.9, 0.9, 0.5]))
    assert groups.landmarks.tolist() == [-3, 5]
    assert groups.offsets.tolist() == [0, 2, 5]
    assert groups.members.tolist() == [1, 4, 2, 3, 0]
    assert groups.place.tolist() == [2, 0, 0, 1, 1]
    assert groups.find(np.array([5, 4, -3, 6])).tolist() == [1, -1, 0, -1]


def test_no_rows_make_no_ranking() -> None:
    votes = votes_frame({"q": (1, 0.3)}), votes_frame({"a": (2, 0.9)})
    ranking = sorted_ranking(NEIGHBOURS.empty(), *votes)
    assert ranking.equals(RANKING.empty())
    assert inserted_ranking(ranking, *votes, InsertSettings()).equals(RANKING.empty())


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"q": ["a", "zz"]}, "Index photo zz has no vote"),
        ({"zz": ["a"]}, "Query zz has no vote"),
        ({"q": ["a", "b", "a"]}, "Query q lists index photo a twice"),
    ],
)
def test_bad_lists_are_refused_by_name(lists: dict[str, list[str]], message: str) -> None:
    votes = votes_frame({"q": (1, 0.3)}), votes_frame({"a": (2, 0.9), "b": (1, 0.2)})
    with pytest.raises(InputError, match=message):
        sorted_ranking(neighbours_frame(lists), *votes)


def test_ranks_with_a_gap_are_refused() -> None:
    votes = votes_frame({"q": (1, 0.3)}), votes_frame({"a": (2, 0.9), "b": (1, 0.2)})
    frame = neighbours_frame({"q": ["a", "b"]}).with_columns(rank=pl.Series([1, 3], dtype=pl.Int32))
    with pytest.raises(InputError, match=r"ranks of query q are not 1, 2, 3 \.\.\.: one of them is 3"):
        sorted_ranking(frame, *votes)


@pytest.mark.parametrize(
    ("offsets", "positions"), [([0, 1, 2], [0, 0]), ([0, 1], [0, 1]), ([0, 2], [0, 2]), ([0, 1], [-1])]
)
def test_lists_that_reach_outside_their_arrays_are_refused(offsets: list[int], positions: list[int]) -> None:
    with pytest.raises(ValueError, match=r"offsets do not divide|outside the index"):
        sort_step(np.array(offsets), np.array(positions, np.int32), np.array([1]), np.array([1, 1]))
