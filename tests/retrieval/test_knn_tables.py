"""The kNN graph and the votes as tables, from embeddings."""

import numpy as np
import polars as pl
import pytest

from landmark_dag.errors import InputError
from landmark_dag.retrieval.embeddings import Embeddings
from landmark_dag.retrieval.knn_tables import neighbour_table, vote_table
from landmark_dag.retrieval.settings import NeighbourSettings, VoteSettings
from landmark_dag.tables import CLEANED_DATASET, NEIGHBOURS, VOTES


def embeddings(vectors: dict[str, list[float]], model: str = "m") -> Embeddings:
    return Embeddings(list(vectors), np.array(list(vectors.values()), np.float16).reshape(-1, 2), model)


def cleaned(landmarks: dict[str, int]) -> pl.DataFrame:
    rows = [(image_id, landmark, landmark) for image_id, landmark in landmarks.items()]
    return pl.DataFrame(rows, schema=CLEANED_DATASET.schema, orient="row")


def test_ties_go_by_index_id_and_rows_by_query_id() -> None:
    queries = embeddings({"q2": [0, 1], "q1": [1, 0]})
    index = embeddings({"c": [1, 0], "a": [1, 0], "b": [0.5, 0.5]})
    graph = neighbour_table(queries, index, NeighbourSettings(neighbours=2))
    assert graph.schema == NEIGHBOURS.schema
    assert graph.rows() == [
        ("q1", 1, "a", 1.0),
        ("q1", 2, "c", 1.0),
        ("q2", 1, "b", 0.5),
        ("q2", 2, "a", 0.0),
    ]


def test_a_short_index_makes_short_lists_and_a_shared_id_is_no_bar() -> None:
    photos = embeddings({"a": [1, 0], "b": [0, 1]})
    graph = neighbour_table(embeddings({"a": [1, 0]}), photos, NeighbourSettings(neighbours=100))
    assert [row[:3] for row in graph.rows()] == [("a", 1, "a"), ("a", 2, "b")]


def test_only_cleaned_photos_vote() -> None:
    train = embeddings({"t1": [1, 0], "t2": [0.5, 0.5], "t3": [0.25, 0], "t4": [1, 0.125]})
    votes = vote_table(
        embeddings({"q": [1, 0], "p": [0, 1]}), train, cleaned({"t3": 7, "t1": 9, "t2": 7}), VoteSettings(k=2)
    )
    assert votes.schema == VOTES.schema
    assert votes.rows() == [("p", 7, 0.25), ("q", 9, 0.5)]


def test_two_models_are_refused_naming_both() -> None:
    one, other = embeddings({"a": [1, 0]}, "m1"), embeddings({"b": [1, 0]}, "m2")
    with pytest.raises(InputError, match="a was embedded by m1, photo b by m2"):
        neighbour_table(one, other, NeighbourSettings())
    with pytest.raises(InputError, match="a was embedded by m1, photo b by m2"):
        vote_table(one, other, cleaned({"b": 1}), VoteSettings(k=1))


def test_a_cleaned_photo_without_embedding_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="Photo t9 of the cleaned dataset has no embedding"):
        vote_table(embeddings({"a": [1, 0]}), embeddings({"t": [1, 0]}), cleaned({"t9": 1}), VoteSettings(k=1))


def test_fewer_voters_than_k_vote_and_confidence_is_still_over_k() -> None:
    train = embeddings({"t1": [1, 0], "t2": [0.5, 0.5]})
    votes = vote_table(embeddings({"q": [1, 0]}), train, cleaned({"t1": 5, "t2": 6}), VoteSettings(k=4))
    assert votes.rows() == [("q", 5, 0.25)]


def test_an_empty_cleaned_dataset_is_refused() -> None:
    with pytest.raises(InputError, match="No train photo is left to vote"):
        vote_table(embeddings({"a": [1, 0]}), embeddings({"t": [1, 0]}), cleaned({}), VoteSettings())
