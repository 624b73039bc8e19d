"""Lists of neighbours as label-blind re-ranking methods read and return them."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray


class Neighbours(NamedTuple):
    """The nearest index photos of queries or of the index photos themselves, as `knn.exact.nearest` returns them.

    similarity float32 (m, k) descending and positions int32 (m, k), -1 for none. An index photo is not one of its
    own neighbours.
    """

    similarity: NDArray[np.float32]
    positions: NDArray[np.int32]

    def first(self, count: int) -> "Neighbours":
        """Return the `count` nearest of each."""
        return Neighbours(self.similarity[:, :count], self.positions[:, :count])


def filled_up(
    offsets: NDArray[np.int64], positions: NDArray[np.int32], queries: Neighbours, index_size: int, limit: int
) -> NDArray[np.int32]:
    """Return int32 (q, limit): each list `positions[offsets[q]:offsets[q + 1]]`, then the query's other neighbours.

    Empty places are -1.
    """
    lists = np.full((len(queries.positions), limit), -1, dtype=np.int32)
    _fill_up(offsets, positions, queries.positions, np.full(index_size, -1, dtype=np.int64), lists)
    return lists


@njit(cache=True, nogil=True)
def _fill_up(offsets, positions, neighbours, last_query, lists):  # type: ignore[no-untyped-def]
    """Fill `lists`; `last_query` (-1) by position is scratch."""
    for query in range(len(lists)):
        write = 0
        for part in (positions[offsets[query] : offsets[query + 1]], neighbours[query]):
            for position in part:
                if write == lists.shape[1]:
                    break
                if position >= 0 and last_query[position] != query:
                    last_query[position] = query
                    lists[query, write] = position
                    write += 1
