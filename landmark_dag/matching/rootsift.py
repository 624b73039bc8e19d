"""RootSIFT: local features that need no weights, taken on the processor."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from landmark_dag.matching.features import PhotoFeatures, no_features
from landmark_dag.photos.loading import default_threads, prepared_ahead
from landmark_dag.photos.reading import read_photo
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.matching import LocalFeatureSettings

_DIMENSIONS = 128

_STORED_SCALE = 256
"""What components of a unit descriptor are multiplied by before they are rounded."""

_CONTRAST_THRESHOLD = 0.02
"""Half of OpenCV's default: the number of keypoints is limited anyway, and flat photos have few."""


def rootsift(photo: NDArray[np.uint8], settings: LocalFeatureSettings) -> PhotoFeatures:
    """Return the strongest keypoints of an RGB photo (h, w, 3), uint8, with their RootSIFT (n, 128).

    Keypoints are in order of falling contrast (ties: y, x, diameter, angle), so equal photos give equal bytes.
    RootSIFT is the square root of the L1-normalised SIFT, a unit vector; the inner product of two is their Hellinger
    kernel. Its components are stored times 256, rounded, 127 at most. Source: Arandjelovic and Zisserman, Three
    things everyone should know to improve object retrieval, CVPR 2012, section 3.
    """
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    found, sift = cv2.SIFT.create(contrastThreshold=_CONTRAST_THRESHOLD).detectAndCompute(grey, None)
    if not found:
        return no_features(_DIMENSIONS)
    frames = np.array([(*point.pt, point.size, point.angle, -point.response) for point in found], np.float32)
    strongest = np.lexsort(frames.T[[3, 2, 0, 1, 4]])[: settings.max_keypoints]
    frames, sift = frames[strongest], sift[strongest]
    normalised = sift / np.maximum(sift.sum(axis=1, keepdims=True), 1e-12)
    descriptors = np.minimum(np.rint(_STORED_SCALE * np.sqrt(normalised)), 127).astype(np.int8)
    angle = np.deg2rad(frames[:, 3])
    orientations = frames[:, 2:3] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return PhotoFeatures(np.ascontiguousarray(frames[:, :2]), orientations, descriptors)


def photos_rootsift(photos: Sequence[PhotoLocation], settings: LocalFeatureSettings) -> list[PhotoFeatures]:
    """Return the RootSIFT of each of `photos`, shrunk to `settings.long_side`.

    One thread for each core takes photos; OpenCV starts no threads of its own. A photo without texture has no
    keypoints. Raises UnreadablePhoto (an InputError) for a photo that cannot be read.
    """

    def extract(location: PhotoLocation) -> PhotoFeatures:
        photo = read_photo(location.path, location.offset, location.size, long_side=settings.long_side)
        return rootsift(photo, settings)

    before, threads = cv2.getNumThreads(), default_threads()
    cv2.setNumThreads(1)
    try:
        return list(prepared_ahead(photos, extract, threads=threads, ahead=2 * threads))
    finally:
        cv2.setNumThreads(before)
