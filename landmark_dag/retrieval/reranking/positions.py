"""From ids to positions: where each of many ids is among the known ids."""

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray


def positions_of(ids: pl.Series, known: pl.Series) -> NDArray[np.int32]:
    """Return, int32, the position of each of `ids` in `known`, whose ids are distinct; -1 for an unknown id.

    Ids are looked up by their 64-bit hashes and then compared, which takes a third of the time of a join by text. If
    two ids have the same hash, the ids are joined instead.
    """
    positions = np.full(len(ids), -1, dtype=np.int32)
    if len(known):
        size = 1 << (2 * len(known) - 1).bit_length()
        _look_up(ids.hash().to_numpy(), known.hash().to_numpy(), np.full(size, -1, dtype=np.int32), positions)
    found = pl.Series(positions)
    same = known.gather(found.set(found < 0, None)) == ids
    if same.all():
        return positions
    numbered = known.to_frame("id").with_columns(position=pl.int_range(pl.len(), dtype=pl.Int32))
    joined = ids.to_frame("id").join(numbered, on="id", how="left", maintain_order="left")
    return joined["position"].fill_null(-1).to_numpy()


@njit(cache=True, nogil=True)
def _look_up(hashes, known, slots, positions):  # type: ignore[no-untyped-def]
    """Fill `positions` through `slots`, a hash table with open addressing; its size is a power of two; -1 is empty."""
    mask = np.uint64(len(slots) - 1)
    one = np.uint64(1)
    for position in range(len(known)):
        slot = known[position] & mask
        while slots[slot] >= 0:
            slot = (slot + one) & mask
        slots[slot] = position
    for row in range(len(hashes)):
        slot = hashes[row] & mask
        while slots[slot] >= 0:
            if known[slots[slot]] == hashes[row]:
                positions[row] = slots[slot]
                break
            slot = (slot + one) & mask
