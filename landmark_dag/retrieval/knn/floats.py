"""Shortlists from floating-point products: by tiles or by faiss on a CPU, by torch on an accelerator."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from landmark_dag.retrieval.knn.shortlist import Lengths, Shortlist, Vectors, Workers
from landmark_dag.retrieval.knn.tiles import Block, Factors, shortlist_by_tiles

NUMBERS = 2**25
"""How many numbers of the index are held as floats at a time."""

_NUMBERS_IN_CACHE = 2**23
"""The same on a CPU: 32 MB. The memory is reused: to allocate it takes as long as to fill it."""

_TILE_QUERIES = 8192
"""How many queries an accelerator multiplies with a block at a time: 2 GB of products for 512 dimensions."""


def product_error(dimensions: int) -> float:
    """Bound |fast - exact| / (|q| |x|) for a float32 product summed in any order, and for rounding the exact product.

    Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1: d u / (1 - d u) with
    u = 2^-24. Four times that also covers the rounding of the norms, and tensor cores, which truncate, not round.
    """
    return 4 * (dimensions + 2) * 2.0**-24


def shortlist_by_floats(queries: Vectors, index: Vectors, k: int, norms: Lengths) -> Shortlist:
    """Return the shortlist of the `k` nearest index rows (n, d), k <= n, of each query (q, d), on a CPU."""
    error = product_error(queries.shape[1]) * norms.products
    held = torch.empty((max(1, _NUMBERS_IN_CACHE // index.shape[1]), index.shape[1]))

    def blocks() -> Iterator[Block]:
        for start in range(0, len(index), len(held)):
            rows = np.array(index[start : start + len(held)])
            yield Block(start, _factors(held[: len(rows)].copy_(torch.from_numpy(rows))), error)

    with _full_precision(), Workers() as workers:
        of_queries = _factors(torch.from_numpy(np.array(queries)).float())
        return shortlist_by_tiles(of_queries, blocks(), k, workers)


def shortlist_by_faiss(queries: Vectors, index: Vectors, k: int, norms: Lengths) -> Shortlist:
    """Return a shortlist of somewhat more than the `k` nearest index rows (n, d) of each query (q, d), on a CPU."""
    import faiss

    size = min(len(index), k + max(16, k // 8))
    rows = np.asarray(queries, np.float32)
    best: NDArray = np.empty((len(queries), 0), np.float32)
    positions: NDArray = np.empty((len(queries), 0), np.int64)
    for start, end in _blocks(index):
        block = np.ascontiguousarray(index[start:end], np.float32)
        scores, found = faiss.knn(rows, block, min(size, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
        best, positions = np.hstack([best, scores]), np.hstack([positions, found + start])
        if best.shape[1] > size:
            kept = np.argpartition(-best, size - 1, axis=1)[:, :size]
            best, positions = (np.take_along_axis(values, kept, axis=1) for values in (best, positions))
    cut = best.min(axis=1) if size < len(index) else np.full(len(queries), -np.inf)
    return _shortlist(positions, cut, product_error(queries.shape[1]) * norms.products)


def shortlist_by_torch(queries: Vectors, index: Vectors, k: int, norms: Lengths, device: torch.device) -> Shortlist:
    """Return what `shortlist_by_faiss` does, by products and selection on `device`.

    On CUDA, tensor cores multiply float16 vectors directly and sum in float32. A block of the index is copied to the
    device once for all queries.
    """
    size = min(len(index), k + max(16, k // 8))
    rows = _on_device(queries, device)
    best = torch.empty((len(queries), size), device=device)
    positions = torch.empty((len(queries), size), dtype=torch.int32, device=device)
    known = 0
    with _full_precision():
        for start, end in _blocks(index):
            block = _on_device(index[start:end], device)
            more = min(size, known + len(block))
            for first in range(0, len(rows), _TILE_QUERIES):
                some = slice(first, first + _TILE_QUERIES)
                scores, columns = _largest(_product(rows[some], block), min(size, len(block)))
                scores = torch.cat([best[some, :known], scores], dim=1)
                columns = torch.cat([positions[some, :known], columns + start], dim=1)
                best[some, :more], places = scores.topk(more, dim=1, sorted=False)
                positions[some, :more] = columns.gather(1, places).int()
            known = more
    cut = best.amin(dim=1) if size < len(index) else torch.full_like(best[:, 0], -torch.inf)
    return _shortlist(positions.cpu().numpy(), cut.cpu().numpy(), product_error(queries.shape[1]) * norms.products)


def _largest(scores: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the `size` largest of each row and their columns, in any order.

    The largest are in the `size` groups of columns with the largest maxima. A selection reads its input several times,
    the maxima read the scores once. The size of a group makes both selections about equally wide.
    """
    width = scores.shape[1]
    group = 1 << int(np.log2(np.sqrt(width / size)))
    while width % group:
        group //= 2
    groups = scores.unflatten(1, (-1, group)).amax(dim=2).topk(size, dim=1, sorted=False).indices
    columns = (groups[:, :, None] * group + torch.arange(group, device=scores.device)).flatten(1)
    found, places = scores.gather(1, columns).topk(size, dim=1, sorted=False)
    return found, columns.gather(1, places)


def rows_above(queries: Vectors, index: Vectors, floor: NDArray[np.float64], device: torch.device) -> Shortlist:
    """Return, for every query, all index rows whose float32 product is at least its `floor` float64 (q,)."""
    rows = _on_device(queries, device).float()
    found: list[list[NDArray[np.int64]]] = [[] for _ in floor]
    with _full_precision():
        for start, end in _blocks(index):
            block = _on_device(index[start:end], device).float()
            for row, scores in enumerate((rows @ block.T).cpu().numpy()):
                found[row].append(np.flatnonzero(scores >= floor[row]) + start)
    counts = np.array([sum(map(len, parts)) for parts in found], np.int64)
    positions = np.zeros((len(found), max(1, counts.max(initial=1))), np.int32)
    for row, parts in enumerate(found):
        positions[row, : counts[row]] = np.concatenate(parts)
    return Shortlist(positions, counts, np.full(len(found), -np.inf), np.zeros(len(found)))


def _shortlist(positions: NDArray[np.int64], cut: NDArray, error: NDArray[np.float64]) -> Shortlist:
    counts = np.full(len(positions), positions.shape[1], np.int64)
    return Shortlist(np.sort(positions.astype(np.int32), axis=1), counts, cut.astype(np.float64), error)


def _factors(vectors: torch.Tensor) -> Factors:
    return Factors(vectors, np.ones(len(vectors), np.float32))


def _blocks(index: Vectors) -> Iterator[tuple[int, int]]:
    """Yield the first row of each block of the index and the row after its last."""
    rows = max(1, NUMBERS // index.shape[1])
    return ((start, min(start + rows, len(index))) for start in range(0, len(index), rows))


def _on_device(vectors: Vectors, device: torch.device) -> torch.Tensor:
    """Return `vectors` on `device`: unchanged on CUDA, float32 elsewhere."""
    tensor = torch.from_numpy(np.array(vectors)).to(device)
    return tensor if device.type == "cuda" else tensor.float()


def _product(queries: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
    """Return the products float32 (q, n) of two tensors of one dtype."""
    if queries.dtype == torch.float32:
        return queries @ block.T
    return torch.mm(queries, block.T, out_dtype=torch.float32)


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """Stop torch from rounding the factors of a float32 product: the error bound does not cover it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
