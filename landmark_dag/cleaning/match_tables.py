"""Between the stored tables and the arrays of candidate pairs and of verification."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from landmark_dag.cleaning.candidates import candidate_pairs
from landmark_dag.errors import InputError
from landmark_dag.matching.descriptor_whitening import DescriptorWhitening
from landmark_dag.matching.local_features import FeatureLookup, JoinedFeatures
from landmark_dag.matching.verification import verify_pairs
from landmark_dag.settings.cleaning import CandidateSettings
from landmark_dag.settings.matching import VerificationSettings
from landmark_dag.storage.schemas import DESCRIPTOR_WHITENING, MATCH_CANDIDATES, VERIFIED_MATCHES


def whitening_table(whitening: DescriptorWhitening) -> pl.DataFrame:
    """Return a whitening as a table (schemas.DESCRIPTOR_WHITENING), a row for each channel."""
    channels = np.arange(len(whitening.mean))
    weight = pl.Series(np.ascontiguousarray(whitening.weight.T)).cast(pl.List(pl.Float32))
    return pl.DataFrame(
        {"channel": channels, "mean": whitening.mean, "weight": weight}, schema=DESCRIPTOR_WHITENING.schema
    )


def whitening_of(table: pl.DataFrame) -> DescriptorWhitening:
    """Return the whitening that `whitening_table` wrote; raises InputError for a table without channels."""
    if table.is_empty():
        raise InputError("descriptor_whitening was made for RootSIFT; materialize it with kind deep first.")
    weight = np.stack(table["weight"].to_list()).T
    return DescriptorWhitening(table["mean"].to_numpy(), np.ascontiguousarray(weight, dtype=np.float32))


def candidate_table(
    labels: pl.DataFrame, image_ids: Sequence[str], vectors: NDArray, settings: CandidateSettings
) -> pl.DataFrame:
    """Return the pairs to verify (schemas.MATCH_CANDIDATES), sorted by image_a, then image_b.

    `vectors` is (n, d), one row for each of `image_ids`; photos without a row in `labels` (schemas.LABELS), and
    labels without a photo, are in no pair.
    """
    photos = pl.DataFrame({"image_id": image_ids}, schema={"image_id": pl.String}).with_row_index("row")
    photos = photos.join(labels, on="image_id", maintain_order="left")
    ids, landmarks = photos["image_id"], photos["landmark_id"].to_numpy()
    pairs, similarity = candidate_pairs(ids.to_list(), landmarks, vectors[photos["row"].to_numpy()], settings)
    return pl.DataFrame(
        {
            "image_a": ids.gather(pairs[:, 0]),
            "image_b": ids.gather(pairs[:, 1]),
            "landmark_id": landmarks[pairs[:, 0]],
            "similarity": similarity,
        },
        schema=MATCH_CANDIDATES.schema,
    )


def verified_table(
    candidates: pl.DataFrame,
    shards: Sequence[FeatureLookup],
    settings: VerificationSettings,
    device: str = "cpu",
) -> pl.DataFrame:
    """Return the inliers and affine map of every pair of `candidates` (schemas.VERIFIED_MATCHES), in its order.

    `shards` hold the local features of all photos in the pairs; raises InputError for a photo without any.
    """
    features = JoinedFeatures(shards)
    position = {image_id: number for number, image_id in enumerate(features.image_ids)}
    ids = candidates.select("image_a", "image_b").to_numpy()
    try:
        pairs = np.array([[position[a], position[b]] for a, b in ids], dtype=np.int32).reshape(-1, 2)
    except KeyError as missing:
        raise InputError(
            f"Photo {missing} of match_candidates has no local features; materialize train/local_features again."
        ) from None
    inliers, affine = verify_pairs(features, pairs, settings, device)
    return candidates.select("image_a", "image_b", "landmark_id").with_columns(
        pl.Series("inliers", inliers, dtype=pl.Int32),
        pl.Series("affine", affine.reshape(-1, 6), dtype=VERIFIED_MATCHES.schema["affine"]),
    )
