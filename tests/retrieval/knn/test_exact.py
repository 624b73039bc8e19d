"""Exact nearest neighbours against full sorting of float64 products, ties and all."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba import njit

from landmark_dag.errors import InputError
from landmark_dag.matching.mutual_matches import integer_steps
from landmark_dag.photos.loading import torch_threads
from landmark_dag.retrieval.knn import exact as knn
from landmark_dag.retrieval.knn import floats as knn_float
from landmark_dag.retrieval.knn import integers as knn_integer
from landmark_dag.retrieval.knn import tiles as knn_tiles
from landmark_dag.retrieval.knn.exact import Backend, ExactIndex, nearest
from landmark_dag.retrieval.knn.rescoring import lengths
from landmark_dag.retrieval.knn.shortlist import Lengths, number, number_of_bits
from tests.support.vectors import unit_vectors

BACKENDS: tuple[Backend, ...] = ("integer", "float", "faiss", "torch")


def exact_steps() -> tuple[int, int]:
    """What integers this processor multiplies exactly, be it slowly."""
    return integer_steps() if all(integer_steps()) else (63, 63)


@pytest.fixture(autouse=True)
def integer_products_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of integers are the same on a CPU where floats are faster."""
    monkeypatch.setattr(knn, "integer_steps", exact_steps)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "_MOST_QUERIES", 5)
    monkeypatch.setattr(knn, "_UNPROVEN_QUERIES", 2)
    monkeypatch.setattr(knn_integer, "NUMBERS", 60 * 3)
    monkeypatch.setattr(knn_tiles, "_TILES", {torch.int8: (4, 40), torch.float32: (3, 50)})
    monkeypatch.setattr(knn_float, "NUMBERS", 60 * 3)
    monkeypatch.setattr(knn_float, "_NUMBERS_IN_CACHE", 60 * 3)
    monkeypatch.setattr(knn_float, "_TILE_QUERIES", 4)


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


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 90),
    st.integers(1, 9),
    st.integers(1, 100),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
    st.sampled_from([np.float16, np.float32]),
    st.sampled_from(BACKENDS),
)
def test_small_integers_with_many_ties_are_ranked_exactly(
    small_blocks: None, n, q, k, dimensions, random, dtype, backend
) -> None:
    generator = np.random.default_rng(random.randint(0, 2**32))
    index = generator.integers(-2, 3, (n, dimensions)).astype(dtype)
    queries = generator.integers(-2, 3, (q, dimensions)).astype(dtype)
    exclude = generator.integers(-1, n, q).astype(np.int32)
    assert pairs(*nearest(queries, index, k, exclude, backend=backend)) == oracle(queries, index, k, exclude)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("k", [1, 3, 100])
def test_unit_vectors_are_ranked_exactly_by_every_backend_whatever_the_blocks(
    monkeypatch: pytest.MonkeyPatch, dtype: type, k: int
) -> None:
    index, queries = unit_vectors(3000, 100, 1, dtype), unit_vectors(40, 100, 2, dtype)
    expected = oracle(queries, index, k, np.full(40, -1))
    for backend in BACKENDS:
        assert pairs(*nearest(queries, index, k, backend=backend)) == expected
    for module, name, size in (
        (knn, "_MOST_QUERIES", 27),
        (knn_integer, "NUMBERS", 160_000),
        (knn_tiles, "_TILES", {torch.int8: (10, 700), torch.float32: (700, 10)}),
        (knn_float, "NUMBERS", 160_000),
        (knn_float, "_NUMBERS_IN_CACHE", 160_000),
        (knn_float, "_TILE_QUERIES", 7),
    ):
        monkeypatch.setattr(module, name, size)
    for backend in BACKENDS:
        assert pairs(*nearest(queries, index, k, backend=backend)) == expected


def test_reduced_precision_elsewhere_changes_nothing_here() -> None:
    index, queries = unit_vectors(3000, 64, 1), unit_vectors(40, 64, 2)
    expected = nearest(queries, index, 100, backend="torch")
    torch.set_float32_matmul_precision("medium")
    try:
        found = nearest(queries, index, 100, backend="torch")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert pairs(*found) == pairs(*expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_repeated_vectors_beyond_the_shortlist_tie_by_position(small_blocks: None, backend: Backend) -> None:
    index = np.repeat(unit_vectors(3, 16, 3), 400, axis=0)
    generator = np.random.default_rng(4)
    index = index[generator.permutation(len(index))]
    queries = unit_vectors(6, 16, 5)
    found = pairs(*nearest(queries, index, 5, backend=backend))
    assert found == oracle(queries, index, 5, np.full(6, -1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_vectors_of_very_different_lengths_and_one_large_coordinate_are_ranked_exactly(backend: Backend) -> None:
    index = unit_vectors(2000, 48, 7, np.float32) * np.geomspace(1e-3, 30, 2000)[:, None].astype(np.float32)
    index[::3, 5] = 4
    index[17] = 0
    queries = unit_vectors(20, 48, 8, np.float32)
    queries[3] = 0
    found = pairs(*nearest(queries, index, 30, backend=backend))
    assert found == oracle(queries, index, 30, np.full(20, -1))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 300), st.integers(1, 80), st.integers(1, 1000))
def test_no_row_outside_a_shortlist_exceeds_its_bound(small_blocks: None, n: int, k: int, seed: int) -> None:
    k = min(k, n)
    index, queries = unit_vectors(n, 24, seed), unit_vectors(4, 24, seed + 1)
    exact = queries.astype(np.float64) @ index.astype(np.float64).T
    norms = Lengths(lengths(queries, "query"), float(lengths(index, "index").max()))
    for shortlist in (
        knn_integer.shortlist_by_integers(
            queries, knn_integer.RoundedIndex(index, exact_steps(), kept=False), k, norms
        ),
        knn_float.shortlist_by_floats(queries, index, k, norms),
        knn_float.shortlist_by_faiss(queries, index, k, norms),
        knn_float.shortlist_by_torch(queries, index, k, norms, torch.device("cpu")),
    ):
        for row in range(4):
            inside = shortlist.positions[row, : shortlist.counts[row]]
            outside = np.delete(exact[row], inside)
            assert len(set(inside.tolist())) == len(inside) >= k
            assert (outside <= shortlist.cut[row] + shortlist.error[row]).all()
            assert len(outside) == 0 or shortlist.cut[row] > -np.inf


@pytest.mark.parametrize("backend", BACKENDS)
def test_more_than_2048_neighbours_are_ranked_exactly(backend: Backend) -> None:
    index, queries = unit_vectors(3100, 16, 1), unit_vectors(2, 16, 2)
    found = pairs(*nearest(queries, index, 2500, backend=backend))
    assert found == oracle(queries, index, 2500, np.full(2, -1))


def test_an_answer_depends_on_neither_threads_nor_where_its_rows_stand() -> None:
    index, queries = unit_vectors(5000, 64, 1), unit_vectors(70, 64, 2)
    expected = [nearest(queries, index, 20, backend=backend) for backend in BACKENDS]
    with torch_threads(3):
        found = [nearest(queries, index, 20, backend=backend) for backend in BACKENDS]
    for similarity, positions in found:
        np.testing.assert_array_equal(similarity, expected[0][0])
        np.testing.assert_array_equal(positions, expected[0][1])
    alone = [nearest(queries[row : row + 1], index, 20)[1][0] for row in range(0, 70, 23)]
    np.testing.assert_array_equal(alone, expected[0][1][::23])


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_index_that_is_searched_again_answers_as_a_new_one(small_blocks: None, backend: Backend) -> None:
    index = unit_vectors(150, 3, 1)
    again = ExactIndex(index, backend=backend)
    for seed, k in ((2, 5), (3, 40), (4, 1)):
        queries = unit_vectors(7, 3, seed)
        exclude = np.arange(-1, 6, dtype=np.int32)
        assert pairs(*again.nearest(queries, k, exclude)) == oracle(queries, index, k, exclude)


@pytest.mark.parametrize(("most_kept", "blocks_rounded"), [(450, 3), (449, 6)])
def test_an_index_is_rounded_once_unless_it_is_too_large_to_be_kept(
    small_blocks: None, monkeypatch: pytest.MonkeyPatch, most_kept: int, blocks_rounded: int
) -> None:
    index, round_rows, rounded = unit_vectors(150, 3, 1), knn_integer._integers, []

    def counted(vectors: np.ndarray, *arguments: object) -> object:
        rounded.append(len(vectors))
        return round_rows(vectors, *arguments)

    monkeypatch.setattr(knn_integer, "_integers", counted)
    again = ExactIndex(index, backend="integer", most_kept=most_kept)
    for _ in range(2):
        again.nearest(index[:5], 2)
    assert [count for count in rounded if count > 5] == [60, 60, 30] * (blocks_rounded // 3)


@pytest.mark.parametrize("instructions", ["AVX2", "AVX512_CORE"])
def test_products_on_an_older_processor_find_the_same_neighbours(instructions: str) -> None:
    """oneDNN, which multiplies, may use the instructions of one only; the largest integers overflow there.

    A single index row, as tiles leave over, is multiplied otherwise.
    """
    code = """
import torch

from landmark_dag.matching.mutual_matches import integer_steps
from landmark_dag.retrieval.knn.exact import nearest
from landmark_dag.retrieval.knn.tiles import _int_mm
from tests.support.vectors import unit_vectors

index, queries = unit_vectors(39 * 512 + 1, 64, 1), unit_vectors(500, 64, 2)
found, expected = (nearest(queries, index, 50, backend=backend) for backend in ("auto", "torch"))
assert (found[0] == expected[0]).all() and (found[1] == expected[1]).all()

of_queries, of_index = integer_steps()
for sign in (1, -1):
    factors = torch.full((7, 16), sign * of_queries, dtype=torch.int8)
    product = torch.empty((7, 1), dtype=torch.int32)
    _int_mm(factors, torch.full((16, 1), of_index, dtype=torch.int8), out=product)
    assert (product == sign * of_queries * of_index * 16).all(), product
"""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_every_float16_is_the_number_that_its_bits_stand_for() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    bits = bits[np.isfinite(bits.view(np.float16))]

    @njit
    def converted(bits: np.ndarray, numbers: np.ndarray, moved: np.ndarray) -> None:
        for place in range(len(bits)):
            numbers[place], moved[place] = number(bits[place]), number_of_bits(bits[place])

    numbers, moved = np.empty((2, len(bits)), np.float32)
    converted(bits, numbers, moved)
    np.testing.assert_array_equal(numbers, bits.view(np.float16))
    np.testing.assert_array_equal(moved, bits.view(np.float16))


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_index_of_more_than_2_to_the_31_numbers_is_searched_to_its_last_row(backend: Backend) -> None:
    """The rows overlap in memory: row i begins at number i, so the stub takes megabytes."""
    dimensions, rows = 4096, 530_000
    memory = np.random.default_rng(1).normal(size=rows + dimensions).astype(np.float16)
    index = np.lib.stride_tricks.sliding_window_view(memory, dimensions)[:rows]
    assert index.size > 2**31
    wanted = np.array([3, rows // 2 + 1, rows - 1])
    similarity, positions = nearest(np.ascontiguousarray(index[wanted]), index, 5, backend=backend)
    assert positions[:, 0].tolist() == wanted.tolist()
    for row, position in enumerate(wanted):
        exact = index[positions[row]].astype(np.float64) @ index[position].astype(np.float64)
        np.testing.assert_allclose(similarity[row], exact, rtol=1e-6)


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
