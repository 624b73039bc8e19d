"""Exact nearest neighbours by inner product, in bounded memory, on a CPU or a GPU.

A fast product shortlists some more than k index rows for every query; their inner products are then taken in
float64 and rounded once to float32. A bound on the fast product's error proves that no row outside the
shortlist belongs into the answer; the few queries it cannot prove are searched again without a cut. Products
of float16 numbers are multiples of 2^-48, so for vectors of about unit norm their sums in float64 are exact:
the answer is the correctly rounded one, whatever the device, the backend and the blocks.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from landmark_dag.cleaning.matching import has_integer_product
from landmark_dag.errors import InputError
from landmark_dag.retrieval.knn_float import product_error, rows_above, shortlist_by_faiss, shortlist_by_torch
from landmark_dag.retrieval.knn_integer import shortlist_by_integers
from landmark_dag.retrieval.knn_shortlist import Shortlist, Vectors, in_threads, number, numbers

Backend = Literal["auto", "integer", "faiss", "torch"]

_CANDIDATES_IN_MEMORY = 16_000_000
_MOST_QUERIES = 16384
_UNPROVEN_QUERIES = 64


def nearest(
    queries: Vectors,
    index: Vectors,
    k: int,
    exclude: NDArray[np.int32] | None = None,
    *,
    device: str = "cpu",
    backend: Backend = "auto",
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the similarity float32 (q, k') and position int32 (q, k') of every query's nearest index rows.

    `queries` (q, d) and `index` (n, d) are float16 or float32 and may be memory-mapped. Similarity is the
    inner product rounded to float32; order: similarity descending, then position ascending. `exclude` int32
    (q,) is a position never returned for that query (-1: none). k' is the smaller of k and the most rows that
    any query may get; a query that may get fewer has similarity -inf and position -1 after them.

    `backend` changes only speed. `auto` is torch on an accelerator; on a CPU products of 8-bit integers where it
    has instructions for them, else faiss (benchmarks/knn.py). Beside inputs and answer a CPU needs about 250 MB,
    an accelerator 65,536 index rows and their scores for 16,384 queries.

    Raises InputError for k < 1, differing dimensions, an empty index, a vector that is not finite, and for a backend
    that this machine or device has not.
    """
    _check(queries, index, k)
    exclude = np.full(len(queries), -1, np.int32) if exclude is None else exclude.astype(np.int32, copy=False)
    k = min(k, len(index) - int((exclude >= 0).all() and len(exclude) > 0))
    similarity = np.full((len(queries), k), -np.inf, dtype=np.float32)
    positions = np.full((len(queries), k), -1, dtype=np.int32)
    on_device = torch.device(device)
    chosen = _backend(backend, on_device)
    largest = _largest_norm(index, "index")
    _largest_norm(queries, "query")
    wanted = min(len(index), k + int((exclude >= 0).any()))
    block = max(1, min(_MOST_QUERIES, _CANDIDATES_IN_MEMORY // (4 * wanted + 512)))
    for start in range(0, len(queries), block) if k else ():
        rows = slice(start, start + block)
        shortlist = _shortlist(chosen, queries[rows], index, wanted, on_device)
        similarity[rows], positions[rows] = _answer(
            shortlist, queries[rows], index, exclude[rows], k, largest, on_device
        )
    return similarity, positions


def rescored(
    queries: Vectors, index: Vectors, candidates: NDArray[np.integer], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the k best of each query's `candidates` (q, c), positions in the index or -1, as `nearest` does."""
    real = candidates >= 0
    order = np.argsort(~real, axis=1, kind="stable")
    positions = np.take_along_axis(candidates, order, axis=1).astype(np.int32)
    everything = np.full(len(queries), -np.inf)
    shortlist = Shortlist(positions, real.sum(axis=1), everything, everything)
    none = np.full(len(queries), -1, np.int32)
    return _ranked(shortlist, queries, index, none, k, _largest_norm(index, "index"))


def _check(queries: Vectors, index: Vectors, k: int) -> None:
    """Raise InputError unless there is something to search for and to search in."""
    if k < 1:
        raise InputError(f"k is {k}; at least one neighbour must be asked for.")
    if queries.shape[1] != index.shape[1]:
        raise InputError(
            f"Queries have {queries.shape[1]} dimensions and the index {index.shape[1]}; embed both with one model."
        )
    if not 0 < len(index) < 2**31:
        raise InputError(f"The index holds {len(index)} photos; it must hold at least one and under 2^31.")


def _backend(backend: Backend, device: torch.device) -> Backend:
    """Return the backend to use; raises InputError for one that does not work here."""
    if backend == "auto":
        if device.type != "cpu":
            return "torch"
        return "integer" if has_integer_product() else "faiss"
    if backend != "torch" and device.type != "cpu":
        raise InputError(f"The kNN backend {backend} works on a CPU, not on {device}; choose torch or auto.")
    if backend == "integer" and not has_integer_product():
        raise InputError("This processor has no instructions for 8-bit products (VNNI); choose faiss or auto.")
    return backend


def _largest_norm(vectors: Vectors, what: str) -> float:
    """Return the largest norm of a row; raises InputError for a row that is not finite."""
    threads = torch.get_num_threads()
    norms = np.empty(len(vectors))
    with ThreadPoolExecutor(threads) as pool:
        limit = float(np.finfo(vectors.dtype).max)
        in_threads(pool, threads, len(vectors), _row_norms, numbers(vectors), limit, norms)
    bad = np.flatnonzero(np.isnan(norms))
    if len(bad):
        raise InputError(f"Row {bad[0]} of the {what} vectors is not finite; embed its photo again.")
    return float(norms.max(initial=0))


def _shortlist(backend: Backend, queries: Vectors, index: Vectors, k: int, device: torch.device) -> Shortlist:
    if backend == "integer":
        return shortlist_by_integers(queries, index, k)
    if backend == "faiss":
        return shortlist_by_faiss(queries, index, k)
    return shortlist_by_torch(queries, index, k, device)


def _answer(
    shortlist: Shortlist,
    queries: Vectors,
    index: Vectors,
    exclude: NDArray[np.int32],
    k: int,
    largest: float,
    device: torch.device,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the exact answer of queries from their shortlist, after searching again for those it does not prove."""
    similarity, positions = _ranked(shortlist, queries, index, exclude, k, largest)
    with np.errstate(invalid="ignore"):
        proven = (shortlist.cut == -np.inf) | (similarity[:, -1] > shortlist.cut + shortlist.error)
    unproven = np.flatnonzero(~proven)
    slack = product_error(queries.shape[1]) * largest
    for rows in (unproven[i : i + _UNPROVEN_QUERIES] for i in range(0, len(unproven), _UNPROVEN_QUERIES)):
        some = queries[rows]
        floor = similarity[rows, -1] - slack * np.linalg.norm(some.astype(np.float64), axis=1)
        again = rows_above(some, index, floor, device)
        similarity[rows], positions[rows] = _ranked(again, some, index, exclude[rows], k, largest)
    return similarity, positions


def _ranked(
    shortlist: Shortlist, queries: Vectors, index: Vectors, exclude: NDArray[np.int32], k: int, largest: float
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the k best of each query's shortlist by exact similarity, then position."""
    similarity = np.full((len(queries), k), -np.inf, dtype=np.float32)
    positions = np.full((len(queries), k), -1, dtype=np.int32)
    slack = 2 * product_error(queries.shape[1]) * largest
    threads = torch.get_num_threads()
    candidates = shortlist.positions, shortlist.counts
    with ThreadPoolExecutor(threads) as pool:
        in_threads(
            pool, threads, len(queries), _rank_rows, numbers(queries), numbers(index), *candidates, exclude, slack,
            similarity, positions,
        )  # fmt: skip
    return similarity, positions


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _row_norms(first, last, vectors, limit, norms):  # type: ignore[no-untyped-def]
    """Fill norms[first:last] with the lengths of the rows; NaN for a row of which a number exceeds `limit`."""
    for row in range(first, last):
        total, finite = 0.0, True
        for dimension in range(vectors.shape[1]):
            value = np.float64(number(vectors[row, dimension]))
            total += value * value
            finite &= abs(value) <= limit
        norms[row] = np.sqrt(total) if finite else np.nan


@njit(cache=True, nogil=True)
def _rank_rows(  # type: ignore[no-untyped-def]
    first, last, queries, index, candidates, counts, exclude, slack, similarity, positions
):
    """Fill rows `first` to `last` of the answer with the best of their candidates."""
    k = similarity.shape[1]
    fast = np.empty(candidates.shape[1], np.float32)
    query = np.empty(queries.shape[1], np.float32)
    for row in range(first, last):
        length = 0.0
        for dimension in range(len(query)):
            query[dimension] = number(queries[row, dimension])
            length += np.float64(query[dimension]) ** 2
        some = np.sort(candidates[row, : counts[row]])
        some = some[some != exclude[row]]
        floor = -np.inf
        if len(some) > k:
            for candidate in range(len(some)):
                fast[candidate] = _product32(query, index, some[candidate])
            kth = np.partition(fast[: len(some)], len(some) - k)[len(some) - k]
            floor = kth - slack * np.sqrt(length)
            some = some[fast[: len(some)] >= floor]
        exact = np.empty(len(some), np.float32)
        for candidate in range(len(some)):
            exact[candidate] = _product64(query, index, some[candidate])
        order = np.argsort(-exact, kind="mergesort")[:k]
        for rank in range(len(order)):
            similarity[row, rank] = exact[order[rank]]
            positions[row, rank] = some[order[rank]]


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _product32(query, index, position):  # type: ignore[no-untyped-def]
    """Return the inner product of a query and an index row, summed in float32."""
    total = np.float32(0)
    for dimension in range(len(query)):
        total += query[dimension] * number(index[position, dimension])
    return total


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _product64(query, index, position):  # type: ignore[no-untyped-def]
    """Return the inner product of a query and an index row, summed in float64."""
    total = 0.0
    for dimension in range(len(query)):
        total += np.float64(query[dimension]) * np.float64(number(index[position, dimension]))
    return total
