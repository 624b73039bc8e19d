"""Soft votes against a plain oracle."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.retrieval.votes import vote, votes_from_neighbours, votes_of
from landmark_dag.storage.schemas import TRAIN_NEIGHBOURS, VOTES
from tests.retrieval import oracles

similarities = st.sampled_from([-0.5, 0.0, 0.1, 0.2, 0.25, 0.3, 0.5, 0.75, 1.0])


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    rows, k = draw(st.integers(0, 6)), draw(st.integers(1, 6))
    values = draw(st.lists(similarities, min_size=rows * k, max_size=rows * k))
    landmarks = draw(st.lists(st.integers(-1, 3), min_size=rows * k, max_size=rows * k))
    similarity = -np.sort(-np.array(values, np.float32).reshape(rows, k), axis=1)
    return similarity, np.array(landmarks, np.int64).reshape(rows, k)


@settings(deadline=None)
@given(neighbours())
def test_votes_are_those_of_the_oracle_to_the_bit(case: tuple[np.ndarray, np.ndarray]) -> None:
    similarity, landmarks = case
    landmark, confidence = vote(similarity, landmarks)
    expected = [
        oracles.vote(list(zip(s, m, strict=True)), similarity.shape[1])
        for s, m in zip(similarity, landmarks, strict=True)
    ]
    assert landmark.dtype == np.int64
    assert confidence.dtype == np.float32
    assert list(zip(landmark, confidence, strict=True)) == expected


def test_a_tie_goes_to_the_landmark_met_first() -> None:
    landmark, confidence = vote(np.float32([[0.5, 0.25, 0.25]]), np.array([[7, 2, 2]]))
    assert (landmark[0], confidence[0]) == (7, np.float32(0.5) / np.float32(3))


@pytest.mark.parametrize("shape", [(2, 0), (2, 2)])
def test_shapes_that_are_no_votes_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"must be \(m, k\)"):
        vote(np.zeros(shape, np.float32), np.zeros((2, 1), np.int64))


@settings(deadline=None)
@given(st.data())
def test_a_frame_of_neighbours_votes_like_the_oracle_in_any_row_order(data: st.DataObject) -> None:
    pairs = st.tuples(st.sampled_from("pqr"), st.sampled_from("abcdef"))
    rows = data.draw(st.dictionaries(pairs, similarities, min_size=1))
    k = data.draw(st.integers(1, 4))
    labels = {train_id: data.draw(st.integers(0, 2)) for train_id in "abcdef"}
    frame = pl.DataFrame(
        [(image_id, train_id, value) for (image_id, train_id), value in data.draw(st.permutations(list(rows.items())))],
        schema={"image_id": pl.String, "train_id": pl.String, "similarity": pl.Float32},
        orient="row",
    )
    label_frame = pl.DataFrame({"image_id": list(labels), "landmark_id": list(labels.values())})
    expected = []
    for image_id in sorted({image_id for image_id, _ in rows}):
        nearest = sorted((-value, train_id) for (i, train_id), value in rows.items() if i == image_id)
        expected.append((image_id, *oracles.vote([(-value, labels[t]) for value, t in nearest], k)))
    votes = votes_from_neighbours(frame, label_frame, k)
    assert votes.schema == VOTES.schema
    assert votes.rows() == expected


def test_a_train_photo_without_label_is_refused_by_name() -> None:
    frame = pl.DataFrame({"image_id": ["q"], "train_id": ["t9"], "similarity": [0.5]})
    labels = pl.DataFrame({"image_id": ["t1"], "landmark_id": [4]})
    with pytest.raises(InputError, match="t9 is a neighbour of photo q"):
        votes_from_neighbours(frame, labels, 3)


def test_k_under_one_is_refused() -> None:
    frame = pl.DataFrame({"image_id": ["q"], "train_id": ["t1"], "similarity": [0.5]})
    with pytest.raises(InputError, match="k is 0"):
        votes_from_neighbours(frame, pl.DataFrame({"image_id": ["t1"], "landmark_id": [4]}), 0)


def test_train_neighbours_that_were_not_stored_are_asked_for() -> None:
    train_neighbours = pl.DataFrame(
        [("q", 1, "t1", 4, 0.5), ("q", 2, "t2", 4, 0.5)], schema=TRAIN_NEIGHBOURS.schema, orient="row"
    )
    assert votes_of(train_neighbours, 3, train_photos=2)["confidence"].to_list() == [np.float32(1) / np.float32(3)]
    with pytest.raises(InputError, match="k is 3 but only 2 train photos are stored"):
        votes_of(train_neighbours, 3, train_photos=9)
