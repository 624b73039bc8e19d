"""Data loading: the photos of a training, decoded, resized and augmented ahead of the steps that use them."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from landmark_dag.photos.loading import Views, default_threads, prepared_ahead
from landmark_dag.photos.resizing import decoded, photo_sizes, resized
from landmark_dag.settings.training import AUGMENTATIONS, TrainingSettings
from landmark_dag.training.augmentation import augmented
from landmark_dag.training.batches import BatchPlan, PlannedBatch, aspect_buckets
from landmark_dag.training.distributed import Ranks
from landmark_dag.training.labelled_photos import LabelledPhotos
from landmark_dag.training.seeds import AUGMENTATION, generator

MOST_NAMED = 5
"""How many files an error names at most."""


class PhotoLoader:
    """Loads the photos of a training; `buckets` (n,) holds the aspect bucket of each."""

    def __init__(self, photos: LabelledPhotos, settings: TrainingSettings) -> None:
        self.buckets = aspect_buckets(photos.sizes)
        self._photos = photos.locations
        self._settings = settings
        self._sizes = photo_sizes(settings.square_size, settings.long_side)
        self._final_sizes = photo_sizes(settings.final_square_size, settings.final_long_side)

    def plain(self, position: int) -> Views:
        """Return a photo as it is embedded at scale 1."""
        return [resized(self._decoded(position, self._sizes), self._sizes[self.buckets[position]])]

    def augmented(self, epoch: int, position: int) -> Views:
        """Return a photo as it is seen in one epoch, or as one of its augmented views."""
        settings = self._settings
        sizes = self._sizes if epoch < settings.epochs or not settings.final_epochs else self._final_sizes
        photo = self._decoded(position, sizes)
        random = generator(settings.seed, AUGMENTATION, epoch, position)
        return [augmented(photo, sizes[self.buckets[position]], AUGMENTATIONS[settings.augmentation], random)]

    def batches(
        self, plan: BatchPlan, start: int, ranks: Ranks, threads: int, *, pin: bool
    ) -> Iterator[tuple[PlannedBatch, torch.Tensor]]:
        """Yield the batches of `plan` from step `start` on, with this process's slice of each, decoded ahead.

        A slice is a uint8 tensor (b, 3, h, w), in pinned memory if `pin`.
        """

        def prepare(batch: PlannedBatch) -> tuple[PlannedBatch, torch.Tensor]:
            own = ranks.slice_of(batch.positions)
            read = own if len(own) else batch.positions[:1]  # an empty slice has the shape of the batch's photos, too
            photos = torch.stack([self.augmented(batch.epoch, int(position))[0] for position in read])[: len(own)]
            return batch, photos.pin_memory() if pin else photos

        return prepared_ahead(plan.from_step(start), prepare, threads=threads, ahead=threads + 1)

    def files_of(self, positions: NDArray[np.int64]) -> str:
        """Return the names of the files, such as TARs, that hold the photos at `positions`."""
        files = sorted({self._photos[position].path for position in positions})
        more = f" and {len(files) - MOST_NAMED} more files" if len(files) > MOST_NAMED else ""
        return ", ".join(files[:MOST_NAMED]) + more

    def _decoded(self, position: int, sizes: Sequence[tuple[int, int]]) -> NDArray[np.uint8]:
        return decoded(self._photos[position], max(map(max, sizes)))


def loading_threads(device: torch.device, ranks: Ranks) -> tuple[int, int]:
    """Return how many threads decode photos, and how many torch computes with, in each process of this host.

    On a CPU the network takes most of the time: torch uses every core, and decoding a quarter as many threads.
    """
    cores = max(1, default_threads() // ranks.on_host)
    return (cores, torch.get_num_threads()) if device.type != "cpu" else (max(1, cores // 4), cores)
