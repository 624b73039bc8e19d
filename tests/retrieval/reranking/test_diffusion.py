"""Diffusion against the dense closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.retrieval.reranking.diffusion import diffused_lists, diffusion_sources, mutual_affinity
from landmark_dag.retrieval.reranking.graph import Neighbours
from landmark_dag.settings.reranking import DiffusionSettings
from tests.retrieval.reranking.graphs import neighbours, unit


def dense_affinity(index: np.ndarray, count: int, gamma: float) -> np.ndarray:
    similarity = (index @ index.T).astype(np.float32)
    nearest = neighbours(index, index, count, of_itself=True).positions
    affinity = np.zeros(similarity.shape)
    for a, row in enumerate(nearest):
        for b in row:
            if a in nearest[b] and similarity[a, b] > 0:
                affinity[a, b] = float(similarity[a, b]) ** gamma
    return affinity


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(1, 6))
def test_only_photos_near_each_other_are_joined(seed: int, count: int) -> None:
    index = unit(15, seed)
    affinity = mutual_affinity(neighbours(index, index, 9, of_itself=True), count, 3.0).toarray()
    np.testing.assert_allclose(affinity, dense_affinity(index, count, 3.0), rtol=1e-5)
    np.testing.assert_array_equal(affinity, affinity.T)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 50))
def test_without_truncation_scores_are_the_closed_form(seed: int) -> None:
    index, asked = unit(15, seed), unit(3, seed + 1)
    queries = neighbours(asked, index, 15)
    chosen = DiffusionSettings(neighbours=4, query_neighbours=3, iterations=1000, tolerance=1e-12, alpha=0.9)
    graph = neighbours(index, index, 14, of_itself=True)
    reach = graph.positions[diffusion_sources(queries, chosen)]
    lists = diffused_lists(queries, graph, reach, 15, chosen)
    affinity = dense_affinity(index, 4, 3.0)
    scale = np.diag(1 / np.sqrt(np.maximum(affinity.sum(axis=1), 1e-300)))
    diffused = np.linalg.inv(np.eye(15) - 0.9 * np.where(affinity > 0, scale @ affinity @ scale, 0))
    for query in range(3):
        start = np.zeros(15)
        start[queries.positions[query, :3]] = np.clip(queries.similarity[query, :3], 0, None) ** 3.0
        score = start @ diffused
        reached = score > 1e-9
        found = lists[query][: reached.sum()]
        assert set(found) == set(np.flatnonzero(reached))
        assert (np.diff(score[found]) <= 1e-6).all()
        rest = [photo for photo in queries.positions[query] if not reached[photo]]
        assert lists[query][reached.sum() :].tolist() == rest


def test_what_is_truncated_is_not_reached_by_diffusion() -> None:
    index = Neighbours(np.float32([[0.9, 0.1], [0.9, 0.9], [0.9, 0.1]]), np.int32([[1, 2], [0, 2], [1, 0]]))
    queries = Neighbours(np.float32([[0.9]]), np.int32([[0]]))
    for truncation, expected in ((2, {0, 1, 2}), (1, {0, 1, -1})):
        lists = diffused_lists(queries, index, index.positions[:1, :truncation], 3, DiffusionSettings())
        assert set(lists[0].tolist()) == expected


@pytest.mark.parametrize("limit", [1, 4])
def test_a_photo_without_edges_is_found_from_itself_alone(limit: int) -> None:
    index = Neighbours(np.full((3, 1), -np.inf, np.float32), np.full((3, 1), -1, np.int32))
    queries = Neighbours(np.float32([[0.9, 0.5]]), np.int32([[2, 0]]))
    lists = diffused_lists(queries, index, index.positions[[0, 2]], limit, DiffusionSettings())
    assert lists[0].tolist() == [2, 0, -1, -1][:limit]
