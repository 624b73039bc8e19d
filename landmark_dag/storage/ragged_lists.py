"""Lists of different lengths, one after the other in one array: list i is `rows[offsets[i]:offsets[i + 1]]`."""

import numpy as np
from numpy.typing import NDArray


def offsets_of(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return where each list begins, and the end of the last, int64 (n + 1,), of lists of these lengths (n,)."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def list_of_rows(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the list that each row belongs to, int64 (rows,)."""
    return np.repeat(np.arange(len(lengths)), lengths)


def places_in_lists(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the place of each row in its list, from 0, int64 (rows,)."""
    return np.arange(np.sum(lengths, dtype=np.int64)) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def ranks_in_lists(lengths: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return the rank of each row in its list, from 1, int32 (rows,)."""
    return (places_in_lists(lengths) + 1).astype(np.int32)
