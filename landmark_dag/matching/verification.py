"""Geometric verification of pairs of photos: how many of their matches agree with one affine map.

The processor verifies pairs in one thread for each core, a CUDA device in batches. Both give the same inliers and
maps bit for bit in any order, batch or shard.
"""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.matching.affine import SUBPIXELS, fit_affine, inverse_affine, mark_inliers, sampling_table
from landmark_dag.matching.affine_batched import Matches, fit_affine_batched
from landmark_dag.matching.features import FeatureLookup
from landmark_dag.matching.mutual_matches import (
    SimilarityBuffer,
    first_at_its_place,
    first_at_its_place_batched,
    mutual_matches,
    mutual_matches_batched,
)
from landmark_dag.settings.matching import VerificationSettings

_BATCHES_PER_GROUP = 16
"""Batches whose photos are read, and moved to the device, together."""

_TentativeMatches = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Places in photos a and b and orientations in both, (k, 2) each, of the matches of a pair, best first."""


@dataclass(frozen=True)
class _Photo:
    """The checked local features of a photo: places in 1/16 pixel and orientations, both float32 (n, 2)."""

    places: NDArray[np.float32]
    orientations: NDArray[np.float32]
    descriptors: NDArray[np.int8]


def verify_pairs(
    features: FeatureLookup,
    pairs: NDArray[np.int32],
    settings: VerificationSettings,
    device: str = "cpu",
    in_batches: bool | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the inliers (p,) int32 and the affine map (p, 2, 3) float32 of each of `pairs` (p, 2).

    `pairs` holds positions in `features`. A map takes pixels of the pair's first photo to pixels of the second; it is
    zero where there are no inliers. (a, b) has the inliers of (b, a) and the inverse map, because photos are always
    matched from the smaller image id to the larger. `device` is a torch device. `in_batches` chooses the
    implementation: batches computed on `device`, or one thread for each core of the processor. By default CUDA devices
    compute in batches, and all others leave the work to the processor.

    Raises InputError for a pair of a photo with itself or outside `features`, for features that are not finite, and
    for descriptors that are not 8-bit integers.
    """
    checked = _checked(features, pairs)
    inliers, affine = np.zeros(len(checked), np.int32), np.zeros((len(checked), 2, 3), np.float32)
    swapped = np.array([features.image_ids[a] > features.image_ids[b] for a, b in checked], bool)
    directed = np.where(swapped[:, None], checked[:, ::-1], checked)
    on_device = torch.device(device)
    if in_batches is None:
        in_batches = on_device.type == "cuda"
    verify = _verify_in_batches if in_batches else _verify_on_processor
    for rows in _groups(directed, settings.pairs_per_batch * _BATCHES_PER_GROUP):
        photos = {int(position): _read(features, int(position)) for position in np.unique(directed[rows])}
        _check_alike(features, photos)
        inliers[rows], affine[rows] = verify(photos, directed[rows], settings, on_device)
    affine[:, :, 2] /= SUBPIXELS
    for row in np.flatnonzero(swapped & (inliers > 0)):
        affine[row] = inverse_affine(affine[row])
    return inliers, affine


def inlier_places(
    features: FeatureLookup, pair: tuple[int, int], settings: VerificationSettings
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the places (k, 2) of a pair's inliers in both photos, in pixels, and the affine map (2, 3).

    They are the inliers that `verify_pairs` counts.
    """
    first, second = pair
    if features.image_ids[first] > features.image_ids[second]:
        places_second, places_first, _ = inlier_places(features, (second, first), settings)
    else:
        photos = _read(features, first), _read(features, second)
        matches = _tentative_matches(*photos, SimilarityBuffer())
        best, inlier = np.zeros(6, np.float32), np.zeros(len(matches[0]), np.bool_)
        limit = _squared_residual(settings)
        if fit_affine(*matches, sampling_table(settings.hypotheses), limit, best):
            mark_inliers(*matches, best, limit, inlier)
        places_first, places_second = (places[inlier] / np.float32(SUBPIXELS) for places in matches[:2])
    _, affine = verify_pairs(features, np.array([pair], np.int32), settings)
    return places_first, places_second, affine[0]


def _checked(features: FeatureLookup, pairs: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return `pairs` as (p, 2) int64; raises InputError unless each is a pair of two photos of `features`."""
    positions = np.asarray(pairs, np.int64).reshape(-1, 2)
    outside = ((positions < 0) | (positions >= len(features.image_ids))).any(axis=1)
    if outside.any():
        raise InputError(
            f"Pair {tuple(positions[outside][0].tolist())} names a photo outside the {len(features.image_ids)} "
            "photos with local features; extract the features of all photos first."
        )
    same = positions[:, 0] == positions[:, 1]
    if same.any():
        photo = features.image_ids[int(positions[same][0, 0])]
        raise InputError(f"Photo {photo} is paired with itself; a pair needs two photos.")
    return positions


def _read(features: FeatureLookup, position: int) -> _Photo:
    """Return the features of the photo at `position`; raises InputError, naming it, if they are invalid."""
    image_id, photo = features.image_ids[position], features.photo(position)
    keypoints, orientations, descriptors = photo.keypoints, photo.orientations, photo.descriptors
    if descriptors.dtype != np.int8:
        raise InputError(
            f"The descriptors of photo {image_id} are {descriptors.dtype}, not 8-bit integers; "
            "round them with quantised_descriptors first."
        )
    if not len(keypoints) == len(orientations) == len(descriptors):
        raise InputError(
            f"Photo {image_id} has {len(keypoints)} keypoints, {len(orientations)} orientations and "
            f"{len(descriptors)} descriptors; extract its local features again."
        )
    if not (np.isfinite(keypoints).all() and np.isfinite(orientations).all()):
        raise InputError(f"Photo {image_id} has a keypoint that is not finite; extract its features again.")
    places = np.rint(keypoints * np.float32(SUBPIXELS)).astype(np.float32)
    return _Photo(places, orientations.astype(np.float32), np.array(descriptors))


def _check_alike(features: FeatureLookup, photos: dict[int, _Photo]) -> None:
    """Raise InputError, naming two photos, unless all descriptors have the same dimensions."""
    width = {position: photo.descriptors.shape[1] for position, photo in photos.items()}
    first, *others = sorted(width)
    for other in others:
        if width[other] != width[first]:
            raise InputError(
                f"Photo {features.image_ids[first]} has descriptors of {width[first]} numbers, photo "
                f"{features.image_ids[other]} of {width[other]}; extract all local features with the same settings."
            )


def _groups(pairs: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of `pairs`, at most `size` at once, pairs that share photos next to each other."""
    photos, compact = np.unique(pairs, return_inverse=True)
    compact = compact.reshape(pairs.shape)
    component = _components(compact, len(photos))[compact[:, 0]] if len(pairs) else np.zeros(0, np.int64)
    order = np.lexsort((compact[:, 1], compact[:, 0], component))
    for start in range(0, len(order), size):
        yield order[start : start + size]


@numba.njit(cache=True, nogil=True)
def _components(pairs: NDArray[np.int64], photos: int) -> NDArray[np.int64]:
    """Return for each photo the smallest photo that it is connected with by pairs."""
    smallest = np.arange(photos)
    for a, b in pairs:
        while smallest[a] != a:
            smallest[a] = smallest[smallest[a]]
            a = smallest[a]
        while smallest[b] != b:
            smallest[b] = smallest[smallest[b]]
            b = smallest[b]
        smallest[max(a, b)] = min(a, b)
    for photo in range(photos):
        smallest[photo] = smallest[smallest[photo]]
    return smallest


def _verify_on_processor(
    photos: dict[int, _Photo], pairs: NDArray[np.int64], settings: VerificationSettings, device: torch.device
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the inliers and maps of `pairs` of `photos`, computed by as many threads as torch may use."""
    inliers, maps = np.zeros(len(pairs), np.int32), np.zeros((len(pairs), 6), np.float32)
    table, limit = sampling_table(settings.hypotheses), _squared_residual(settings)

    def verify(start: int) -> None:
        buffer = SimilarityBuffer()
        for row in range(start, min(start + settings.pairs_per_batch, len(pairs))):
            a, b = (photos[position] for position in pairs[row].tolist())
            inliers[row] = fit_affine(*_tentative_matches(a, b, buffer), table, limit, maps[row])

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(verify, range(0, len(pairs), settings.pairs_per_batch)))
    finally:
        torch.set_num_threads(threads)
    return inliers, maps.reshape(-1, 2, 3)


def _tentative_matches(a: _Photo, b: _Photo, buffer: SimilarityBuffer) -> _TentativeMatches:
    """Return the tentative matches of two photos."""
    if not len(a.places) or not len(b.places):
        none = np.zeros((0, 2), np.float32)
        return none, none, none, none
    source, target = mutual_matches(buffer.product(a.descriptors, b.descriptors))
    first = first_at_its_place(a.places[source], b.places[target])
    source, target = source[first], target[first]
    return a.places[source], b.places[target], a.orientations[source], b.orientations[target]


def _squared_residual(settings: VerificationSettings) -> np.float32:
    """Return the largest squared distance of an inlier, in the units of places."""
    return np.float32((settings.residual * SUBPIXELS) ** 2)


def _verify_in_batches(
    photos: dict[int, _Photo], pairs: NDArray[np.int64], settings: VerificationSettings, device: torch.device
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the inliers and maps of `pairs` of `photos`, computed in batches on `device`."""
    padded = _Padded(list(photos.values()), device)
    slots = {position: slot for slot, position in enumerate(photos)}
    slot_pairs = torch.tensor([[slots[a], slots[b]] for a, b in pairs.tolist()], device=device)
    table = torch.tensor(sampling_table(settings.hypotheses), device=device)
    limit = float(_squared_residual(settings))
    results = [
        fit_affine_batched(padded.matches(batch[:, 0], batch[:, 1]), table, limit)
        for batch in slot_pairs.split(settings.pairs_per_batch)
    ]
    inliers = torch.cat([result[0] for result in results]).to(torch.int32).cpu().numpy()
    return inliers, torch.cat([result[1] for result in results]).cpu().numpy().reshape(-1, 2, 3)


class _Padded:
    """The features of a group of photos on the device, each photo padded to the largest."""

    def __init__(self, photos: list[_Photo], device: torch.device) -> None:
        """Move `photos` to `device`."""
        self.counts = torch.tensor([len(photo.places) for photo in photos], device=device)
        self.places = _stack([photo.places for photo in photos]).to(device)
        self.orientations = _stack([photo.orientations for photo in photos]).to(device)
        self.descriptors = _stack([photo.descriptors for photo in photos]).to(device)

    def matches(self, a: torch.Tensor, b: torch.Tensor) -> Matches:
        """Return the mutual matches of the photos at `a` (p,) with those at `b` (p,)."""
        with _tensor_cores():
            rows, columns, real = mutual_matches_batched(
                self.descriptors[a].float(), self.descriptors[b].float(), self.counts[a], self.counts[b]
            )
        first = first_at_its_place_batched(self.places[a[:, None], rows], self.places[b[:, None], columns], real)
        order = (~first).to(torch.int8).argsort(dim=1, stable=True)
        rows, columns = rows.gather(1, order), columns.gather(1, order)
        return Matches(
            self.places[a[:, None], rows],
            self.places[b[:, None], columns],
            self.orientations[a[:, None], rows],
            self.orientations[b[:, None], columns],
            first.sum(dim=1),
        )


def _stack(arrays: list[NDArray]) -> torch.Tensor:
    """Return matrices (n, d) of one width, padded with zeros to the same n of at least 1."""
    rows = max(1, *(len(array) for array in arrays))
    stacked = np.zeros((len(arrays), rows, arrays[0].shape[1]), arrays[0].dtype)
    for slot, array in enumerate(arrays):
        stacked[slot, : len(array)] = array
    return torch.from_numpy(stacked)


@contextlib.contextmanager
def _tensor_cores() -> Iterator[None]:
    """Let float32 products use TF32 inside the block; products of 8-bit integers stay exact."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
