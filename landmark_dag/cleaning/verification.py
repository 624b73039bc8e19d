"""Geometric verification of pairs of photos: mutual nearest descriptors, then a robust affine map."""

import numba
import numpy as np
from numpy.typing import NDArray

from landmark_dag.cleaning.local_features import FeatureLookup
from landmark_dag.cleaning.settings import VerificationSettings

_SAMPLING_SEED = 20200615
"""Seed of the one table of samples that every pair uses."""


def verify_pairs(
    features: FeatureLookup, pairs: NDArray[np.int32], settings: VerificationSettings, device: str = "cpu"
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the inliers (p,) and the affine map (p, 2, 3) of each of `pairs` (p, 2) of photo positions.

    The map takes pixels of the pair's first photo to the second's; without inliers it is zero.
    """
    samples = _samples(settings.hypotheses)
    inliers = np.zeros(len(pairs), np.int32)
    affine = np.zeros((len(pairs), 2, 3), np.float32)
    for row, (first, second) in enumerate(pairs):
        swapped = features.image_ids[first] > features.image_ids[second]
        a, b = (second, first) if swapped else (first, second)
        source, target = mutual_matches(features.descriptors(a), features.descriptors(b))
        x, y = features.keypoints(a)[source], features.keypoints(b)[target]
        inliers[row] = _fit_affine(x, y, samples, np.float32(settings.residual), affine[row])
        if swapped and inliers[row]:
            affine[row] = inverse_affine(affine[row])
    return inliers, affine


def mutual_matches(
    first: NDArray[np.uint8], second: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of descriptors that are each other's most similar, most similar pair first."""
    if not len(first) or not len(second):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    similarity = first.astype(np.float32) @ second.astype(np.float32).T
    nearest = similarity.argmax(axis=1)
    source = np.flatnonzero(similarity.argmax(axis=0)[nearest] == np.arange(len(first)))
    target = nearest[source]
    order = np.argsort(-similarity[source, target], kind="stable")
    return source[order], target[order]


def inverse_affine(affine: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the inverse of an affine map (2, 3)."""
    linear = np.linalg.inv(affine[:, :2].astype(np.float64))
    return np.concatenate([linear, -linear @ affine[:, 2:]], axis=1).astype(np.float32)


def _samples(hypotheses: int) -> NDArray[np.float32]:
    """Return (hypotheses, 3) numbers in [0, 1), denser near 0, where the most similar matches stand."""
    uniform = np.random.default_rng(_SAMPLING_SEED).random((hypotheses, 3), dtype=np.float32)
    return uniform * uniform


@numba.njit(cache=True, nogil=True)
def _fit_affine(x, y, samples, residual, best):  # type: ignore[no-untyped-def]
    """Put the affine map from `x` (n, 2) to `y` (n, 2) of most inliers into `best`; return their number."""
    most = 0
    count = len(x)
    for sample in samples:
        i, j, k = int(sample[0] * count), int(sample[1] * count), int(sample[2] * count)
        if count < 3 or i in (j, k) or j == k:
            continue
        px, py, qx, qy = x[j, 0] - x[i, 0], x[j, 1] - x[i, 1], x[k, 0] - x[i, 0], x[k, 1] - x[i, 1]
        area = px * qy - py * qx
        if abs(area) < 1:
            continue
        ux, uy, vx, vy = y[j, 0] - y[i, 0], y[j, 1] - y[i, 1], y[k, 0] - y[i, 0], y[k, 1] - y[i, 1]
        a, b = (ux * qy - vx * py) / area, (vx * px - ux * qx) / area
        c, d = (uy * qy - vy * py) / area, (vy * px - uy * qx) / area
        tx, ty = y[i, 0] - (a * x[i, 0] + b * x[i, 1]), y[i, 1] - (c * x[i, 0] + d * x[i, 1])
        inliers = 0
        for m in range(count):
            dx = a * x[m, 0] + b * x[m, 1] + tx - y[m, 0]
            dy = c * x[m, 0] + d * x[m, 1] + ty - y[m, 1]
            inliers += dx * dx + dy * dy <= residual * residual
        if inliers > most:
            most = inliers
            best[0, 0], best[0, 1], best[0, 2] = a, b, tx
            best[1, 0], best[1, 1], best[1, 2] = c, d, ty
    return most
