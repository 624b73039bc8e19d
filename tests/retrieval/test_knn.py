"""Exact nearest neighbours against full sorting of float64 products, ties and all."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.retrieval import knn
from landmark_dag.retrieval.knn import Blocks, nearest

SMALL = Blocks(queries=5, index=60, tile_queries=4, tile_index=40)


def oracle(queries: np.ndarray, index: np.ndarray, k: int, exclude: np.ndarray) -> list[list[tuple[float, int]]]:
    """(similarity, position) of each query's neighbours, by sorting all of them."""
    products = (queries.astype(np.float64) @ index.astype(np.float64).T).astype(np.float32)
    found = []
    for row, own in zip(products, exclude, strict=True):
        ranked = sorted((-similarity, position) for position, similarity in enumerate(row) if position != own)
        found.append([(-similarity, position) for similarity, position in ranked[:k]])
    return found


def pairs(similarity: np.ndarray, positions: np.ndarray) -> list[list[tuple[float, int]]]:
    assert similarity.dtype == np.float32
    assert positions.dtype == np.int32
    return [[(s, p) for s, p in zip(*rows, strict=True) if p >= 0] for rows in zip(similarity, positions, strict=True)]


def unit_vectors(count: int, dimensions: int, seed: int, dtype: type = np.float16) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(dtype)


@settings(deadline=None, max_examples=80)
@given(
    st.integers(1, 90),
    st.integers(1, 9),
    st.integers(1, 100),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
    st.sampled_from([np.float16, np.float32]),
)
def test_small_integers_with_many_ties_are_ranked_exactly(n, q, k, dimensions, random, dtype) -> None:
    generator = np.random.default_rng(random.randint(0, 2**32))
    index = generator.integers(-2, 3, (n, dimensions)).astype(dtype)
    queries = generator.integers(-2, 3, (q, dimensions)).astype(dtype)
    exclude = generator.integers(-1, n, q).astype(np.int32)
    assert pairs(*nearest(queries, index, k, exclude, blocks=SMALL)) == oracle(queries, index, k, exclude)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("k", [1, 3, 100])
def test_unit_vectors_are_ranked_exactly_whatever_the_blocks(dtype: type, k: int) -> None:
    index, queries = unit_vectors(3000, 64, 1, dtype), unit_vectors(40, 64, 2, dtype)
    found = nearest(queries, index, k)
    assert pairs(*found) == oracle(queries, index, k, np.full(40, -1))
    for blocks in (Blocks(27, 1600, 10, 700), Blocks(40, 3000, 40, 3000)):
        for array, expected in zip(nearest(queries, index, k, blocks=blocks), found, strict=True):
            np.testing.assert_array_equal(array, expected)


def test_reduced_precision_elsewhere_changes_nothing_here() -> None:
    index, queries = unit_vectors(3000, 64, 1), unit_vectors(40, 64, 2)
    expected = nearest(queries, index, 100)
    torch.set_float32_matmul_precision("medium")
    try:
        found = nearest(queries, index, 100)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert pairs(*found) == pairs(*expected)


def test_repeated_vectors_beyond_the_shortlist_tie_by_position() -> None:
    index = np.repeat(unit_vectors(3, 16, 3), 400, axis=0)
    generator = np.random.default_rng(4)
    index = index[generator.permutation(len(index))]
    queries = unit_vectors(6, 16, 5)
    found = pairs(*nearest(queries, index, 5, blocks=SMALL))
    assert found == oracle(queries, index, 5, np.full(6, -1))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 300), st.integers(1, 80), st.integers(1, 1000))
def test_the_gpu_selection_keeps_what_the_scan_keeps(n: int, size: int, seed: int) -> None:
    size = min(size, n)
    index, queries = unit_vectors(n, 8, seed), torch.from_numpy(unit_vectors(4, 8, seed + 1)).float()
    scanned, scan_cut = knn._shortlist_by_scan(queries, index, size, SMALL)
    sorted_, sort_cut = knn._shortlist_by_sort(queries, index, size, SMALL)
    outside = np.sort((queries.numpy() @ index.astype(np.float32).T), axis=1)[:, : n - size]
    for positions, cut in ((scanned, scan_cut), (sorted_, sort_cut)):
        assert all(len(set(row)) == size for row in positions.tolist())
        assert n == size or (outside[:, -1] <= cut + 1e-6).all()
    np.testing.assert_allclose(scan_cut, sort_cut, atol=1e-6)


def test_a_query_excluded_from_a_full_list_ends_with_no_position() -> None:
    similarity, positions = nearest(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), 5, np.array([0, -1]))
    assert positions.tolist() == [[1, -1], [1, 0]]
    assert similarity.tolist() == [[0, -np.inf], [1, 0]]


def test_excluding_from_every_list_shortens_them_all() -> None:
    unit = np.eye(2, dtype=np.float32)
    assert nearest(unit, unit, 5, np.array([0, 1]))[1].tolist() == [[1], [0]]
    assert nearest(np.ones((1, 2), np.float16), np.ones((1, 2), np.float16), 3, np.array([0]))[1].shape == (
        1,
        0,
    )


def test_no_queries_have_no_neighbours() -> None:
    assert nearest(np.empty((0, 4), np.float16), np.ones((3, 4), np.float16), 2)[0].shape == (0, 2)


@pytest.mark.parametrize(
    ("queries", "index", "k", "message"),
    [
        (np.ones((1, 4)), np.ones((3, 4)), 0, "k is 0"),
        (np.ones((1, 4)), np.ones((3, 5)), 1, "4 dimensions and the index 5"),
        (np.ones((1, 4)), np.ones((0, 4)), 1, "holds 0 photos"),
        (np.ones((1, 4)), np.array([[1, 1, 1, 1], [1, np.nan, 1, 1]]), 1, "Row 1 of the index vectors"),
        (np.array([[1, 1, np.inf, 1]]), np.ones((3, 4)), 1, "Row 0 of the query vectors"),
    ],
)
def test_bad_vectors_are_refused(queries: np.ndarray, index: np.ndarray, k: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        nearest(queries.astype(np.float16), index.astype(np.float16), k)
