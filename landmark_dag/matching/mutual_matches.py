"""Tentative matches of two photos: pairs of descriptors that are each other's most similar, each place counted once.

The rule has two implementations, one compiled for the processor and one batched for an accelerator. Column j (a
descriptor of photo b) is matched to its most similar row i (of photo a; ties: the first), if no other column is more
similar to row i; of several columns matched to one row the first is kept. Matches are sorted by falling similarity
(ties: smaller j). A match whose place in a or in b occurs earlier in the list is dropped: several keypoints at one
place are one piece of evidence.
"""

import functools

import numba
import numpy as np
import torch
from numpy.typing import NDArray

_FAR = -float(1 << 23)
"""Similarity of padding: below that of any two descriptors of up to 520 numbers; sums with it are exact in float32."""


@functools.cache
def integer_steps() -> tuple[int, int]:
    """Return the largest magnitudes of 8-bit factors that this processor multiplies exactly, and faster than floats.

    (127, 127) on a processor with instructions for it (VNNI; 3 to 4 times as fast as floats). Other x86 processors add
    two products in 16 bits, and oneDNN makes the first factors positive for them: (127, 63), 1.8 times as fast. (0, 0)
    where floats are faster. The products are tried, because oneDNN's settings decide, too.
    """
    vectorized = getattr(torch.cpu, "_is_avx2_supported", lambda: False)()
    if not (vectorized and torch.backends.mkldnn.is_available() and hasattr(torch, "_int_mm")):
        return 0, 0
    return next((steps for steps in ((127, 127), (127, 63)) if _multiplies_exactly(*steps)), (0, 0))


def has_integer_product() -> bool:
    """Return whether this processor multiplies all 8-bit integers exactly, and faster than floats."""
    return integer_steps() == (127, 127)


def _multiplies_exactly(first: int, second: int) -> bool:
    """Return whether products of the largest integers, of equal and of different signs, are exact."""
    for rows, dimensions, columns in ((256, 512, 512), (64, 64, 64), (3, 48, 2)):
        signs = torch.ones(max(rows, columns), dtype=torch.int8)
        signs[::2] = -1
        factors = [
            (signs[:count, None] * largest).expand(count, dimensions)
            for count, largest in ((rows, first), (columns, second))
        ]
        found = torch._int_mm(factors[0].contiguous(), factors[1].contiguous().T)
        if (found != first * second * dimensions * signs[:rows, None].int() * signs[:columns].int()).any():
            return False
    return True


class SimilarityBuffer:
    """Memory for the similarities of one pair after another: allocating it again costs more than the product."""

    def __init__(self, integers: bool | None = None) -> None:
        """Start without memory; it grows to the largest pair.

        `integers` says whether products are taken of integers or of floats; by default what `has_integer_product` says.
        """
        self._integers = has_integer_product() if integers is None else integers
        self._memory = torch.empty(0, dtype=torch.int32 if self._integers else torch.float32)

    def product(self, first: NDArray[np.int8], second: NDArray[np.int8]) -> NDArray:
        """Return all inner products (n, m), int32 or float32 but whole, of descriptors (n, d) and (m, d).

        The next call overwrites the array.
        """
        size = len(first) * len(second)
        if self._memory.numel() < size:
            self._memory = torch.empty(size, dtype=self._memory.dtype)
        out = self._memory[:size].view(len(first), len(second))
        a, b = torch.from_numpy(first), torch.from_numpy(second)
        if self._integers:
            return torch._int_mm(a, b.T, out=out).numpy()
        return torch.mm(a.float(), b.float().T, out=out).numpy()


@numba.njit(cache=True, nogil=True)
def mutual_matches(similarity: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows and columns (k,) of a non-empty matrix (n, m) that match mutually, best first."""
    rows, columns = similarity.shape
    best = similarity[0].copy()
    best_row = np.zeros(columns, np.int32)
    row_best = np.empty(rows, similarity.dtype)
    for i in range(rows):
        row = similarity[i]
        largest = row[0]
        for j in range(columns):
            largest = max(largest, row[j])
        row_best[i] = largest
        for j in range(columns):
            better = row[j] > best[j]
            best[j] = row[j] if better else best[j]
            best_row[j] = i if better else best_row[j]
    taken = np.zeros(rows, np.bool_)
    kept = np.empty(min(rows, columns), np.int64)
    count = 0
    for j in range(columns):
        i = best_row[j]
        if best[j] == row_best[i] and not taken[i]:
            taken[i] = True
            kept[count] = j
            count += 1
    kept = kept[:count]
    kept = kept[np.argsort(-best[kept], kind="mergesort")]
    return best_row[kept].astype(np.int64), kept


@numba.njit(cache=True, nogil=True)
def first_at_its_place(source: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return for each match (n, 2) whether no match before it has the same place in photo a or in photo b."""
    first = np.ones(len(source), np.bool_)
    sx, sy, tx, ty = source[:, 0].copy(), source[:, 1].copy(), target[:, 0].copy(), target[:, 1].copy()
    for i in range(1, len(source)):
        again = 0
        for j in range(i):
            again += ((sx[j] == sx[i]) & (sy[j] == sy[i])) | ((tx[j] == tx[i]) & (ty[j] == ty[i]))
        first[i] = again == 0
    return first


def mutual_matches_batched(
    first: torch.Tensor, second: torch.Tensor, counts_first: torch.Tensor, counts_second: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return `mutual_matches` of each pair of a batch: rows (p, k), columns (p, k) and which are real (p, k).

    `first` (p, n, d) and `second` (p, m, d) are float32 whole numbers; pair i has `counts_first[i]` and
    `counts_second[i]` rows of them. k is the largest number of matches in the batch, and at least 1.
    """
    beyond_first = torch.arange(first.shape[1], device=first.device) >= counts_first[:, None]
    beyond_second = torch.arange(second.shape[1], device=first.device) >= counts_second[:, None]
    similarity = torch.bmm(*_with_far_padding(first, beyond_first, second, beyond_second))
    row_best = similarity.amax(dim=2)
    best, best_row = similarity.max(dim=1)
    mutual = (best == row_best.gather(1, best_row)) & ~beyond_second & (counts_first > 0)[:, None]
    columns = torch.arange(second.shape[1], device=first.device).expand_as(best_row)
    first_column = torch.full_like(row_best, second.shape[1], dtype=torch.int64)
    first_column.scatter_reduce_(1, best_row, columns.where(mutual, second.shape[1]), "amin")
    mutual &= columns == first_column.gather(1, best_row)
    order = best.where(mutual, -torch.inf).argsort(dim=1, descending=True, stable=True)
    order = order[:, : max(1, int(mutual.sum(dim=1).max()))]
    return best_row.gather(1, order), order, mutual.gather(1, order)


def _with_far_padding(
    first: torch.Tensor, beyond_first: torch.Tensor, second: torch.Tensor, beyond_second: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the factors (p, n, e) and (p, e, m) of the similarities, in which padding is less similar than any row.

    Two more numbers in each descriptor do this, exactly even in TF32; masking would read all similarities twice.
    """
    fill = first.new_zeros(1, 1, -(first.shape[2] + 2) % 4)
    one = first.new_ones(1, 1, 1)

    def widened(descriptors: torch.Tensor, *columns: torch.Tensor) -> torch.Tensor:
        shape = (*descriptors.shape[:2], -1)
        return torch.cat([descriptors, *(column.expand(shape) for column in (*columns, fill))], dim=2)

    far_first, far_second = (_FAR * beyond[:, :, None].float() for beyond in (beyond_first, beyond_second))
    return widened(first, far_first, one), widened(second, one, far_second).transpose(1, 2)


def first_at_its_place_batched(source: torch.Tensor, target: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Return `first_at_its_place` (p, k) of each pair's matches (p, k, 2); False where not `real` (p, k)."""
    again = torch.zeros_like(real)
    for places in (source, target):
        place = (places[..., 0].to(torch.int64) << 32) + places[..., 1].to(torch.int64)
        same = (place[:, :, None] == place[:, None]) & real[:, None]
        again |= same.tril(diagonal=-1).any(dim=2)
    return real & ~again
