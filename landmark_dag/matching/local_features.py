"""Local features of a shard of photos: RootSIFT, and the Arrow file that holds them."""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.photos.reading import read_photo
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.matching import LocalFeatureSettings
from landmark_dag.storage.atomic import replacing
from landmark_dag.storage.formats import FORMAT_KEY, LOCAL_FEATURES_FORMAT, RECOMPUTE, VERSION_KEY

CHUNK = 1024
"""Photos whose local features are in memory at once while a shard is extracted (up to 150 MB)."""

_ROOTSIFT_SCALE = 256
_CONTRAST_THRESHOLD = 0.02


class FeatureLookup(Protocol):
    """What verification reads: the local features of the photo at a position.

    Descriptors are 8-bit integers: products of them are whole numbers that float32 (and TF32, bfloat16 and
    int8 units) hold exactly, so that matching gives the same result on every device and in every batch.
    """

    @property
    def image_ids(self) -> Sequence[str]:
        """The photos, in the order of their positions."""

    def keypoints(self, position: int) -> NDArray[np.float32]:
        """Return the photo's keypoints (n, 2): x and y in pixels of the shrunk photo."""

    def orientations(self, position: int) -> NDArray[np.float32]:
        """Return a vector (n, 2) for each keypoint: as long as its diameter, along its dominant gradient.

        Zero vectors say that the orientation is not known.
        """

    def descriptors(self, position: int) -> NDArray[np.int8]:
        """Return the photo's descriptors (n, d), each a unit vector times some constant, rounded."""


@dataclass(frozen=True, eq=False)
class PhotoFeatures:
    """The local features of one photo: the three arrays of `FeatureLookup`, row by row."""

    keypoints: NDArray[np.float32]
    orientations: NDArray[np.float32]
    descriptors: NDArray[np.int8]


class LocalFeatures:
    """The local features of some photos, end to end in arrays (in memory, or memory-mapped).

    Photo i has the rows `offsets[i]` to `offsets[i + 1]` (int64, photos + 1) of each array of `rows`.
    """

    def __init__(self, image_ids: list[str], offsets: NDArray[np.int64], rows: PhotoFeatures) -> None:
        """Keep the arrays as they are; nothing is copied."""
        self.image_ids = image_ids
        self.offsets = offsets
        self.rows = rows

    def keypoints(self, position: int) -> NDArray[np.float32]:
        """Return the keypoints (n, 2) of the photo at `position`."""
        return self.rows.keypoints[self.offsets[position] : self.offsets[position + 1]]

    def orientations(self, position: int) -> NDArray[np.float32]:
        """Return the orientation vectors (n, 2) of the photo at `position`."""
        return self.rows.orientations[self.offsets[position] : self.offsets[position + 1]]

    def descriptors(self, position: int) -> NDArray[np.int8]:
        """Return the descriptors (n, d) of the photo at `position`."""
        return self.rows.descriptors[self.offsets[position] : self.offsets[position + 1]]


class JoinedFeatures:
    """Several lookups, chunks of a shard or whole shards, as one; a position counts through them in order."""

    def __init__(self, parts: Sequence[FeatureLookup]) -> None:
        """Join `parts`; nothing is copied."""
        self.image_ids = [image_id for part in parts for image_id in part.image_ids]
        self._parts = list(parts)
        self._starts = np.cumsum([0] + [len(part.image_ids) for part in parts])

    def keypoints(self, position: int) -> NDArray[np.float32]:
        """Return the keypoints (n, 2) of the photo at `position`."""
        part, within = self._find(position)
        return part.keypoints(within)

    def orientations(self, position: int) -> NDArray[np.float32]:
        """Return the orientation vectors (n, 2) of the photo at `position`."""
        part, within = self._find(position)
        return part.orientations(within)

    def descriptors(self, position: int) -> NDArray[np.int8]:
        """Return the descriptors (n, d) of the photo at `position`."""
        part, within = self._find(position)
        return part.descriptors(within)

    def _find(self, position: int) -> tuple[FeatureLookup, int]:
        number = int(np.searchsorted(self._starts, position, side="right")) - 1
        return self._parts[number], position - int(self._starts[number])


def rootsift(photo: NDArray[np.uint8], settings: LocalFeatureSettings) -> PhotoFeatures:
    """Return the strongest keypoints of an RGB photo (h, w, 3), uint8, with their RootSIFT (n, 128).

    Keypoints stand by falling contrast (ties: y, x, diameter, angle), so equal photos give equal bytes. The
    contrast threshold is half of OpenCV's default, for the number is bounded anyway and flat photos have
    few. RootSIFT (Arandjelovic and Zisserman, CVPR 2012) is the square root of the L1-normalised SIFT, a
    unit vector whose inner product is the Hellinger kernel; stored are 256 times its components, 127 at most.
    """
    import cv2

    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    found, sift = cv2.SIFT.create(contrastThreshold=_CONTRAST_THRESHOLD).detectAndCompute(grey, None)
    if not found:
        return _no_features()
    frames = np.array([(*point.pt, point.size, point.angle, -point.response) for point in found], np.float32)
    strongest = np.lexsort(frames.T[[3, 2, 0, 1, 4]])[: settings.max_keypoints]
    frames, sift = frames[strongest], sift[strongest]
    normalised = sift / np.maximum(sift.sum(axis=1, keepdims=True), 1e-12)
    descriptors = np.minimum(np.rint(_ROOTSIFT_SCALE * np.sqrt(normalised)), 127).astype(np.int8)
    angle = np.deg2rad(frames[:, 3])
    orientations = frames[:, 2:3] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return PhotoFeatures(np.ascontiguousarray(frames[:, :2]), orientations, descriptors)


def extract_shard(manifest_rows: Sequence[PhotoLocation], settings: LocalFeatureSettings) -> Iterator[LocalFeatures]:
    """Yield the RootSIFT features of the photos at `manifest_rows`, in that order, `CHUNK` photos at a time.

    Photos are taken by as many threads as there are processors, each OpenCV call on its own thread alone.
    A photo without texture has no keypoints. Raises UnreadablePhoto (an InputError) for one that cannot be
    read.
    """
    import cv2

    def extract(location: PhotoLocation) -> PhotoFeatures:
        photo = read_photo(location.path, location.offset, location.size, long_side=settings.long_side)
        return rootsift(photo, settings)

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(manifest_rows), CHUNK):
                chunk = manifest_rows[start : start + CHUNK]
                yield gather([location.image_id for location in chunk], list(pool.map(extract, chunk)))
    finally:
        cv2.setNumThreads(threads)


def gather(image_ids: list[str], photos: Sequence[PhotoFeatures]) -> LocalFeatures:
    """Put the local features of photos end to end; `photos` stand in the order of `image_ids`."""
    offsets = np.cumsum([0] + [len(photo.keypoints) for photo in photos], dtype=np.int64)
    some = photos or [_no_features()]
    rows = PhotoFeatures(
        np.concatenate([photo.keypoints for photo in some]),
        np.concatenate([photo.orientations for photo in some]),
        np.concatenate([photo.descriptors for photo in some]),
    )
    return LocalFeatures(image_ids, offsets, rows)


def quantised_descriptors(vectors: NDArray[np.floating], image_id: str) -> NDArray[np.int8]:
    """Return float descriptors (n, d) of a photo as 8-bit integers: unit vectors, a component of 2 / sqrt(d) as 64.

    That is two deviations of a random unit vector's component; larger than four are cut. Raises InputError,
    naming the photo, for a descriptor that is not finite or zero.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise InputError(
            f"Photo {image_id} has a descriptor that is not finite or zero; extract its local features again."
        )
    scaled = vectors / norms * (32 * np.sqrt(vectors.shape[1]))
    return np.clip(np.rint(scaled), -127, 127).astype(np.int8)


def _no_features() -> PhotoFeatures:
    none = np.zeros((0, 2), np.float32)
    return PhotoFeatures(none, none, np.zeros((0, 128), np.int8))


def write_local_features(path: Path, chunks: Iterable[LocalFeatures], version: str) -> int:
    """Write `chunks` to `path`, one after the other, one row a photo; return the number of photos.

    Only one chunk is in memory at a time. `version` goes to the file's metadata.
    """
    photos = 0
    batches = (_record_batch(chunk, version) for chunk in chunks)
    first = next(batches, None)
    if first is None:
        first = _record_batch(gather([], []), version)
    with replacing(path) as temporary, pa.ipc.new_file(str(temporary), first.schema) as writer:
        for batch in itertools.chain([first], batches):
            writer.write_batch(batch)
            photos += batch.num_rows
    return photos


def read_local_features(path: Path) -> JoinedFeatures:
    """Read a file of `write_local_features`; its arrays stay on disk, memory-mapped and read-only.

    Raises InputError, naming the file, when it is missing or not of this layout.
    """
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        if (reader.schema.metadata or {}).get(FORMAT_KEY.encode()) != LOCAL_FEATURES_FORMAT.encode():
            raise InputError(f"{path} is not a file of local features of format {LOCAL_FEATURES_FORMAT}; {RECOMPUTE}.")
        return JoinedFeatures([_chunk(reader.get_batch(number)) for number in range(reader.num_record_batches)])
    except InputError:
        raise
    except (OSError, ValueError, pa.ArrowException, KeyError, AttributeError) as error:
        raise InputError(f"{path} cannot be read as local features: {error}") from error


def _record_batch(features: LocalFeatures, version: str) -> pa.RecordBatch:
    """Return `features` as an Arrow batch, one row a photo."""
    offsets = pa.array(features.offsets)
    matrices = (features.rows.keypoints, features.rows.orientations, features.rows.descriptors)
    columns = [pa.array(features.image_ids, type=pa.string())]
    columns += [pa.LargeListArray.from_arrays(offsets, _lists(matrix)) for matrix in matrices]
    return pa.record_batch(
        columns,
        names=["image_id", "keypoints", "orientations", "descriptors"],
        metadata={FORMAT_KEY: LOCAL_FEATURES_FORMAT, VERSION_KEY: version},
    )


def _chunk(batch: pa.RecordBatch) -> LocalFeatures:
    """Return the local features of a batch of `_record_batch`, without copying."""
    batch.validate(full=True)  # what points outside a damaged file would end the process, not raise
    rows = PhotoFeatures(
        _matrix(batch.column("keypoints")),
        _matrix(batch.column("orientations")),
        _matrix(batch.column("descriptors")),
    )
    return LocalFeatures(batch.column("image_id").to_pylist(), batch.column("keypoints").offsets.to_numpy(), rows)


def _lists(matrix: NDArray) -> pa.FixedSizeListArray:
    """Return the rows of a matrix (n, d) as an Arrow array of lists of d."""
    values = pa.array(np.ascontiguousarray(matrix).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, matrix.shape[1])


def _matrix(column: pa.LargeListArray) -> NDArray:
    """Return all rows of a column of `_lists`, without copying."""
    rows = column.values
    return rows.values.to_numpy(zero_copy_only=True).reshape(-1, rows.type.list_size)
