"""What the train photos nearest to a photo (tables.TRAIN_NEIGHBOURS) say of its landmark, for soft re-ranking."""

import polars as pl

from landmark_dag.settings.reranking import SoftSettings
from landmark_dag.storage.tables import VOTES

NEAREST_DISTANCE = 1e-3
"""Smallest distance that makes a confidence, its inverse: photos closer are the same."""


def label_distribution(train_neighbours: pl.DataFrame, settings: SoftSettings) -> pl.DataFrame:
    """Return the landmarks of each photo's nearest train_neighbours with the sum of their similarities, over k.

    The columns are those of tables.VOTES, several rows a photo.
    (13th place of the Google Landmark Retrieval Challenge 2021, "Soft Landmark ID Assignment", step 1.)
    """
    k = settings.product_k
    sums = (
        train_neighbours.filter(pl.col("rank") <= k)
        .sort("image_id", "rank")
        .group_by("image_id", "landmark_id", maintain_order=True)
        .agg(confidence=pl.col("similarity").sum() / k)
    )
    return VOTES.conform(sums, "the label distribution")


def bridge_confidence(train_neighbours: pl.DataFrame, settings: SoftSettings) -> pl.DataFrame:
    """Return each photo's nearest landmarks with the confidence that it shows them: bonus + 1 / distance.

    The columns are those of tables.VOTES, up to `bridge_landmarks` rows a photo. A landmark's distance is the mean
    of 1 - similarity over its `bridge_photos` nearest train photos; one that is not stored counts as far
    as the farthest that is. The nearest landmark (ties: met first) alone has the bonus. (5th place of the Google
    Landmark Retrieval Challenge 2021; its penalty by photos that show no landmark is left out.)
    """
    photos, landmarks = settings.bridge_photos, settings.bridge_landmarks
    near = pl.col("similarity").head(photos)
    means = (
        train_neighbours.sort("image_id", "rank")
        .with_columns(farthest=pl.col("similarity").last().over("image_id"))
        .group_by("image_id", "landmark_id", maintain_order=True)
        .agg(mean=(near.sum() + (photos - near.len()) * pl.col("farthest").first()) / photos)
        .with_columns(place=pl.col("mean").rank("ordinal", descending=True).over("image_id"))
        .filter(pl.col("place") <= landmarks)
    )
    distance = (1 - pl.col("mean")).clip(lower_bound=NEAREST_DISTANCE)
    bonus = pl.when(pl.col("place") == 1).then(settings.bridge_bonus).otherwise(0.0)
    return VOTES.conform(
        means.select("image_id", "landmark_id", confidence=1 / distance + bonus), "the bridge confidence"
    )
