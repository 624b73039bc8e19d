"""Running a network over photos: decoding ahead in threads, batches of one size, an average over views."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from landmark_dag.training.feeding import Views, batches_of_one_size, default_threads, prepared_ahead


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

    `views_of` takes a position from 0 to count - 1 and returns the photo's uint8 tensors; it is called in
    threads, ahead of the network by at most two batches. `network` maps (b, 3, h, w) to (b, d).
    `progress` is told how many photos are done, and `count`.
    """
    threads = threads or default_threads()
    features: NDArray[np.float32] | None = None
    done = 0

    def prepare(position: int) -> tuple[int, Views]:
        return position, views_of(position)

    photos = prepared_ahead(range(count), prepare, threads=threads, ahead=2 * batch_size)
    with torch.inference_mode():
        for batch in batches_of_one_size(photos, batch_size):
            scales = [network(views.to(device, non_blocking=True)) for views in batch.views]
            mean = torch.stack(scales).mean(dim=0).float().cpu().numpy()
            if features is None:
                features = np.empty((count, mean.shape[1]), np.float32)
            features[batch.positions] = mean
            done += len(batch.positions)
            if progress:
                progress(done, count)
    return features if features is not None else np.empty((0, 0), np.float32)
