"""The kinds of local features by name, and their extraction; importing it loads nothing heavy.

A new kind is a module that extracts it, and an entry in KINDS.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from landmark_dag.matching.features import LocalFeatures, PhotoFeatures, gather
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.matching import LocalFeatureSettings

if TYPE_CHECKING:  # these modules import torch
    from landmark_dag.matching.deep_features import MapNetwork
    from landmark_dag.matching.descriptor_whitening import DescriptorWhitening

    FitWhitening = Callable[[Sequence[PhotoLocation], LocalFeatureSettings, "ExtractionInputs"], DescriptorWhitening]

Extractor = Callable[[Sequence[PhotoLocation]], list[PhotoFeatures]]
"""Returns the local features of each of some photos, in their order."""


@dataclass(frozen=True)
class ExtractionInputs:
    """What a kind may need besides photos and settings; nothing is loaded before it is called.

    `device` returns a torch device, `network` the backbone, and `whitening` what was fitted to train photos.
    """

    device: Callable[[], str]
    network: "Callable[[], MapNetwork]"
    whitening: "Callable[[], DescriptorWhitening]"


@dataclass(frozen=True)
class FeatureKind:
    """One kind of local features.

    `extractor` makes the function that extracts it. `fit_whitening`, for a kind whose descriptors come from the
    network and are whitened, fits the whitening to train photos. `on_accelerator` is true of a kind that computes
    on the accelerator.
    """

    extractor: Callable[[LocalFeatureSettings, ExtractionInputs], Extractor]
    fit_whitening: "FitWhitening | None" = None
    on_accelerator: bool = False


def extract_features(
    photos: Sequence[PhotoLocation], extractor: Extractor, photos_per_chunk: int = 1024
) -> Iterator[LocalFeatures]:
    """Yield the local features of `photos`, in that order, `photos_per_chunk` photos at a time.

    One chunk is in memory at once: up to 150 MB for 1,024 photos. Raises what the extractor raises, such as
    UnreadablePhoto for a photo that cannot be read.
    """
    for start in range(0, len(photos), photos_per_chunk):
        chunk = photos[start : start + photos_per_chunk]
        yield gather([photo.image_id for photo in chunk], extractor(chunk))


def _rootsift(settings: LocalFeatureSettings, inputs: ExtractionInputs) -> Extractor:
    from landmark_dag.matching.rootsift import photos_rootsift

    return lambda photos: photos_rootsift(photos, settings)


def _deep(settings: LocalFeatureSettings, inputs: ExtractionInputs) -> Extractor:
    from landmark_dag.matching.deep_features import photos_deep_features

    whitening, network, device = inputs.whitening(), inputs.network(), inputs.device()
    return lambda photos: photos_deep_features(photos, network, whitening, settings, device)


def _deep_whitening(
    photos: Sequence[PhotoLocation], settings: LocalFeatureSettings, inputs: ExtractionInputs
) -> "DescriptorWhitening":
    from landmark_dag.matching.deep_features import fit_whitening

    return fit_whitening(photos, inputs.network(), settings, inputs.device())


KINDS: Mapping[str, FeatureKind] = {
    "rootsift": FeatureKind(_rootsift),
    "deep": FeatureKind(_deep, _deep_whitening, on_accelerator=True),
}
"""The kinds of local features by the value of LocalFeatureSettings.kind."""
