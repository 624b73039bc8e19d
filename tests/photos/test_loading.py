"""Preparing ahead in threads, and batches of one size."""

import threading
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landmark_dag.photos.loading import batches_of_one_size, prepared_ahead


def test_items_come_in_order_however_long_each_takes() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    assert list(prepared_ahead(range(9), slow_first, threads=4, ahead=4)) == [item * item for item in range(9)]


def test_no_more_than_the_allowed_items_are_prepared_ahead() -> None:
    taken = 0

    def items() -> object:
        nonlocal taken
        for item in range(100):
            taken += 1
            yield item

    stream = prepared_ahead(items(), lambda item: item, threads=2, ahead=5)  # type: ignore[arg-type]
    next(stream)
    assert taken == 6
    stream.close()  # type: ignore[attr-defined]


def test_a_failure_is_raised_at_its_turn_and_threads_end() -> None:
    def fail_at_three(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    stream = prepared_ahead(range(10), fail_at_three, threads=2, ahead=4)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(stream)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prepare")]


@given(st.lists(st.integers(1, 3), max_size=30), st.integers(1, 4))
def test_every_photo_is_in_one_batch_with_photos_of_its_size(widths: list[int], batch_size: int) -> None:
    photos = [(position, [torch.full((3, 2, width), position % 256)]) for position, width in enumerate(widths)]
    batches = list(batches_of_one_size(photos, batch_size))
    assert sorted(position for batch in batches for position in batch.positions) == list(range(len(widths)))
    for batch in batches:
        assert len(batch.positions) <= batch_size
        assert batch.views[0].shape[3] in {widths[position] for position in batch.positions}
        assert [int(view[0, 0, 0]) for view in batch.views[0]] == [position % 256 for position in batch.positions]
    partial = [batch for batch in batches if len(batch.positions) < batch_size]
    assert len(partial) == len({batch.views[0].shape for batch in partial})
