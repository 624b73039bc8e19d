"""The photos of a training, with their sizes and classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.photos.source import PhotoLocation


@dataclass(frozen=True, eq=False)
class LabelledPhotos:
    """Photos to train on: where they are, width and height upright int32 (n, 2), and classes int64 (n,) from 0."""

    locations: Sequence[PhotoLocation]
    sizes: NDArray[np.int32]
    class_ids: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Raise InputError unless each photo has a size and a class, and `check_classes` accepts the classes."""
        if not len(self.locations) == len(self.sizes) == len(self.class_ids):
            raise InputError(
                f"There are {len(self.locations)} photos, {len(self.sizes)} sizes and {len(self.class_ids)} class "
                "ids; give one of each for every photo."
            )
        check_classes(self.class_ids)


def check_classes(class_ids: NDArray[np.int64]) -> None:
    """Raise InputError unless class ids number at least two landmarks from 0, without gaps."""
    found = np.unique(class_ids)
    if len(found) < 2:
        raise InputError(
            f"The photos to train on show {len(found)} landmarks; training needs at least 2. "
            "Loosen the keep rule or add photos."
        )
    if found[0] != 0 or found[-1] != len(found) - 1:
        raise InputError(f"Class ids must be 0 to {len(found) - 1} without gaps; found up to {found[-1]}.")
