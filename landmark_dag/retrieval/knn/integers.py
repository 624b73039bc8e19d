"""A shortlist from products of 8-bit integers: four times as fast as float32 where a CPU has instructions for them.

Vectors are rotated, so that no coordinate is much larger than the others, and rounded to 127 steps of their own
largest coordinate; index vectors to 63 steps on processors without these instructions. The rounding errors of the two
vectors bound the error of their product (Cauchy and Schwarz). All rows within that bound of the k-th best are kept,
however many there are for a query.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from landmark_dag.retrieval.knn.shortlist import Lengths, Shortlist, Vectors, Workers, number, numbers
from landmark_dag.retrieval.knn.tiles import Block, Factors, shortlist_by_tiles

NUMBERS = 2**25
"""How many numbers of the index are held as integers at a time."""

_ROWS = 16
"""How many rows are rotated at a time, one in each lane of the processor."""

_FLOAT_ERROR = 2.0**-18
"""Relative error of rotating and scaling in float32: 2 (log2 d + 4) 2^-24 for any d up to 2^28."""


class RoundedIndex:
    """Index rows (n, d) as integers, block by block."""

    def __init__(self, vectors: Vectors, steps: tuple[int, int], *, kept: bool) -> None:
        """Compute nothing yet; with `kept`, each block is computed once for all searches and takes one byte per number.

        `steps` are the largest integers of queries and of the index (matching.mutual_matches.integer_steps).
        """
        self._vectors, self._keeps = vectors, kept
        self._blocks: dict[int, _Integers] = {}
        self._rotation, self._steps = _Rotation.of(vectors.shape[1]), steps

    def queries(self, queries: Vectors, workers: Workers) -> "_Integers":
        """Return queries as integers, rotated as the index is."""
        return _integers(queries, self._rotation, self._steps[0], workers)

    def blocks(self, workers: Workers) -> Iterator[tuple[int, "_Integers"]]:
        """Yield the position of each block's first row, and the block."""
        step = max(1, NUMBERS // self._vectors.shape[1])
        for start in range(0, len(self._vectors), step):
            rows = self._blocks.get(start)
            if rows is None:
                rows = _integers(self._vectors[start : start + step], self._rotation, self._steps[1], workers)
                if self._keeps:
                    self._blocks[start] = rows
            yield start, rows


def shortlist_by_integers(queries: Vectors, index: RoundedIndex, k: int, norms: Lengths) -> Shortlist:
    """Return the shortlist of the `k` nearest index rows (n, d), k <= n, of each query (q, d), on a CPU.

    Besides the inputs this takes 8 bytes for each of 4 k + 512 candidates per query, one byte per number of the
    queries, and 50 MB if the index is not kept.
    """
    with Workers() as workers:
        codes = index.queries(queries, workers)

        def blocks() -> Iterator[Block]:
            lost = 0.0
            for start, rows in index.blocks(workers):
                lost = max(lost, float(rows.lost.max()))
                yield Block(start, rows.factors, _error(norms, codes.lost, lost))

        return shortlist_by_tiles(codes.factors, blocks(), k, workers)


class _Rotation(NamedTuple):
    """An orthogonal map: signs, a new order of the coordinates, Hadamard transforms of blocks of 2^i."""

    order: NDArray[np.int64]
    signs: NDArray[np.float32]
    bounds: NDArray[np.int64]

    @classmethod
    def of(cls, dimensions: int) -> "_Rotation":
        """Return the rotation for vectors of `dimensions`; it is always the same."""
        generator = np.random.default_rng(0)
        powers = [1 << bit for bit in reversed(range(dimensions.bit_length())) if dimensions >> bit & 1]
        signs = generator.choice(np.array([-1, 1], np.float32), dimensions)
        return cls(generator.permutation(dimensions), signs, np.cumsum([0, *powers]))


@dataclass(frozen=True, eq=False)
class _Integers:
    """Vectors as int8 `factors` (n, d), and the length of each rounding error, float64 (n,)."""

    factors: Factors
    lost: NDArray[np.float64]


def _integers(vectors: Vectors, rotation: _Rotation, steps: int, workers: Workers) -> _Integers:
    """Rotate `vectors` (n, d) and round them to `steps`."""
    codes = np.empty(vectors.shape, np.int8)
    scales = np.empty(len(vectors), np.float32)
    lost = np.empty(len(vectors))
    workers.each(len(vectors), _round_rows, numbers(vectors), rotation, steps, (codes, scales, lost))
    return _Integers(Factors(torch.from_numpy(codes), scales), lost)


def _error(norms: Lengths, of_queries: NDArray[np.float64], of_rows: float) -> NDArray[np.float64]:
    """Bound |q x - fast product|, given the rounding error of each query and the largest of any row, both as lengths.

    q x - q' x' = (q - q') x + q' (x - x'), and |q'| <= |q| + |q - q'|.
    """
    rounding = of_queries * norms.longest + (norms.queries + of_queries) * of_rows
    return rounding + _FLOAT_ERROR * norms.products


@njit(cache=True, nogil=True)
def _round_rows(first, last, vectors, rotation, steps, rounded):  # type: ignore[no-untyped-def]
    """Rotate and round vectors[first:last], some at a time; a row of `values` holds one coordinate of all of them."""
    order, signs, bounds = rotation
    codes, scales, lost = rounded
    values = np.zeros((len(order), _ROWS), np.float32)
    line = np.empty(len(order), np.float32)
    for start in range(first, last, _ROWS):
        rows = min(_ROWS, last - start)
        for row in range(rows):
            for i in range(len(order)):
                line[i] = number(vectors[start + row, i]) * signs[i]
            for i in range(len(order)):
                values[i, row] = line[order[i]]
        for block in range(len(bounds) - 1):
            _hadamard(values[bounds[block] : bounds[block + 1]])
        _round(values, np.float32(steps), codes[start : start + rows], scales, lost, start)


@njit(cache=True, nogil=True)
def _hadamard(values):  # type: ignore[no-untyped-def]
    """Replace each column of 2^i values by its Hadamard transform, scaled to keep lengths."""
    flat = values.reshape(-1)
    half = values.shape[1]
    while half < len(flat):
        for start in range(0, len(flat), 2 * half):
            # With slices the compiler checks once that the halves do not overlap: four times as fast.
            low, high = flat[start : start + half], flat[start + half : start + 2 * half]
            for i in range(half):
                a, b = low[i], high[i]
                low[i], high[i] = a + b, a - b
        half *= 2
    flat *= np.float32(1 / np.sqrt(len(values)))


@njit(cache=True, nogil=True)
def _round(values, steps, codes, scales, lost, start):  # type: ignore[no-untyped-def]
    """Round the first columns of `values` into the rows of `codes`; write scales and rounding errors from `start`."""
    largest, inverse = np.zeros(_ROWS, np.float32), np.zeros(_ROWS, np.float32)
    squares = np.zeros(_ROWS)
    for i in range(len(values)):
        for row in range(_ROWS):
            largest[row] = max(largest[row], abs(values[i, row]))
    step = largest / steps
    for row in range(_ROWS):
        inverse[row] = np.float32(1) / step[row] if step[row] > 0 else np.float32(0)
    for i in range(len(values)):
        for row in range(_ROWS):
            value = np.float64(values[i, row])
            code = np.rint(values[i, row] * inverse[row])
            squares[row] += (value - np.float64(step[row]) * np.float64(code)) ** 2
            values[i, row] = code
    for row in range(len(codes)):
        for i in range(len(values)):
            codes[row, i] = np.int8(values[i, row])
        scales[start + row] = step[row]
        lost[start + row] = np.sqrt(squares[row])
