"""The nearest train photos of photos, and the landmarks that they speak for."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.retrieval.neighbour_search import TrainNeighbourSearch, train_neighbour_table
from landmark_dag.retrieval.reranking.bridged import bridge_confidence
from landmark_dag.retrieval.reranking.label_product import label_distribution
from landmark_dag.retrieval.votes import votes_of
from landmark_dag.settings.reranking import SoftSettings
from landmark_dag.settings.retrieval import TrainNeighbourSettings
from landmark_dag.storage.embeddings import Embeddings
from landmark_dag.storage.schemas import CLEANED_DATASET, TRAIN_NEIGHBOURS, VOTES


def embeddings(vectors: dict[str, list[float]], model: str = "m") -> Embeddings:
    return Embeddings(list(vectors), np.array(list(vectors.values()), np.float16).reshape(-1, 2), model)


def cleaned(landmarks: dict[str, int]) -> pl.DataFrame:
    rows = [(image_id, landmark, landmark) for image_id, landmark in landmarks.items()]
    return pl.DataFrame(rows, schema=CLEANED_DATASET.schema, orient="row")


def train_neighbours_frame(train_neighbours: dict[str, list[tuple[int, float]]]) -> pl.DataFrame:
    rows = [
        (image_id, rank, f"t{rank}", landmark, similarity)
        for image_id, nearest in train_neighbours.items()
        for rank, (landmark, similarity) in enumerate(nearest, start=1)
    ]
    return pl.DataFrame(rows, schema=TRAIN_NEIGHBOURS.schema, orient="row")


def test_only_cleaned_photos_vote_and_ties_go_by_train_id() -> None:
    train = embeddings({"t4": [1, 0.125], "t3": [0.25, 0], "t2": [0.5, 0.5], "t1": [1, 0], "t0": [1, 0]})
    table = train_neighbour_table(
        embeddings({"q": [1, 0], "p": [0, 1]}),
        train,
        cleaned({"t3": 7, "t1": 9, "t0": 8, "t2": 7}),
        TrainNeighbourSettings(count=2),
    )
    assert table.schema == TRAIN_NEIGHBOURS.schema
    assert table.rows() == [
        ("p", 1, "t2", 7, 0.5),
        ("p", 2, "t0", 8, 0.0),
        ("q", 1, "t0", 8, 1.0),
        ("q", 2, "t1", 9, 1.0),
    ]


def test_train_neighbours_made_ready_once_answer_one_table_after_another() -> None:
    train = embeddings({"t3": [1, 0], "t1": [0, 1], "t2": [0.5, 0.5]})
    search = TrainNeighbourSearch(train, cleaned({"t1": 4, "t3": 5}), TrainNeighbourSettings(count=1))
    assert search.table(embeddings({"q": [1, 0]})).rows() == [("q", 1, "t3", 5, 1.0)]
    assert search.table(embeddings({"p": [0, 1], "o": [1, 0]})).rows() == [
        ("o", 1, "t3", 5, 1.0),
        ("p", 1, "t1", 4, 1.0),
    ]


def test_a_photo_has_no_more_train_neighbours_than_there_are() -> None:
    table = train_neighbour_table(
        embeddings({"q": [1, 0]}), embeddings({"t": [1, 0]}), cleaned({"t": 1}), TrainNeighbourSettings()
    )
    assert table.height == 1


@pytest.mark.parametrize(
    ("train", "labels", "message"),
    [
        (embeddings({"b": [1, 0]}, "m2"), {"b": 1}, "a was embedded by m, photo b by m2"),
        (embeddings({"t": [1, 0]}), {"t9": 1}, "Photo t9 of the cleaned dataset has no embedding"),
        (embeddings({"t": [1, 0]}), {}, "No train photo is left to vote"),
    ],
)
def test_train_neighbours_that_cannot_be_found_are_refused(
    train: Embeddings, labels: dict[str, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train_neighbour_table(embeddings({"a": [1, 0]}), train, cleaned(labels), TrainNeighbourSettings())


lists = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.1, 0.25, 0.5, 0.75])), min_size=1, max_size=8)
photos = st.dictionaries(st.sampled_from("abc"), lists.map(lambda row: sorted(row, key=lambda r: -r[1])), min_size=1)


@settings(deadline=None)
@given(photos, st.integers(1, 6))
def test_a_distribution_sums_the_nearest_of_each_landmark_and_its_top_is_the_vote(train_neighbours, k: int) -> None:
    frame = train_neighbours_frame(train_neighbours)
    found = label_distribution(frame.sample(fraction=1, shuffle=True, seed=k), SoftSettings(product_k=k))
    assert found.schema == VOTES.schema
    for image_id, nearest in train_neighbours.items():
        expected: dict[int, float] = {}
        for landmark, similarity in nearest[:k]:
            expected[landmark] = expected.get(landmark, 0) + similarity / k
        rows = found.filter(image_id=image_id)
        assert rows["landmark_id"].to_list() == list(expected)
        assert rows["confidence"].to_list() == pytest.approx(list(expected.values()), abs=1e-6)
        vote = votes_of(frame, k).filter(image_id=image_id).row(0)
        assert vote[2] == pytest.approx(max(expected.values()), abs=1e-6)


def test_a_bridge_is_as_near_as_the_landmarks_nearest_photos_on_average() -> None:
    train_neighbours = {"q": [(1, 0.875), (2, 0.75), (2, 0.75), (1, 0.5), (3, 0.5), (4, 0.25)]}
    found = bridge_confidence(
        train_neighbours_frame(train_neighbours), SoftSettings(bridge_landmarks=3, bridge_bonus=0.5)
    )
    # Landmark 1: (0.875 + 0.5) / 2; 2: 0.75; 3: (0.5 + 0.25) / 2, its second photo as far as the farthest.
    expected = {2: 1 / 0.25 + 0.5, 1: 1 / 0.3125, 3: 1 / 0.625}
    assert dict(found.select("landmark_id", "confidence").rows()) == pytest.approx(expected)


def test_a_photo_on_a_train_photo_has_a_finite_bridge() -> None:
    assert (
        bridge_confidence(train_neighbours_frame({"q": [(1, 1.0)]}), SoftSettings(bridge_bonus=0))["confidence"][0]
        == 1000
    )
