"""The kNN graph as a table, from embeddings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.retrieval.neighbour_search import (
    NeighbourSearch,
    grown_graph,
    growth_notes,
    merged_shards,
    neighbour_table,
)
from landmark_dag.settings.retrieval import NeighbourSettings
from landmark_dag.storage.embeddings import Embeddings
from landmark_dag.storage.schemas import NEIGHBOURS
from tests.support.vectors import normalised


def embeddings(vectors: dict[str, list[float]], model: str = "m") -> Embeddings:
    return Embeddings(list(vectors), np.array(list(vectors.values()), np.float16).reshape(len(vectors), -1), model)


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


def test_two_models_are_refused_naming_both() -> None:
    one, other = embeddings({"a": [1, 0]}, "m1"), embeddings({"b": [1, 0]}, "m2")
    with pytest.raises(InputError, match="a was embedded by m1, photo b by m2"):
        neighbour_table(one, other, NeighbourSettings())


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 25), st.integers(1, 25), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_neighbours_in_new_index_photos_merge_into_the_graph_of_all(old: int, new: int, k: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.integers(-1, 2, (old + new + 3, 2)) + np.array([3.0, 3.0])
    photos = {f"{number:03}": vector for number, vector in enumerate(vectors)}
    ids = generator.permutation(list(photos)[3:]).tolist()
    queries = embeddings({name: photos[name] for name in list(photos)[:3]})
    wanted = NeighbourSettings(neighbours=k)
    former, fresh, whole = (
        NeighbourSearch(embeddings({name: photos[name] for name in some}), wanted)
        for some in (ids[:old], ids[old:], ids)
    )
    grown = grown_graph(former.table(queries), fresh, queries, k)
    assert grown.equals(whole.table(queries))


def test_a_graph_grows_by_no_photos_and_begins_with_some() -> None:
    queries, index = embeddings({"q": [1, 0]}), embeddings({"i": [1, 0]})
    none = NeighbourSearch(Embeddings([], np.empty((0, 2), np.float16), "m"), NeighbourSettings())
    former = neighbour_table(queries, index, NeighbourSettings())
    assert grown_graph(former, none, queries, 100).equals(former)
    with pytest.raises(InputError, match="The index holds 0 photos"):
        none.table(queries)


def test_only_a_graph_of_the_same_queries_settings_and_shards_is_grown() -> None:
    notes = growth_notes("queries and settings", {"0000": "a", "0001": "b"})
    now = {"0000": "a", "0001": "b", "0002": "c"}
    assert merged_shards(notes, "queries and settings", now) == ["0000", "0001"]
    assert merged_shards(notes, "other settings", now) == []
    assert merged_shards(notes, "queries and settings", {**now, "0001": "changed"}) == []
    assert merged_shards(notes, "queries and settings", {"0000": "a"}) == []
    assert merged_shards({}, "queries and settings", now) == []


@pytest.mark.parametrize("expansion", ["queries", "index", "both"])
def test_expansion_moves_vectors_as_its_definition_says(expansion: str) -> None:
    generator = np.random.default_rng(5)
    index, queries = (
        embeddings({f"{name}{number:02}": generator.normal(size=6) for number in range(count)})
        for name, count in (("i", 30), ("q", 4))
    )
    found = neighbour_table(queries, index, NeighbourSettings(5, expansion=expansion, expanded_by=3, alpha=2.0))
    rows, some = index.vectors.astype(float), queries.vectors.astype(float)

    def expanded(vector: np.ndarray, others: np.ndarray) -> np.ndarray:
        products = others @ vector
        nearest = np.argsort(-products, kind="stable")[:3]
        moved = vector + (np.maximum(products[nearest], 0) ** 2)[:, None].T @ others[nearest]
        return (moved / np.linalg.norm(moved)).astype(np.float16).astype(float).ravel()

    if expansion in ("index", "both"):
        rows = np.stack([expanded(row, np.delete(rows, number, axis=0)) for number, row in enumerate(rows)])
    if expansion in ("queries", "both"):
        some = np.stack([expanded(row, rows) for row in some])
    order = np.argsort(-(some @ rows.T), axis=1, kind="stable")[:, :5]
    assert found["index_id"].to_list() == [index.image_ids[position] for position in order.ravel()]


def test_approximate_search_finds_nearly_all_and_ranks_what_it_finds_exactly() -> None:
    generator = np.random.default_rng(6)
    vectors = generator.normal(size=(12_050, 16)) * np.linspace(3, 0.3, 16)
    photos = {f"{number:05}": vector for number, vector in enumerate(normalised(vectors))}
    index, queries = (embeddings(dict(list(photos.items())[part])) for part in (slice(12_000), slice(12_000, None)))
    exact = neighbour_table(queries, index, NeighbourSettings(10))
    similarity = {row[:2]: row[2] for row in exact.select("query_id", "index_id", "similarity").iter_rows()}
    for kind in ("hnsw", "ivf", "ivfsq", "ivfpq"):
        search = NeighbourSearch(index, NeighbourSettings(10, search=kind, effort=64))
        found = search.table(queries)
        assert found.equals(NeighbourSearch(index, NeighbourSettings(10, search=kind, effort=64)).table(queries))
        both = [row for row in found.select("query_id", "index_id", "similarity").iter_rows() if row[:2] in similarity]
        assert all(value == similarity[query, other] for query, other, value in both)
        assert search.recall(queries) == pytest.approx(len(both) / 500)
        assert search.recall(queries) > 0.8
    worse = NeighbourSearch(index, NeighbourSettings(10, search="ivf", effort=1))
    assert worse.recall(queries) < NeighbourSearch(index, NeighbourSettings(10, search="ivf", effort=64)).recall(
        queries
    )


def test_numbers_that_cannot_be_rounded_in_pairs_are_refused() -> None:
    index = embeddings({f"{number:05}": [1.0, number, 1.0] for number in range(12_000)})
    with pytest.raises(InputError, match="rounds pairs of numbers; 3 dimensions are odd"):
        NeighbourSearch(index, NeighbourSettings(search="ivfpq"))


def test_an_index_too_small_for_lists_is_refused() -> None:
    index = embeddings({f"{number:05}": [1.0, number] for number in range(30)})
    with pytest.raises(InputError, match="30 index photos are too few for the approximate search ivf; use exact"):
        NeighbourSearch(index, NeighbourSettings(search="ivf"))
