"""Recognition: the landmark that a query shows, and a score that sorts the answers of all queries."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.retrieval.votes import votes_of
from landmark_dag.settings.matching import VerificationSettings
from landmark_dag.settings.retrieval import RecognitionSettings
from landmark_dag.storage.schemas import VOTES

if TYPE_CHECKING:  # votes alone do not need the libraries of local features
    from landmark_dag.matching.features import FeatureLookup


def recognised(
    train_neighbours: pl.DataFrame, settings: RecognitionSettings, inliers: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return each query's landmark and score (schemas.VOTES, by image id) from its nearest train photos.

    The score is in the column confidence. Every train photo counts its similarity and, where `inliers` (image_id,
    train_id, inliers) has it, also inliers / full_inliers, at most 1. The landmark of the largest sum wins; its score
    is that sum / k. A landmark that wins for more than `distractor_queries` queries counts as a distractor: a thing
    that is in many photos and that no query is about. Its score becomes minus the number of these queries, below all
    others. (Ozaki and Yokoo, arXiv 1906.04087, section 3.4; its repository, exp/submit_recognition.py.)
    """
    if inliers is not None:
        bonus = (pl.col("inliers") / settings.full_inliers).clip(upper_bound=1).fill_null(0)
        train_neighbours = train_neighbours.join(inliers, on=["image_id", "train_id"], how="left").with_columns(
            (pl.col("similarity") + bonus).cast(pl.Float32)
        )
    votes = votes_of(train_neighbours, settings.k)
    if settings.distractor_queries == 0:
        return votes
    queries = pl.len().over("landmark_id")
    demoted = pl.when(queries > settings.distractor_queries).then(-queries.cast(pl.Float32))
    return VOTES.conform(votes.with_columns(confidence=demoted.otherwise("confidence")), "recognition")


def train_neighbour_inliers(
    train_neighbours: pl.DataFrame,
    k: int,
    query_features: "FeatureLookup",
    train_features: "FeatureLookup",
    settings: VerificationSettings,
    device: str = "cpu",
) -> pl.DataFrame:
    """Return image_id, train_id and inliers of every query and its `k` nearest train photos (schemas.TRAIN_NEIGHBOURS).

    Raises InputError for a photo without local features, and for local features of two kinds.
    """
    from landmark_dag.matching.features import JoinedFeatures
    from landmark_dag.matching.verification import verify_pairs

    nearest = train_neighbours.filter(pl.col("rank") <= k).select("image_id", "train_id")
    queries = _rows(nearest["image_id"], query_features, "Query")
    train = _rows(nearest["train_id"], train_features, "Train photo") + len(query_features.image_ids)
    pairs = np.column_stack([queries, train]).astype(np.int32)
    inliers, _ = verify_pairs(JoinedFeatures([query_features, train_features]), pairs, settings, device)
    return nearest.with_columns(inliers=inliers)


def _rows(image_ids: pl.Series, features: "FeatureLookup", what: str) -> np.ndarray:
    """Return the position of each of `image_ids` in `features`; raise InputError for one without local features."""
    known = pl.DataFrame({"image_id": features.image_ids}, schema={"image_id": pl.String}).with_row_index("row")
    rows = image_ids.to_frame("image_id").join(known, on="image_id", how="left", maintain_order="left")
    missing = rows.filter(pl.col("row").is_null())
    if len(missing):
        raise InputError(f"{what} {missing['image_id'][0]} has no local features; extract them first.")
    return rows["row"].to_numpy()
