"""Local features of a shard of photos: RootSIFT, and the Arrow file that holds them."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from landmark_dag.cleaning.settings import LocalFeatureSettings
from landmark_dag.errors import InputError
from landmark_dag.files import replacing
from landmark_dag.photos.reading import read_photo
from landmark_dag.photos.source import PhotoLocation

FORMAT = b"1"
"""Version of the file's layout; a file of another one is refused."""

ROOTSIFT_SCALE = 512
"""A RootSIFT component (0 to 1, seldom above a half) is stored as this many times itself, at most 255."""

_FORMAT_KEY = b"landmark_dag.format"
_VERSION_KEY = b"landmark_dag.version"


class FeatureLookup(Protocol):
    """What verification reads: the local features of the photo at a position."""

    @property
    def image_ids(self) -> Sequence[str]:
        """The photos, in the order of their positions."""

    def keypoints(self, position: int) -> NDArray[np.float32]:
        """Return the photo's keypoints (n, 2): x and y in pixels of the shrunk photo."""

    def descriptors(self, position: int) -> NDArray[np.uint8]:
        """Return the photo's descriptors (n, d), one for each keypoint."""


class LocalFeatures:
    """The local features of some photos, end to end in two arrays (in memory, or memory-mapped).

    Photo i has the rows `offsets[i]` to `offsets[i + 1]` (int64, photos + 1) of `all_keypoints`
    (float32, (n, 2)) and `all_descriptors` (uint8, (n, d)).
    """

    def __init__(
        self,
        image_ids: list[str],
        offsets: NDArray[np.int64],
        all_keypoints: NDArray[np.float32],
        all_descriptors: NDArray[np.uint8],
    ) -> None:
        """Keep the arrays as they are; nothing is copied."""
        self.image_ids = image_ids
        self.offsets = offsets
        self.all_keypoints = all_keypoints
        self.all_descriptors = all_descriptors

    def keypoints(self, position: int) -> NDArray[np.float32]:
        """Return the keypoints (n, 2) of the photo at `position`: x and y in pixels of the shrunk photo."""
        return self.all_keypoints[self.offsets[position] : self.offsets[position + 1]]

    def descriptors(self, position: int) -> NDArray[np.uint8]:
        """Return the descriptors (n, d) of the photo at `position`."""
        return self.all_descriptors[self.offsets[position] : self.offsets[position + 1]]


class JoinedFeatures:
    """The local features of several shards as one lookup; a position counts through them in order."""

    def __init__(self, shards: Sequence[LocalFeatures]) -> None:
        """Join `shards`; nothing is copied."""
        self.image_ids = [image_id for shard in shards for image_id in shard.image_ids]
        self._shards = list(shards)
        self._starts = np.cumsum([0] + [len(shard.image_ids) for shard in shards])

    def keypoints(self, position: int) -> NDArray[np.float32]:
        """Return the keypoints (n, 2) of the photo at `position`."""
        shard, within = self._find(position)
        return shard.keypoints(within)

    def descriptors(self, position: int) -> NDArray[np.uint8]:
        """Return the descriptors (n, d) of the photo at `position`."""
        shard, within = self._find(position)
        return shard.descriptors(within)

    def _find(self, position: int) -> tuple[LocalFeatures, int]:
        number = int(np.searchsorted(self._starts, position, side="right")) - 1
        return self._shards[number], position - int(self._starts[number])


def rootsift(
    photo: NDArray[np.uint8], settings: LocalFeatureSettings
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the strongest keypoints (n, 2) of an RGB photo (h, w, 3) and their RootSIFT (n, 128).

    Keypoints stand by falling contrast (ties: y, x, size, angle), so equal photos give equal bytes.
    RootSIFT (Arandjelovic and Zisserman, CVPR 2012) is the square root of the L1-normalised SIFT: its inner
    product is the Hellinger kernel. Each component is stored as `ROOTSIFT_SCALE` times itself.
    """
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    found, sift = cv2.SIFT.create().detectAndCompute(grey, None)
    if not found:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8)
    frames = np.array([(*point.pt, point.size, point.angle, -point.response) for point in found], np.float32)
    strongest = np.lexsort(frames.T[[3, 2, 0, 1, 4]])[: settings.max_keypoints]
    sift = sift[strongest]
    normalised = sift / np.maximum(sift.sum(axis=1, keepdims=True), 1e-12)
    descriptors = np.minimum(np.rint(ROOTSIFT_SCALE * np.sqrt(normalised)), 255).astype(np.uint8)
    return np.ascontiguousarray(frames[strongest, :2]), descriptors


def extract_shard(manifest_rows: Sequence[PhotoLocation], settings: LocalFeatureSettings) -> LocalFeatures:
    """Return the RootSIFT features of the photos at `manifest_rows`, in that order.

    Photos are taken by as many threads as there are processors, each OpenCV call on its own thread alone.
    A photo without texture has no keypoints. Raises UnreadablePhoto (an InputError) for one that cannot be
    read.
    """

    def extract(location: PhotoLocation) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        photo = read_photo(location.path, location.offset, location.size, long_side=settings.long_side)
        return rootsift(photo, settings)

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            parts = list(pool.map(extract, manifest_rows))
    finally:
        cv2.setNumThreads(threads)
    return _gather([location.image_id for location in manifest_rows], parts)


def _gather(
    image_ids: list[str], parts: Iterable[tuple[NDArray[np.float32], NDArray[np.uint8]]]
) -> LocalFeatures:
    """Put photos' keypoints and descriptors end to end."""
    keypoints = [np.zeros((0, 2), np.float32)] + [part[0] for part in parts]
    descriptors = [np.zeros((0, 128), np.uint8)] + [part[1] for part in parts]
    offsets = np.cumsum([len(part) for part in keypoints], dtype=np.int64)
    return LocalFeatures(image_ids, offsets, np.concatenate(keypoints), np.concatenate(descriptors))


def write_local_features(path: Path, features: LocalFeatures, version: str) -> None:
    """Write `features` to `path`, one row a photo; `version` goes to the file's metadata."""
    offsets = pa.array(features.offsets)
    columns = [
        pa.array(features.image_ids, type=pa.string()),
        pa.LargeListArray.from_arrays(offsets, _rows(features.all_keypoints)),
        pa.LargeListArray.from_arrays(offsets, _rows(features.all_descriptors)),
    ]
    batch = pa.record_batch(
        columns,
        names=["image_id", "keypoints", "descriptors"],
        metadata={_FORMAT_KEY: FORMAT, _VERSION_KEY: version},
    )
    with replacing(path) as temporary, pa.ipc.new_file(str(temporary), batch.schema) as writer:
        writer.write_batch(batch)


def read_local_features(path: Path) -> LocalFeatures:
    """Read a file of `write_local_features`; keypoints and descriptors stay on disk, memory-mapped.

    Raises InputError, naming the file, when it is missing or not of this layout.
    """
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        if (reader.schema.metadata or {}).get(_FORMAT_KEY) != FORMAT or reader.num_record_batches != 1:
            raise InputError(f"{path} is not a file of local features of this version; make it again.")
        batch = reader.get_batch(0)
        return LocalFeatures(
            batch.column("image_id").to_pylist(),
            batch.column("keypoints").offsets.to_numpy(),
            _matrix(batch.column("keypoints")),
            _matrix(batch.column("descriptors")),
        )
    except (OSError, pa.ArrowException, KeyError, AttributeError) as error:
        raise InputError(f"{path} cannot be read as local features: {error}") from error


def _rows(matrix: NDArray) -> pa.FixedSizeListArray:
    """Return the rows of a matrix (n, d) as an Arrow array of lists of d."""
    return pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(matrix).reshape(-1)), matrix.shape[1]
    )


def _matrix(column: pa.LargeListArray) -> NDArray:
    """Return all rows of a column of `_rows`, without copying."""
    rows = column.values
    return rows.values.to_numpy(zero_copy_only=True).reshape(-1, rows.type.list_size)
