"""Running a network over photos: decoded ahead in threads, in batches of one size, averaged over views."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from landmark_dag.photos.loading import (
    Batch,
    Views,
    at_least_two,
    batches_ahead,
    default_threads,
    prepared_ahead,
    torch_threads,
)


def features_of(
    count: int,
    views_of: Callable[[int], Views],
    network: Callable[[torch.Tensor], torch.Tensor],
    *,
    batch_size: int,
    device: torch.device,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Return features float32 (count, d), each the mean of `network` over the photo's views.

    `views_of` takes a position from 0 to count - 1 and returns the photo's uint8 tensors. `threads` threads (by
    default one for each core) call it, up to two batches ahead of the network. `network` maps (b, 3, h, w) to (b, d).
    `progress` is called with the number of photos done, and `count`.
    """
    threads = threads or default_threads()
    features: NDArray[np.float32] | None = None
    done = 0

    def computed(batch: Batch) -> tuple[list[int], NDArray[np.float32]]:
        with torch.inference_mode():
            scales = [network(at_least_two(views).to(device, non_blocking=True)) for views in batch.views]
            rows = torch.stack(scales).mean(dim=0).float().cpu().numpy()
            return batch.positions, rows[: len(batch.positions)]

    batches = batches_ahead(count, views_of, batch_size=batch_size, threads=threads)
    for positions, rows in _each_batch(batches, computed, device, threads):
        if features is None:
            features = np.empty((count, rows.shape[1]), np.float32)
        features[positions] = rows
        done += len(positions)
        if progress:
            progress(done, count)
    return features if features is not None else np.empty((0, 0), np.float32)


def _each_batch(
    batches: Iterator[Batch],
    computed: Callable[[Batch], tuple[list[int], NDArray[np.float32]]],
    device: torch.device,
    threads: int,
) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
    """Yield the result of every batch, in order.

    On a CPU each core computes its own batch in one thread. Small layers gain little from several threads, which wait
    for each other at the end of every layer, and lose much when another process uses one of the cores.
    """
    if device.type != "cpu":
        yield from map(computed, batches)
        return
    with torch_threads(1):
        yield from prepared_ahead(batches, computed, threads=threads, ahead=threads)
