"""Keeping the network fed: photos prepared ahead in threads, and batches of one size."""

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
    """Photos of one size: their positions, and for each scale a uint8 tensor (b, 3, h, w)."""

    positions: list[int]
    views: list[torch.Tensor]


def default_threads() -> int:
    """Return how many threads prepare photos when nothing else is said: one for each usable core."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with `count` threads, here and in threads started inside; the former number returns."""
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
    """Yield `prepare(item)` of every item, in order, while threads work on up to `ahead` items to come.

    Whatever `prepare` raises is raised here, when its turn comes.
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

    A batch is given out once it is full; what remains at the end follows in smaller batches. The order
    depends on nothing but the order of `photos`.
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


def never_alone(photos: torch.Tensor) -> torch.Tensor:
    """Return a batch of at least two photos.

    Products of a single row are rounded otherwise than those of more; a photo alone in its batch goes twice, so
    that on a CPU its features are the same bits in any company.
    """
    return photos if len(photos) > 1 else photos.repeat(2, 1, 1, 1)


def _stacked(group: list[tuple[int, Views]]) -> Batch:
    views = [torch.stack(scale) for scale in zip(*(views for _, views in group), strict=True)]
    return Batch([position for position, _ in group], views)
