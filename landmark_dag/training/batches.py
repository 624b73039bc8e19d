"""The plan of batches: which photos each step of a training uses, decided before any photo is read."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.photos.resizing import aspect_bucket
from landmark_dag.training.seeds import ORDER, generator


@dataclass(frozen=True, eq=False)
class PlannedBatch:
    """A batch of photos of one aspect bucket.

    `step` (from 0) is the optimizer step that the batch belongs to, `epoch` counts from 0, `positions` int64 (b,) are
    its photos. `share` is the batch's share of the photos of its step; `ends_step` is true of a step's last batch.
    """

    step: int
    epoch: int
    bucket: int
    positions: NDArray[np.int64]
    share: float
    ends_step: bool


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """Every batch of a training: each photo once in each epoch, in another order in every epoch.

    `buckets` int64 (photos,) holds each photo's bucket. A step is `accumulation` batches, fewer at the end of an epoch.
    """

    buckets: NDArray[np.int64]
    epochs: int
    batch_size: int
    accumulation: int
    seed: int

    def __post_init__(self) -> None:
        """Raise InputError for fewer than two photos in a batch: batch norm has no statistics of a single photo."""
        if self.batch_size < 2 or len(self.buckets) < 2:
            raise InputError("Training needs at least 2 photos, and a batch_size of at least 2.")
        if self.accumulation < 1:
            raise InputError(f"accumulation is {self.accumulation}; a step needs at least 1 batch.")

    @functools.cached_property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        counts = np.bincount(self.buckets)
        batches = sum(len(_cuts(int(count), self.batch_size)) for count in counts)
        return -(-batches // self.accumulation)

    @property
    def steps(self) -> int:
        """Optimizer steps in the whole training."""
        return self.epochs * self.steps_per_epoch

    def from_step(self, start: int) -> Iterator[PlannedBatch]:
        """Yield the batches from step `start` on; earlier epochs are not planned."""
        for epoch in range(start // self.steps_per_epoch, self.epochs):
            yield from (batch for batch in self._epoch(epoch) if batch.step >= start)

    def _epoch(self, epoch: int) -> Iterator[PlannedBatch]:
        """Yield the batches of an epoch in random order; each bucket's photos are in random order, too."""
        random = generator(self.seed, ORDER, epoch)
        order = random.permutation(len(self.buckets))
        batches: list[tuple[int, NDArray[np.int64]]] = []
        for bucket in np.unique(self.buckets):
            photos = order[self.buckets[order] == bucket]
            batches += [(int(bucket), part) for part in np.split(photos, _cuts(len(photos), self.batch_size)[1:])]
        batches = [batches[place] for place in random.permutation(len(batches))]
        for step, first in enumerate(range(0, len(batches), self.accumulation), epoch * self.steps_per_epoch):
            together = batches[first : first + self.accumulation]
            photos = sum(len(positions) for _, positions in together)
            for number, (bucket, positions) in enumerate(together, start=1):
                share = len(positions) / photos
                yield PlannedBatch(step, epoch, bucket, positions, share, number == len(together))


def aspect_buckets(sizes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the bucket (n,), 0 (narrowest) to 4 (widest), of photos of `sizes` (n, 2): width and height, upright.

    A photo that would be alone in its bucket gets the nearest bucket with photos (ties: the narrower one), because
    batch norm has no statistics of a single photo.
    """
    width, height = np.asarray(sizes, np.float64).reshape(-1, 2).T
    buckets = aspect_bucket(width, height)
    for alone in np.flatnonzero(np.bincount(buckets) == 1):
        others = np.setdiff1d(buckets, alone)
        if others.size and (buckets == alone).sum() == 1:
            buckets[buckets == alone] = others[np.argmin(np.abs(others - alone))]
    return buckets


def _cuts(photos: int, batch_size: int) -> list[int]:
    """Return where batches start among `photos` photos; a single photo left over joins the batch before it."""
    cuts = list(range(0, photos, batch_size))
    return cuts[:-1] if len(cuts) > 1 and photos % batch_size == 1 else cuts
