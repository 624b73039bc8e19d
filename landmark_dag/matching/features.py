"""Local features in memory: the arrays of one photo, of many photos, and of several sets joined."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from landmark_dag.errors import InputError


@dataclass(frozen=True, eq=False)
class PhotoFeatures:
    """The local features of one photo: n rows in each of three arrays.

    `keypoints` float32 (n, 2) are x and y in pixels of the shrunk photo. `orientations` float32 (n, 2) are vectors
    along each keypoint's dominant gradient, as long as its diameter; zero where the orientation is unknown.
    `descriptors` int8 (n, d) are unit vectors times a constant, rounded. Products of 8-bit integers are whole
    numbers that float32, TF32, bfloat16 and int8 units hold exactly, so matching gives the same result on every
    device and in every batch.
    """

    keypoints: NDArray[np.float32]
    orientations: NDArray[np.float32]
    descriptors: NDArray[np.int8]


class FeatureLookup(Protocol):
    """What verification reads: the local features of the photo at a position."""

    @property
    def image_ids(self) -> Sequence[str]:
        """The photos, in the order of their positions."""

    def photo(self, position: int) -> PhotoFeatures:
        """Return the local features of the photo at `position`."""


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """The local features of some photos, end to end in arrays (in memory, or memory-mapped).

    Photo i has the rows `offsets[i]` to `offsets[i + 1]` (int64, photos + 1) of each array of `rows`.
    """

    image_ids: list[str]
    offsets: NDArray[np.int64]
    rows: PhotoFeatures

    def photo(self, position: int) -> PhotoFeatures:
        """Return the local features of the photo at `position`; nothing is copied."""
        own = slice(self.offsets[position], self.offsets[position + 1])
        return PhotoFeatures(self.rows.keypoints[own], self.rows.orientations[own], self.rows.descriptors[own])


class JoinedFeatures:
    """Several lookups as one: positions count through all of them in order."""

    def __init__(self, parts: Sequence[FeatureLookup]) -> None:
        """Join `parts`; nothing is copied."""
        self.image_ids = [image_id for part in parts for image_id in part.image_ids]
        self._parts = list(parts)
        self._starts = np.cumsum([0] + [len(part.image_ids) for part in parts])

    def photo(self, position: int) -> PhotoFeatures:
        """Return the local features of the photo at `position`."""
        number = int(np.searchsorted(self._starts, position, side="right")) - 1
        return self._parts[number].photo(position - int(self._starts[number]))


def gather(image_ids: list[str], photos: Sequence[PhotoFeatures]) -> LocalFeatures:
    """Put the local features of `photos` end to end, in the order of `image_ids`."""
    offsets = np.cumsum([0] + [len(photo.keypoints) for photo in photos], dtype=np.int64)
    some = photos or [no_features(dimensions=128)]
    rows = PhotoFeatures(
        np.concatenate([photo.keypoints for photo in some]),
        np.concatenate([photo.orientations for photo in some]),
        np.concatenate([photo.descriptors for photo in some]),
    )
    return LocalFeatures(image_ids, offsets, rows)


def no_features(dimensions: int) -> PhotoFeatures:
    """Return the features of a photo without keypoints; its descriptors have `dimensions` numbers."""
    none = np.zeros((0, 2), np.float32)
    return PhotoFeatures(none, none, np.zeros((0, dimensions), np.int8))


def quantised_descriptors(vectors: NDArray[np.floating], image_id: str) -> NDArray[np.int8]:
    """Return float descriptors (n, d) of a photo as 8-bit integers: unit vectors times 32 sqrt(d), rounded.

    A component of 2 / sqrt(d), two standard deviations of a random unit vector's component, becomes 64; components
    beyond four deviations are cut to 127. Raises InputError, naming the photo, for a descriptor that is zero or not
    finite.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise InputError(
            f"Photo {image_id} has a descriptor that is not finite or zero; extract its local features again."
        )
    scaled = vectors / norms * (32 * np.sqrt(vectors.shape[1]))
    return np.clip(np.rint(scaled), -127, 127).astype(np.int8)
