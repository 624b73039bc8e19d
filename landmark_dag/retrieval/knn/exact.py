"""Exact nearest neighbours by inner product, in bounded memory, on a CPU or a GPU.

A fast product shortlists somewhat more than k index rows for every query. The inner products of these rows are then
computed in float64 and rounded once to float32. A bound on the fast product's error proves that no row outside the
shortlist belongs in the answer; the few queries for which it proves nothing are searched again without a cut. Products
of float16 numbers are multiples of 2^-48, so for vectors of about unit norm their sums in float64 are exact: the
answer is correctly rounded for any device, backend and blocks.

This module and `approximate` are the front of the package; nothing outside it imports the other modules.
"""

from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.matching.mutual_matches import integer_steps
from landmark_dag.retrieval.knn.floats import (
    product_error,
    rows_above,
    shortlist_by_faiss,
    shortlist_by_floats,
    shortlist_by_torch,
)
from landmark_dag.retrieval.knn.integers import RoundedIndex, shortlist_by_integers
from landmark_dag.retrieval.knn.rescoring import lengths, ranked
from landmark_dag.retrieval.knn.shortlist import Lengths, Shortlist, Vectors
from landmark_dag.retrieval.knn.tiles import places

Backend = Literal["auto", "integer", "float", "faiss", "torch"]

MOST_KEPT = 2**30
"""An index of at most this many numbers is kept as 8-bit integers between searches: 1 GiB."""

_CANDIDATES_IN_MEMORY = 16_000_000
_MOST_QUERIES, _MOST_ON_DEVICE = 32768, 131_072
_UNPROVEN_QUERIES = 256


class ExactIndex:
    """Index vectors for several searches: what depends on them alone is computed once."""

    def __init__(
        self, vectors: Vectors, *, device: str = "cpu", backend: Backend = "auto", most_kept: int = MOST_KEPT
    ) -> None:
        """Take `vectors` (n, d), float16 or float32, which may be memory-mapped; compute nothing yet.

        The integer backend keeps them as 8-bit integers, one byte per number, if there are at most `most_kept`
        numbers. `backend` and the errors of a search are those of the function `nearest`.
        """
        self.vectors = vectors
        self._device = torch.device(device)
        self._backend = backend
        self._rounded = RoundedIndex(vectors, integer_steps(), kept=vectors.size <= most_kept)

    def nearest(
        self, queries: Vectors, k: int, exclude: NDArray[np.int32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Return the similarity float32 (q, k') and position int32 (q, k') of every query's nearest vectors.

        See the function `nearest`.
        """
        _check(queries, self.vectors, k)
        exclude = np.full(len(queries), -1, np.int32) if exclude is None else exclude.astype(np.int32, copy=False)
        k = min(k, len(self.vectors) - int((exclude >= 0).all() and len(exclude) > 0))
        similarity = np.full((len(queries), k), -np.inf, dtype=np.float32)
        positions = np.full((len(queries), k), -1, dtype=np.int32)
        chosen = _backend(self._backend, self._device)
        longest = self._longest
        of_queries = lengths(queries, "query")
        wanted = min(len(self.vectors), k + int((exclude >= 0).any()))
        block = _queries_at_a_time(wanted, self._device)
        for start in range(0, len(queries), block) if k else ():
            rows = slice(start, start + block)
            norms = Lengths(of_queries[rows], longest)
            shortlist = self._shortlist(chosen, queries[rows], wanted, norms)
            similarity[rows], positions[rows] = _answer(
                shortlist, queries[rows], self.vectors, exclude[rows], k, norms, self._device
            )
        return similarity, positions

    @cached_property
    def _longest(self) -> float:
        """Length of the longest vector."""
        return float(lengths(self.vectors, "index").max())

    def _shortlist(self, backend: Backend, queries: Vectors, k: int, norms: Lengths) -> Shortlist:
        if backend == "integer":
            return shortlist_by_integers(queries, self._rounded, k, norms)
        if backend == "float":
            return shortlist_by_floats(queries, self.vectors, k, norms)
        if backend == "faiss":
            return shortlist_by_faiss(queries, self.vectors, k, norms)
        return shortlist_by_torch(queries, self.vectors, k, norms, self._device)


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
    (q,) is a position never returned for that query (-1: none). k' is the smaller of k and the largest number of
    rows that any query can get; a query with fewer rows has similarity -inf and position -1 after them.

    `backend` changes only speed. `auto` is torch on an accelerator. On a CPU it is products of 8-bit integers where
    these are exact and faster, else of floats (benchmarks/knn.py). Besides the inputs and the answer a CPU needs 200
    to 350 MB. With 512 dimensions an accelerator holds 131,072 queries with their candidates, 65,536 index rows, and
    the scores of these rows for 8,192 queries: about 4 GB in total.

    Raises InputError for k < 1, differing dimensions, an empty index, a vector that is not finite, and a backend that
    this machine or device does not support.
    """
    return ExactIndex(index, device=device, backend=backend, most_kept=0).nearest(queries, k, exclude)


def rescored(
    queries: Vectors, index: Vectors, candidates: NDArray[np.integer], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the k best of each query's `candidates` (q, c), positions in the index or -1, as `nearest` does."""
    ascending = np.sort(candidates, axis=1)
    real = ascending >= 0
    order = np.argsort(~real, axis=1, kind="stable")
    positions = np.take_along_axis(ascending, order, axis=1).astype(np.int32)
    everything = np.full(len(queries), -np.inf)
    none = np.full(len(queries), -1, np.int32)
    return ranked(Shortlist(positions, real.sum(axis=1), everything, everything), queries, index, none, k)


def _check(queries: Vectors, index: Vectors, k: int) -> None:
    """Raise InputError unless k, the dimensions and the size of the index allow a search."""
    if k < 1:
        raise InputError(f"k is {k}; ask for at least one neighbour.")
    if queries.shape[1] != index.shape[1]:
        raise InputError(
            f"Queries have {queries.shape[1]} dimensions and the index {index.shape[1]}; embed both with one model."
        )
    if not 0 < len(index) < 2**31:
        raise InputError(f"The index holds {len(index)} photos; it must hold at least one and fewer than 2^31.")


def _backend(backend: Backend, device: torch.device) -> Backend:
    """Return the backend to use; raise InputError for one that does not work here."""
    if backend == "auto":
        if device.type != "cpu":
            return "torch"
        return "integer" if all(integer_steps()) else "float"
    if backend != "torch" and device.type != "cpu":
        raise InputError(f"The kNN backend {backend} works on a CPU, not on {device}; choose torch or auto.")
    if backend == "integer" and not all(integer_steps()):
        raise InputError("This processor multiplies 8-bit integers no faster than floats; choose float or auto.")
    return backend


def _queries_at_a_time(k: int, device: torch.device) -> int:
    """Return how many queries are searched at a time, so that their candidates for `k` neighbours fit in memory."""
    if device.type == "cpu":
        most, of_query = _MOST_QUERIES, places(k)
    else:
        most, of_query = _MOST_ON_DEVICE, 2 * k + 16
    return max(1, min(most, _CANDIDATES_IN_MEMORY // of_query))


def _answer(
    shortlist: Shortlist,
    queries: Vectors,
    index: Vectors,
    exclude: NDArray[np.int32],
    k: int,
    norms: Lengths,
    device: torch.device,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the exact answer for queries from their shortlist; search again for those that it does not prove."""
    similarity, positions = ranked(shortlist, queries, index, exclude, k)
    with np.errstate(invalid="ignore"):
        proven = (shortlist.cut == -np.inf) | (similarity[:, -1] > shortlist.cut + shortlist.error)
    unproven = np.flatnonzero(~proven)
    floor = similarity[:, -1] - product_error(queries.shape[1]) * norms.products
    for rows in (unproven[i : i + _UNPROVEN_QUERIES] for i in range(0, len(unproven), _UNPROVEN_QUERIES)):
        again = rows_above(queries[rows], index, floor[rows], device)
        similarity[rows], positions[rows] = ranked(again, queries[rows], index, exclude[rows], k)
    return similarity, positions
