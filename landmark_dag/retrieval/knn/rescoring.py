"""Exact similarities of shortlisted rows, and the best of them in order.

Inner products are computed in float64 and rounded once to float32. Many queries are scored with a few index rows at a
time, so that an index row is read into a core's cache once for all of them.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.retrieval.knn.shortlist import Shortlist, Vectors, Workers, number, numbers

_CACHED_BYTES = 2**20
"""Bytes of index rows that are scored at a time: at most half of a core's own cache."""

_PARTS = 8
"""How many parts of the index each thread scores, one after another: some have many more candidates than others."""

_SORTED_ROWS = 64
_NONE = np.iinfo(np.int64).max
"""The key of no candidate; it comes after all others."""


def lengths(vectors: Vectors, what: str) -> NDArray[np.float64]:
    """Return the length of each of the vectors (n, d); raise InputError for one that is not finite."""
    norms = np.empty(len(vectors))
    with Workers() as workers:
        workers.each(len(vectors), _row_norms, numbers(vectors), float(np.finfo(vectors.dtype).max), norms)
    bad = np.flatnonzero(np.isnan(norms))
    if len(bad):
        raise InputError(f"Row {bad[0]} of the {what} vectors is not finite; embed its photo again.")
    return norms


def ranked(
    shortlist: Shortlist, queries: Vectors, index: Vectors, exclude: NDArray[np.int32], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the k best of each query's shortlist by exact similarity, then position; -inf and -1 after the last."""
    similarity = np.empty((len(queries), k), dtype=np.float32)
    positions = np.empty((len(queries), k), dtype=np.int32)
    keys = np.full((len(queries), max(k, shortlist.positions.shape[1])), _NONE)
    vectors, candidates = (numbers(queries), numbers(index)), (shortlist.positions, shortlist.counts)
    with Workers() as workers:
        workers.each(len(index), _score_rows, vectors, candidates, exclude, keys, parts=_PARTS)
        workers.each(len(queries), _take_best, keys, similarity, positions)
    return similarity, positions


def _take_best(
    first: int, last: int, keys: NDArray[np.int64], similarity: NDArray[np.float32], positions: NDArray[np.int32]
) -> None:
    """Fill rows `first` to `last` of the answer with the smallest keys, in order."""
    k = similarity.shape[1]
    for start in range(first, last, _SORTED_ROWS):
        rows = slice(start, min(start + _SORTED_ROWS, last))
        keys[rows].sort(axis=1)
        best = keys[rows, :k]
        bits = ~(best >> 32).astype(np.int32)
        found = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).view(np.float32)
        similarity[rows] = np.where(best == _NONE, -np.inf, found)
        positions[rows] = np.where(best == _NONE, -1, best & 0xFFFFFFFF)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _row_norms(first, last, vectors, limit, norms):  # type: ignore[no-untyped-def]
    """Fill norms[first:last] with the lengths of the rows; NaN for a row with a number over `limit`."""
    for row in range(first, last):
        total, finite = 0.0, True
        for dimension in range(vectors.shape[1]):
            value = np.float64(number(vectors[row, dimension]))
            total += value * value
            finite &= abs(value) <= limit
        norms[row] = np.sqrt(total) if finite else np.nan


@njit(cache=True, nogil=True)
def _score_rows(first, last, vectors, candidates, exclude, keys):  # type: ignore[no-untyped-def]
    """Fill the keys of the candidates among index rows `first` to `last`."""
    queries, index = vectors
    positions, counts = candidates
    query = np.empty(queries.shape[1])
    places = np.empty(len(queries), np.int64)
    for row in range(len(queries)):
        places[row] = np.searchsorted(positions[row, : counts[row]], first)
    step = max(1, _CACHED_BYTES // (index.shape[1] * index.itemsize))
    for start in range(first, last, step):
        end = min(start + step, last)
        for row in range(len(queries)):
            place = places[row]
            if place == counts[row] or positions[row, place] >= end:
                continue
            for dimension in range(len(query)):
                query[dimension] = number(queries[row, dimension])
            while place < counts[row] and positions[row, place] < end:
                if positions[row, place] != exclude[row]:
                    keys[row, place] = _key(_product(query, index, positions[row, place]), positions[row, place])
                place += 1
            places[row] = place


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _product(query, index, position):  # type: ignore[no-untyped-def]
    """Return the inner product of a query and an index row, summed in float64."""
    total = 0.0
    for dimension in range(len(query)):
        total += query[dimension] * np.float64(number(index[position, dimension]))
    return total


@njit(cache=True, nogil=True)
def _key(similarity, position):  # type: ignore[no-untyped-def]
    """Return an integer that orders similarities, rounded to float32, descending, and ties by position ascending."""
    # As integers, the bits of floats are in order from 0 up, and in reverse order below 0. Adding 0 makes -0 a 0.
    bits = np.float32(np.float32(similarity) + np.float32(0)).view(np.int32)
    rising = bits if bits >= 0 else bits ^ np.int32(0x7FFFFFFF)
    return (np.int64(~rising) << 32) | np.int64(position)
