"""A shortlist on a CPU from tiles of products that fit in a core's cache.

Every query keeps the scores above its cut. When its places are full, the cut rises to somewhat below the k-th best
score so far, and the scores below the cut are dropped.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from landmark_dag.retrieval.knn.lanes import LANES, keep_places, keep_products
from landmark_dag.retrieval.knn.shortlist import Shortlist, Workers

_TILES = {torch.int8: (256, 512), torch.float32: (1024, 512)}
"""How many queries and index rows are multiplied at a time: 0.5 and 2 MB of products, in a core's own cache."""

_MARGIN = 1.1
"""How many error bounds below the k-th best score the cut is; the proof needs about one."""

_STEP = 64
_BINS = 512


@dataclass(frozen=True, eq=False)
class Factors:
    """Vectors to multiply: `values` int8 or float32 (n, d) times `scales` float32 (n,)."""

    values: torch.Tensor
    scales: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Block:
    """Index rows from position `start` on; `error` float64 (q,) bounds the error of every score of a query so far."""

    start: int
    rows: Factors
    error: NDArray[np.float64]


class _Candidates(NamedTuple):
    """Scores and ascending positions kept for each query (q, places), their count, and the cut: none above is dropped.

    A score is the product of values times the index row's scale; the query's scale is applied at the end.
    """

    scores: NDArray[np.float32]
    positions: NDArray[np.int32]
    counts: NDArray[np.int64]
    cuts: NDArray[np.float32]

    def of(self, queries: slice) -> "_Candidates":
        """Return the candidates of some queries."""
        return _Candidates(self.scores[queries], self.positions[queries], self.counts[queries], self.cuts[queries])


def places(k: int) -> int:
    """Return how many candidates a query holds at a time, each of 8 bytes."""
    return (4 * k + 512) // LANES * LANES


def shortlist_by_tiles(queries: Factors, blocks: Iterable[Block], k: int, workers: Workers) -> Shortlist:
    """Return each query's shortlist of the `k` nearest rows of all blocks; these have at least k rows."""
    count = len(queries.values)
    shape = count, places(k)
    scores, positions = np.empty(shape, np.float32), np.empty(shape, np.int32)
    found = _Candidates(scores, positions, np.zeros(count, np.int64), np.full(count, -np.inf, np.float32))
    rows, error, margin = 0, np.zeros(count), np.zeros(count, np.float32)
    for block in blocks:
        error = block.error
        np.divide(_MARGIN * error, queries.scales, out=margin, where=queries.scales > 0, casting="same_kind")
        workers.each(count, _search, queries, block, k, margin, found)
        rows = block.start + len(block.rows.values)
    workers.each(count, _compact, k, margin, found)
    cut = np.full(count, -np.inf)
    np.multiply(found.cuts, queries.scales, out=cut, where=found.counts < rows, dtype=np.float64)
    return Shortlist(positions[:, : found.counts.max(initial=1)], found.counts, cut, error)


def _search(
    first: int, last: int, queries: Factors, block: Block, k: int, margin: NDArray[np.float32], found: _Candidates
) -> None:
    """Add the candidates of a block to those of queries `first` to `last`."""
    values, scales = block.rows.values, block.rows.scales
    whole = values.dtype == torch.int8
    multiply = _int_mm if whole else torch.mm
    at_a_time, columns = _TILES[values.dtype]
    tile = torch.empty(at_a_time * columns, dtype=torch.int32 if whole else torch.float32)
    for q in range(first, last, at_a_time):
        some = slice(q, min(q + at_a_time, last))
        factors = queries.values[some]
        for x in range(0, len(values), columns):
            part = values[x : x + columns]
            product = tile[: len(factors) * len(part)].view(len(factors), len(part))
            multiply(factors, part.T, out=product)
            of_part = scales[x : x + columns]
            _scan(product.numpy(), of_part, block.start + x, k, margin[some], found.of(some))


def _int_mm(factors: torch.Tensor, rows: torch.Tensor, *, out: torch.Tensor) -> None:
    """Multiply int8 (q, d) by int8 (d, n) exactly, for numbers up to matching.mutual_matches.integer_steps."""
    if rows.shape[1] == 1:  # torch may make a single vector the first factor, for which its integers are too large
        torch.mm(factors.int(), rows.int(), out=out)
    else:
        torch._int_mm(factors, rows, out=out)


@njit(cache=True, nogil=True)
def _scan(product, scales, first_position, k, margin, found):  # type: ignore[no-untyped-def]
    """Keep the scores, products times scales, above each row's cut; raise the cut when the row is full."""
    scores, positions, counts, cuts = found
    histogram = np.empty(_BINS, np.int64)
    columns, most = product.shape[1], 3 * scores.shape[1] // 4
    for row in range(product.shape[0]):
        row_scores, row_positions = scores[row], positions[row]
        factors, kept = (product[row], scales), (row_scores, row_positions)
        count, cut = counts[row], cuts[row]
        for start in range(0, columns, _STEP):
            if count + _STEP > len(row_scores):
                count, cut = _raise_cut(k, margin[row], kept, count, most, cut, histogram)
            end = min(start + _STEP, columns)
            whole = end - (end - start) % LANES
            for column in range(start, whole, LANES):
                count = keep_products(factors, column, first_position + column, cut, kept, count)  # type: ignore[call-arg]
            for column in range(whole, end):
                row_scores[count] = np.float32(product[row, column]) * scales[column]
                row_positions[count] = first_position + column
                count += row_scores[count] > cut
        counts[row], cuts[row] = count, cut


@njit(cache=True, nogil=True)
def _compact(first, last, k, margin, found):  # type: ignore[no-untyped-def]
    """Raise the cut of every row for the last time."""
    scores, positions, counts, cuts = found
    histogram = np.empty(_BINS, np.int64)
    for row in range(first, last):
        if counts[row] > k:
            kept, count = (scores[row], positions[row]), counts[row]
            counts[row], cuts[row] = _raise_cut(k, margin[row], kept, count, count, cuts[row], histogram)


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _raise_cut(k, margin, kept, count, most, cut, histogram):  # type: ignore[no-untyped-def]
    """Raise a row's cut to `margin` below its k-th score, or until `most` are above it; drop the scores below it.

    The lower end of a histogram bin serves as the k-th score. Returns the new count and cut.
    """
    scores = kept[0]
    low, high = scores[0], scores[0]
    for place in range(count):
        low, high = min(low, scores[place]), max(high, scores[place])
    if high > low:
        steps = np.float32(_BINS - 0.5) / (high - low)
        histogram[:] = 0
        for place in range(count):
            histogram[max(0, min(int((scores[place] - low) * steps), _BINS - 1))] += 1
        above, end = 0, _BINS
        while above < k:
            end -= 1
            above += histogram[end]
        kth = low + np.float32(end) / steps
        while end > 0 and above + histogram[end - 1] <= most:
            end -= 1
            above += histogram[end]
        cut = max(cut, kth - margin)
        if end > 0:
            cut = max(cut, low + np.float32(end) / steps)
        scores[count : -(-count // LANES) * LANES] = -np.inf
        last, count = count, 0
        for place in range(0, last, LANES):
            count = keep_places(place, cut, kept, count)  # type: ignore[call-arg]
    for place in range(most, count):
        cut = max(cut, scores[place])
    return min(count, most), cut
