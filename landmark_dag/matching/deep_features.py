"""Deep local features: descriptors read from the backbone's intermediate map, at several scales.

Keypoints are the positions of the map whose features are strongest, in place of learned attention (Tolias et al.,
Learning and aggregating deep local descriptors for instance-level recognition, ECCV 2020, section 3.2: attention is
the L2 norm of the feature). The map is the deepest one of at most 16 pixels a position: conv4_x of a ResNet, as in
DELF, and the last block of a plain transformer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from landmark_dag.errors import InputError
from landmark_dag.matching.descriptor_whitening import DescriptorWhitening, fit_descriptor_whitening
from landmark_dag.matching.features import PhotoFeatures, quantised_descriptors
from landmark_dag.photos.loading import Batch, Views, at_least_two, batches_ahead, default_threads
from landmark_dag.photos.resizing import decoded, resized
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.matching import LocalFeatureSettings
from landmark_dag.storage.hashing import fingerprint

_COARSEST = 16
"""Largest number of pixels between two positions of the map."""

_SIDE_STEP = 32
"""Sides of resized photos are multiples of this, so that photos of similar shape share a batch."""


class MapNetwork(Protocol):
    """The part of a network that deep local features use; training.network.EmbeddingNetwork has it."""

    def to(self, device: torch.device) -> Self:
        """Move the network to `device`."""

    def eval(self) -> Self:
        """Put the network in evaluation mode."""

    def map_level(self, coarsest: int) -> int:
        """Return the number of the deepest map of at most `coarsest` pixels a position; raises InputError for none."""

    def intermediate_map(self, photos: torch.Tensor, level: int) -> torch.Tensor:
        """Return the map `level` (b, c, h, w), float32, of photos (b, 3, height, width), RGB from 0 to 255."""


def fit_whitening(
    photos: Sequence[PhotoLocation], network: MapNetwork, settings: LocalFeatureSettings, device: str = "cpu"
) -> DescriptorWhitening:
    """Return the whitening of the strongest descriptors of `settings.sampled_photos` of `photos`.

    The sample are the photos whose ids have the smallest BLAKE2b hashes, so it depends neither on order nor on shards.
    Raises UnreadablePhoto for a photo that cannot be read, and what `fit_descriptor_whitening` raises.
    """
    sample = sorted(photos, key=lambda photo: fingerprint(photo.image_id.encode(), size=64))
    sample = sample[: settings.sampled_photos]
    maps = _Maps(network, settings, torch.device(device))
    blocks = (found.descriptors.flatten(0, 1).cpu().numpy() for _, found in maps.strongest(sample))
    return fit_descriptor_whitening(blocks, settings.dimensions)


def photos_deep_features(
    photos: Sequence[PhotoLocation],
    network: MapNetwork,
    whitening: DescriptorWhitening,
    settings: LocalFeatureSettings,
    device: str = "cpu",
) -> list[PhotoFeatures]:
    """Return the deep local features of each of `photos`.

    Keypoints are in order of falling norm of the feature (ties: the smaller scale, then row by row). Their places are
    pixels of the photo shrunk to `settings.long_side`; their orientations are unknown (zero). Descriptors are
    whitened, of length 1, and rounded by `quantised_descriptors`. Raises UnreadablePhoto for a photo that cannot be
    read, and InputError, naming the photo, where the network's features are not finite.
    """
    maps = _Maps(network, settings, torch.device(device))
    features: dict[int, PhotoFeatures] = {}
    for positions, found in maps.strongest(photos):
        whitened = _whitened(found.descriptors, whitening).cpu().numpy()
        places, strong = found.places.cpu().numpy(), (found.norms > 0).cpu().numpy()
        for row, position in enumerate(positions):
            kept = strong[row]
            features[position] = PhotoFeatures(
                places[row, kept] * maps.extent(position) - np.float32(0.5),
                np.zeros((int(kept.sum()), 2), np.float32),
                quantised_descriptors(whitened[row, kept], photos[position].image_id),
            )
    return [features[position] for position in range(len(photos))]


@dataclass(frozen=True)
class _Strongest:
    """The strongest k positions of b photos.

    `norms` (b, k); `places` (b, k, 2) as shares of width and height; `descriptors` (b, k, c) of length 1.
    """

    norms: torch.Tensor
    places: torch.Tensor
    descriptors: torch.Tensor


class _Maps:
    """The network's intermediate maps of photos."""

    def __init__(self, network: MapNetwork, settings: LocalFeatureSettings, device: torch.device) -> None:
        self._network = network.to(device).eval()
        self._settings = settings
        self._device = device
        self._level = network.map_level(_COARSEST)
        self._extents: dict[int, NDArray[np.float32]] = {}

    def extent(self, position: int) -> NDArray[np.float32]:
        """Return width and height (2,), shrunk to long_side, of the photo last read at `position`."""
        return self._extents[position]

    def strongest(self, photos: Sequence[PhotoLocation]) -> Iterator[tuple[list[int], _Strongest]]:
        """Yield positions in `photos` and their strongest features, a batch of one shape at a time."""
        batches = batches_ahead(
            len(photos),
            lambda position: self._views(position, photos[position]),
            batch_size=self._settings.batch_size,
            threads=default_threads(),
        )
        for batch in batches:
            with torch.inference_mode():
                found = self._of_batch(batch)
            finite = found.norms.isfinite().all(dim=1).cpu().numpy()
            if not finite.all():
                photo = photos[batch.positions[int(np.argmin(finite))]]
                raise InputError(
                    f"Photo {photo.image_id} has local features that are not finite; look at the backbone's weights."
                )
            yield batch.positions, found

    def _views(self, position: int, location: PhotoLocation) -> Views:
        """Return the photo at every scale, each resized from its own bytes."""
        long_side, scales = self._settings.long_side, self._settings.scales
        photo = decoded(location, round(long_side * max(scales)))
        height, width = photo.shape[:2]
        shrunk = min(1.0, long_side / max(height, width))
        self._extents[position] = np.array([width * shrunk, height * shrunk], np.float32)
        sides = [(width * shrunk * scale, height * shrunk * scale) for scale in scales]
        return [resized(photo, (_rounded(across), _rounded(down))) for across, down in sides]

    def _of_batch(self, batch: Batch) -> _Strongest:
        """Return the strongest features of the batch's photos over all scales."""
        maps = [
            self._network.intermediate_map(at_least_two(views).to(self._device), self._level)[: len(batch.positions)]
            for views in batch.views
        ]
        features = torch.cat([scale.flatten(2).transpose(1, 2) for scale in maps], dim=1)
        places = torch.cat([_places(scale.shape[2], scale.shape[3], self._device) for scale in maps])
        norms = features.norm(dim=2)
        best = norms.argsort(dim=1, descending=True, stable=True)[:, : self._settings.max_keypoints]
        chosen = features.gather(1, best[:, :, None].expand(-1, -1, features.shape[2]))
        return _Strongest(norms.gather(1, best), places[best], functional.normalize(chosen, dim=2))


def _rounded(side: float) -> int:
    return max(_SIDE_STEP, round(side / _SIDE_STEP) * _SIDE_STEP)


def _places(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Return the centres (height x width, 2) of a map's positions, row by row, as shares of width and height."""
    y = (torch.arange(height, device=device) + 0.5) / height
    x = (torch.arange(width, device=device) + 0.5) / width
    return torch.stack([x.repeat(height), y.repeat_interleave(width)], dim=1)


def _whitened(descriptors: torch.Tensor, whitening: DescriptorWhitening) -> torch.Tensor:
    """Return whitened descriptors (b, k, d) of unit descriptors (b, k, c)."""
    mean, weight = (torch.tensor(values, device=descriptors.device) for values in (whitening.mean, whitening.weight))
    return (descriptors - mean) @ weight.T
