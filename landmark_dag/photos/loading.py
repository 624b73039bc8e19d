"""Loading photos for a network: prepared ahead in threads, in batches of one size."""

import collections
import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")

Views = Sequence[torch.Tensor]
"""One photo as uint8 tensors (3, h, w), one for each scale."""


@dataclass(frozen=True)
class Batch:
    """Photos of one size: their positions, and a uint8 tensor (b, 3, h, w) for each scale."""

    positions: list[int]
    views: list[torch.Tensor]


def default_threads() -> int:
    """Return the default number of threads that prepare photos: one for each core this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with `count` threads inside the block, also in threads started there."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def prepared_ahead(
    items: Iterable[Item],
    prepare: Callable[[Item], Prepared],
    *,
    threads: int,
    ahead: int,
) -> Iterator[Prepared]:
    """Yield `prepare(item)` of every item, in order, while threads work on the next `ahead` items.

    An exception of `prepare` is raised here, at the turn of its item.
    """
    source = iter(items)
    with ThreadPoolExecutor(threads, thread_name_prefix="prepare") as pool:
        waiting: collections.deque[Future[Prepared]] = collections.deque(
            pool.submit(prepare, item) for item in itertools.islice(source, max(1, ahead))
        )
        try:
            while waiting:
                result = waiting.popleft().result()
                for item in itertools.islice(source, 1):
                    waiting.append(pool.submit(prepare, item))
                yield result
        finally:
            for future in waiting:
                future.cancel()


def batches_of_one_size(photos: Iterable[tuple[int, Views]], batch_size: int) -> Iterator[Batch]:
    """Group photos, given as (position, views), into batches whose photos have the same sizes.

    A batch is yielded as soon as it is full; the rest follows at the end in smaller batches. The order depends only
    on the order of `photos`.
    """
    waiting: dict[tuple[torch.Size, ...], list[tuple[int, Views]]] = {}
    for position, views in photos:
        size = tuple(view.shape for view in views)
        group = waiting.setdefault(size, [])
        group.append((position, views))
        if len(group) == batch_size:
            yield _stacked(waiting.pop(size))
    for group in waiting.values():
        yield _stacked(group)


def batches_ahead(count: int, views_of: Callable[[int], Views], *, batch_size: int, threads: int) -> Iterator[Batch]:
    """Yield the photos at positions 0 to `count` - 1 in batches of one size (see `batches_of_one_size`).

    `views_of` returns the views of the photo at a position; `threads` threads call it for up to two batches ahead.
    """

    def prepare(position: int) -> tuple[int, Views]:
        return position, views_of(position)

    return batches_of_one_size(prepared_ahead(range(count), prepare, threads=threads, ahead=2 * batch_size), batch_size)


def at_least_two(photos: torch.Tensor) -> torch.Tensor:
    """Return a batch (b, ...) of at least two photos: a single one twice.

    A matrix product rounds a single row differently from several. With at least two rows, a photo's features on a
    CPU are the same bits in every batch.
    """
    return photos if len(photos) > 1 else photos.repeat(2, 1, 1, 1)


def _stacked(group: list[tuple[int, Views]]) -> Batch:
    views = [torch.stack(scale) for scale in zip(*(views for _, views in group), strict=True)]
    return Batch([position for position, _ in group], views)
