"""Embedding photos: several scales, raw features averaged, unit length, float16."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.photos.loading import Views
from landmark_dag.photos.resizing import decoded, photo_sizes, resized, scaled, size_for
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.retrieval import EmbeddingSettings
from landmark_dag.storage.embeddings import Embeddings
from landmark_dag.training.inference import features_of

if TYPE_CHECKING:  # its module imports timm
    from landmark_dag.training.artifact import Model


def embed_photos(
    locations: Sequence[PhotoLocation],
    model: "Model",
    settings: EmbeddingSettings,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
) -> Embeddings:
    """Embed photos, in the order given; move the model's network to `device`.

    Each photo is resized to the size of its aspect ratio at every scale, the raw features are averaged over
    scales, then divided by their length (paper, section 4.1). A photo's embedding does not depend on the
    batch size, on its neighbours in a batch, or on `threads` (those that decode; one for each core unless
    given). `progress` receives the number of photos done and of all.

    Raises InputError, naming the photo, when one cannot be read or its features are zero or not finite.
    """
    network = model.network.to(device).eval()
    sizes = photo_sizes(settings.square_size, settings.long_side)
    # With a shorter side of this length, the longer side of any photo is long enough for the photo's size.
    smallest_decoded = round(max(map(min, sizes)) * max(settings.scales))

    def views_of(position: int) -> Views:
        photo = decoded(locations[position], smallest_decoded)
        size = size_for(photo, sizes)
        return [
            resized(photo, scaled(size, scale, settings.smallest_side, network.size_multiple))
            for scale in settings.scales
        ]

    features = features_of(
        len(locations),
        views_of,
        torch.compile(network) if settings.compile else network,
        batch_size=settings.batch_size,
        device=torch.device(device),
        threads=threads,
        progress=progress,
    )
    image_ids = [location.image_id for location in locations]
    vectors = _unit(features.reshape(len(image_ids), network.dimensions), image_ids)
    return Embeddings(image_ids, vectors, model.fingerprint)


def embed_by_ensemble(
    locations: Sequence[PhotoLocation],
    models: "Sequence[Model]",
    weights: Sequence[float],
    settings: EmbeddingSettings,
    device: str = "cpu",
) -> Embeddings:
    """Embed photos by several models: join the unit embeddings, each times its weight, and divide by the length.

    `models` and `weights` (above 0) are in the order of their numbers. The embeddings' model names every member's
    fingerprint and weight; with one model it is that model's own. Raises what `embed_photos` raises.
    """
    members = [embed_photos(locations, model, settings, device) for model in models]
    if len(members) == 1:
        return members[0]
    joined = np.hstack([weight * one.vectors.astype(np.float32) for weight, one in zip(weights, members, strict=True)])
    names = [f"{weight:g} x {one.model}" for weight, one in zip(weights, members, strict=True)]
    return Embeddings(members[0].image_ids, _unit(joined, members[0].image_ids), " + ".join(names))


def _unit(features: NDArray[np.float32], image_ids: Sequence[str]) -> NDArray[np.float16]:
    """Divide each row by its length; raise InputError for the first photo whose length is 0 or not finite."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(bad):
        raise InputError(
            f"The features of photo {image_ids[bad[0]]} are zero or not finite; look at the photo and "
            "train the model with lower learning rates."
        )
    return (features / lengths).astype(np.float16)
