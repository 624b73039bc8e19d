"""Explore-exploit graph traversal against a plain oracle with dictionaries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.retrieval.reranking.graph import Neighbours
from landmark_dag.retrieval.reranking.graph_traversal import traversed_lists
from landmark_dag.settings.reranking import TraversalSettings
from tests.retrieval.reranking.graphs import neighbours, unit


def oracle(query: dict[int, float], edges: list[dict[int, float]], limit: int, threshold: float) -> list[int]:
    taken: list[int] = []
    candidates = dict(query)
    while candidates and len(taken) < limit:
        best = sorted(candidates, key=lambda photo: (-candidates[photo], photo))
        batch = [photo for photo in best if candidates[photo] > threshold] or best[:1]
        taken += batch
        for photo in batch:
            del candidates[photo]
        for photo in batch:
            for other, similarity in edges[photo].items():
                if other not in taken:
                    candidates[other] = max(similarity, candidates.get(other, -9))
    return taken[:limit]


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(1, 6), st.sampled_from([2.0, 0.9, 0.5]), st.integers(1, 25))
def test_a_list_grows_as_the_oracles(seed: int, count: int, threshold: float, limit: int) -> None:
    index = unit(20, seed).round(1)
    queries, graph = neighbours(unit(3, seed + 1), index, count), neighbours(index, index, count, of_itself=True)
    lists = traversed_lists(queries, graph, limit, TraversalSettings(neighbours=count, threshold=threshold))
    as_edges = [[dict(zip(p, s, strict=True)) for s, p in zip(*part, strict=True)] for part in (queries, graph)]
    for query in range(3):
        found = [int(photo) for photo in lists[query] if photo >= 0]
        assert found == oracle(as_edges[0][query], as_edges[1], limit, threshold)


def test_a_list_that_the_graph_ends_is_filled_up_with_neighbours() -> None:
    queries = Neighbours(np.float32([[0.9, 0.5, 0.4]]), np.int32([[2, 0, 1]]))
    graph = Neighbours(np.full((3, 1), -np.inf, np.float32), np.full((3, 1), -1, np.int32))
    lists = traversed_lists(queries, graph, 5, TraversalSettings(neighbours=1))
    assert lists.tolist() == [[2, 0, 1, -1, -1]]


@pytest.mark.parametrize("limit", [1, 3])
def test_a_chain_is_followed_beyond_the_querys_own_neighbours(limit: int) -> None:
    queries = Neighbours(np.float32([[0.9, 0.1]]), np.int32([[0, 3]]))
    graph = Neighbours(np.float32([[0.8], [0.8], [0.7], [0.1]]), np.int32([[1], [2], [1], [0]]))
    lists = traversed_lists(queries, graph, limit, TraversalSettings())
    assert lists.tolist() == [[0, 1, 2][:limit]]
