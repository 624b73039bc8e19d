"""Exact nearest neighbours by inner product, in bounded memory, on a CPU or a GPU.

A fast product shortlists some more than k index rows for every query; their inner products are then taken in
float64 and rounded once to float32. A bound on the fast product's error proves that no row outside the
shortlist belongs into the answer; the few queries it cannot prove are searched again without a cut. Products
of float16 numbers are multiples of 2^-48, so for vectors of about unit norm their sums in float64 are exact:
the answer is the correctly rounded one, whatever the device and the blocks.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

from landmark_dag.errors import InputError

Vectors = NDArray[np.float16] | NDArray[np.float32]


@dataclass(frozen=True)
class Blocks:
    """Rows worked on at a time. Memory grows with them; results do not depend on them."""

    queries: int = 8192
    index: int = 16384
    tile_queries: int = 1024
    tile_index: int = 4096


DEFAULT_BLOCKS = Blocks()
"""For 512 dimensions and k = 100 about 150 MB beside the inputs and the answer."""


def nearest(
    queries: Vectors,
    index: Vectors,
    k: int,
    exclude: NDArray[np.int32] | None = None,
    *,
    device: str = "cpu",
    blocks: Blocks = DEFAULT_BLOCKS,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the similarity float32 (q, k') and position int32 (q, k') of every query's nearest index rows.

    `queries` (q, d) and `index` (n, d) are float16 or float32 and may be memory-mapped. Similarity is the
    inner product rounded to float32; order: similarity descending, then position ascending. `exclude` int32
    (q,) is a position never returned for that query (-1: none). k' is the smaller of k and the most rows that
    any query may get; a query that may get fewer has similarity -inf and position -1 after them. Raises
    InputError for k < 1, differing dimensions, an empty index, or a vector that is not finite.
    """
    if k < 1:
        raise InputError(f"k is {k}; at least one neighbour must be asked for.")
    if queries.shape[1] != index.shape[1]:
        raise InputError(
            f"Queries have {queries.shape[1]} dimensions and the index {index.shape[1]}; embed both with one model."
        )
    if not 0 < len(index) < 2**31:
        raise InputError(f"The index holds {len(index)} photos; it must hold at least one and under 2^31.")
    exclude = np.full(len(queries), -1, np.int32) if exclude is None else exclude.astype(np.int32, copy=False)
    k = min(k, len(index) - int((exclude >= 0).all() and len(exclude) > 0))
    similarity = np.full((len(queries), k), -np.inf, dtype=np.float32)
    positions = np.full((len(queries), k), -1, dtype=np.int32)
    largest = max(norms.max(initial=0) for norms in _norms(index, "index", blocks.index))
    first = 0
    with _full_precision():
        for norms in _norms(queries, "query", blocks.queries) if k else ():
            rows = slice(first, first + len(norms))
            error = _product_error(queries.shape[1]) * norms * largest
            similarity[rows], positions[rows] = _search(
                queries[rows], index, k, exclude[rows], error, torch.device(device), blocks
            )
            first += len(norms)
    return similarity, positions


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """Keep torch from rounding the factors of a float32 product, which the error bound does not allow."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _norms(vectors: Vectors, what: str, block: int) -> Iterator[NDArray[np.float64]]:
    """Yield the norms of each block of rows; raises InputError for a row that is not finite."""
    for first in range(0, len(vectors), block):
        rows = _float32(vectors[first : first + block]).numpy()
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64, casting="same_kind"))
        bad = np.flatnonzero(~np.isfinite(norms))
        if len(bad):
            raise InputError(f"Row {first + int(bad[0])} of the {what} vectors is not finite; embed its photo again.")
        yield norms


def _product_error(dimensions: int) -> float:
    """Bound |fast - exact| / (|q| |x|) of a float32 product summed in any order, and of rounding the exact.

    Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1: d u / (1 - d u) with
    u = 2^-24; twice that covers the norms' own rounding.
    """
    return 2 * (dimensions + 2) * 2.0**-24


def _search(
    queries: Vectors,
    index: Vectors,
    k: int,
    exclude: NDArray[np.int32],
    error: NDArray[np.float64],
    device: torch.device,
    blocks: Blocks,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Search one block of queries; `error` float64 (q,) bounds the fast product's error for each."""
    size = min(len(index), k + max(16, k // 8))
    shortlist = _shortlist_by_scan if device.type == "cpu" else _shortlist_by_sort
    candidates, cut = shortlist(_float32(queries, device), index, size, blocks)
    similarity, positions = _rescore(queries, index, candidates, exclude, k)
    with np.errstate(invalid="ignore"):
        proven = (cut == -np.inf) | (similarity[:, -1] > cut + error)
    for rows in np.array_split(np.flatnonzero(~proven), max(1, -(-int((~proven).sum()) // 64))):
        if len(rows):
            floor = similarity[rows, -1] - error[rows]
            found = _candidates_above(_float32(queries[rows], device), index, floor, blocks.index)
            for row, row_candidates in zip(rows, found, strict=True):
                one = slice(row, row + 1)
                similarity[one], positions[one] = _rescore(queries[one], index, row_candidates[None], exclude[one], k)
    return similarity, positions


def _float32(vectors: Vectors, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return a float32 tensor of `vectors` on `device`."""
    with np.errstate(all="ignore"):
        return torch.from_numpy(np.array(vectors)).to(device).float()


def _shortlist_by_scan(
    queries: torch.Tensor, index: Vectors, size: int, blocks: Blocks
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return `size` candidates int32 (q, size) of every query on a CPU, and the cut float32 (q,).

    No row outside the candidates has a fast product above the cut; -inf where there is no row outside.
    Scores are compared with the running cut as tiles of the product come, and kept where they exceed it.
    """
    count = len(queries)
    scores = np.empty((count, 2 * size), dtype=np.float32)
    positions = np.empty((count, 2 * size), dtype=np.int32)
    kept = np.zeros(count, dtype=np.int64)
    cut = np.full(count, -np.inf, dtype=np.float32)
    tile = torch.empty(blocks.tile_queries * blocks.tile_index)
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads) as pool:
        for block in range(0, len(index), blocks.index):
            rows = _float32(index[block : block + blocks.index])
            for x in range(0, len(rows), blocks.tile_index):
                part = rows[x : x + blocks.tile_index].T
                for q in range(0, count, blocks.tile_queries):
                    some = queries[q : q + blocks.tile_queries]
                    product = tile[: len(some) * part.shape[1]].view(len(some), part.shape[1])
                    torch.mm(some, part, out=product)
                    target = (scores[q:], positions[q:], kept[q:], cut[q:])
                    _in_threads(pool, threads, len(some), _scan, product.numpy(), block + x, size, *target)
        _in_threads(pool, threads, count, _compact, scores, positions, kept, cut, size)
    return positions[:, :size].copy(), cut


def _in_threads(
    pool: ThreadPoolExecutor, threads: int, count: int, function: Callable[..., None], *arguments: object
) -> None:
    """Call `function(first, last, *arguments)` on `threads` parts of range(count) at once."""
    bounds = np.linspace(0, count, threads + 1).astype(int).tolist()
    calls = [pool.submit(function, *part, *arguments) for part in itertools.pairwise(bounds)]
    for call in calls:
        call.result()


@njit(cache=True, nogil=True)
def _compact_row(scores, positions, count, size):  # type: ignore[no-untyped-def]
    """Keep the `size` largest of `count` scores in place; return the smallest kept."""
    smallest = np.partition(scores[:count], count - size)[count - size]
    ties = size - np.sum(scores[:count] > smallest)
    write = 0
    for read in range(count):
        tied = scores[read] == smallest
        if scores[read] > smallest or (tied and ties > 0):
            scores[write], positions[write] = scores[read], positions[read]
            write += 1
            ties -= tied
    return smallest


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _scan(first, last, product, first_position, size, scores, positions, kept, cut):  # type: ignore[no-untyped-def]
    """Collect the scores of `product[first:last]` above each row's cut; raise the cut when a row is full."""
    step = 64
    for row in range(first, last):
        for start in range(0, product.shape[1], step):
            end = min(start + step, product.shape[1])
            largest = product[row, start]
            for column in range(start + 1, end):
                largest = max(largest, product[row, column])
            if largest <= cut[row]:
                continue
            for column in range(start, end):
                if product[row, column] > cut[row]:
                    scores[row, kept[row]] = product[row, column]
                    positions[row, kept[row]] = first_position + column
                    kept[row] += 1
                    if kept[row] == scores.shape[1]:
                        cut[row] = _compact_row(scores[row], positions[row], kept[row], size)
                        kept[row] = size


@njit(cache=True, nogil=True)
def _compact(first, last, scores, positions, kept, cut, size):  # type: ignore[no-untyped-def]
    """Keep each row's `size` largest scores; raise its cut when any had to go."""
    for row in range(first, last):
        if kept[row] > size:
            cut[row] = _compact_row(scores[row], positions[row], kept[row], size)


def _shortlist_by_sort(
    queries: torch.Tensor, index: Vectors, size: int, blocks: Blocks
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Do what `_shortlist_by_scan` does, with the device's own selection: for a GPU."""
    best = queries.new_empty((len(queries), 0))
    positions = torch.empty((len(queries), 0), dtype=torch.int32, device=queries.device)
    for first in range(0, len(index), blocks.index):
        product = queries @ _float32(index[first : first + blocks.index], queries.device).T
        scores, columns = product.topk(min(size, product.shape[1]), dim=1, sorted=False)
        best = torch.cat([best, scores], dim=1)
        positions = torch.cat([positions, (columns + first).int()], dim=1)
        best, columns = best.topk(min(size, best.shape[1]), dim=1, sorted=False)
        positions = positions.gather(1, columns)
    cut = best.amin(dim=1) if size < len(index) else torch.full_like(best[:, 0], -torch.inf)
    return positions.cpu().numpy(), cut.cpu().numpy()


def _candidates_above(
    queries: torch.Tensor, index: Vectors, floor: NDArray[np.float64], block: int
) -> list[NDArray[np.int32]]:
    """Return, for every query, all index rows whose fast product is at least its `floor` float64 (q,)."""
    found: list[list[NDArray[np.int64]]] = [[] for _ in floor]
    for first in range(0, len(index), block):
        product = (queries @ _float32(index[first : first + block], queries.device).T).cpu().numpy()
        for row, scores in enumerate(product):
            found[row].append(np.flatnonzero(scores >= floor[row]) + first)
    return [np.concatenate(parts).astype(np.int32) for parts in found]


def _rescore(
    queries: Vectors, index: Vectors, candidates: NDArray[np.int32], exclude: NDArray[np.int32], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the k best of `candidates` int32 (q, c) by exact similarity, then position."""
    similarity = np.full((len(queries), k), -np.inf, dtype=np.float32)
    positions = np.full((len(queries), k), -1, dtype=np.int32)
    candidates = np.sort(candidates, axis=1)
    exact = np.empty(candidates.shape, dtype=np.float32)
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads) as pool:
        numbers = _numbers(queries), _numbers(index)
        _in_threads(pool, threads, len(queries), _products, *numbers, candidates, exact)
    exact[candidates == exclude[:, None]] = -np.inf
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    similarity[:, : order.shape[1]] = np.take_along_axis(exact, order, axis=1)
    positions[:, : order.shape[1]] = np.take_along_axis(candidates, order, axis=1)
    positions[similarity == -np.inf] = -1
    return similarity, positions


def _numbers(vectors: Vectors) -> NDArray[np.uint16] | NDArray[np.float32]:
    """Return `vectors` as `_number` takes them: Numba knows float32, but float16 only by its bits."""
    return vectors.view(np.uint16) if vectors.dtype == np.float16 else vectors.astype(np.float32, copy=False)


def _number(value: np.uint16 | np.float32) -> float:
    """Return the number that the bits of a finite float16, or a float32, stand for."""
    return float(value.view(np.float16) if isinstance(value, np.uint16) else value)


@overload(_number)
def _compile_number(value):  # type: ignore[no-untyped-def]
    if not isinstance(value, types.Integer):
        return lambda value: value

    def from_bits(value):  # type: ignore[no-untyped-def]
        # The bits moved into a float32's places are the number times 2^-112, subnormal ones included.
        bits = np.uint32(value)
        sign = (bits & np.uint32(0x8000)) << np.uint32(16)
        rest = (bits & np.uint32(0x7FFF)) << np.uint32(13)
        return np.uint32(sign | rest).view(np.float32) * np.float32(2.0**112)

    return from_bits


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _products(first, last, queries, index, candidates, exact):  # type: ignore[no-untyped-def]
    """Fill exact[first:last] with the inner products of each query and its candidates, summed in float64."""
    query = np.empty(queries.shape[1], np.float64)
    for row in range(first, last):
        for dimension in range(len(query)):
            query[dimension] = _number(queries[row, dimension])
        for candidate in range(candidates.shape[1]):
            position = candidates[row, candidate]
            total = 0.0
            for dimension in range(len(query)):
                total += query[dimension] * np.float64(_number(index[position, dimension]))
            exact[row, candidate] = total
