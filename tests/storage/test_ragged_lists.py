"""Ragged lists against plain loops."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from landmark_dag.storage.ragged_lists import list_of_rows, offsets_of, places_in_lists, ranks_in_lists


@given(st.lists(st.integers(0, 5), max_size=8))
def test_offsets_lists_places_and_ranks_are_those_of_a_loop(lengths: list[int]) -> None:
    rows = [(number, place) for number, length in enumerate(lengths) for place in range(length)]
    given_lengths = np.array(lengths, dtype=np.int64)
    assert offsets_of(given_lengths).tolist() == [sum(lengths[:number]) for number in range(len(lengths) + 1)]
    assert list_of_rows(given_lengths).tolist() == [number for number, _ in rows]
    assert places_in_lists(given_lengths).tolist() == [place for _, place in rows]
    assert ranks_in_lists(given_lengths).tolist() == [place + 1 for _, place in rows]
    assert ranks_in_lists(given_lengths).dtype == np.int32
