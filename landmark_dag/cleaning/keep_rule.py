"""The keep rule: which train photos stay, from the stored table of verified matches."""

from collections.abc import Sequence

import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.settings.cleaning import KeepRule
from landmark_dag.storage.schemas import CLEANED_DATASET, CLEANING_GRID

GRID_MIN_INLIERS = (20, 30, 40, 50)
"""Values of min_inliers in the cleaning grid (the authors' own table)."""

GRID_MIN_VERIFIED = tuple(range(1, 11))
"""Values of min_verified in the cleaning grid."""


def clean(labels: pl.DataFrame, matches: pl.DataFrame, rule: KeepRule) -> pl.DataFrame:
    """Return the photos of `labels` that stay, as CLEANED_DATASET, sorted by image id.

    A photo stays with at least `rule.min_verified` photos of its landmark of which each shares at least
    `rule.min_inliers` inliers with it; then a landmark of fewer than `rule.min_photos` photos goes (paper,
    section 3.1). Raises InputError when `matches` speaks of a photo or a label that `labels` does not hold.
    """
    verified = _verified_counts(labels, matches, [rule.min_inliers])
    kept = _kept(verified, rule.min_inliers, rule.min_verified, rule.min_photos)
    return CLEANED_DATASET.conform(
        kept.select("image_id", "landmark_id", class_id=pl.col("landmark_id").rank("dense").cast(pl.Int32) - 1).sort(
            "image_id"
        ),
        "the cleaned dataset",
    )


def cleaning_grid(
    labels: pl.DataFrame,
    matches: pl.DataFrame,
    rule: KeepRule,
    min_inliers: Sequence[int] = GRID_MIN_INLIERS,
    min_verified: Sequence[int] = GRID_MIN_VERIFIED,
) -> pl.DataFrame:
    """Return how many photos and landmarks would stay in each cell of the grid, as CLEANING_GRID.

    The table of matches is gone through once; `rule` gives `min_photos` alone.
    """
    verified = _verified_counts(labels, matches, min_inliers)
    cells = []
    for inliers in min_inliers:
        for count in min_verified:
            kept = _kept(verified, inliers, count, rule.min_photos)
            cells.append((inliers, count, kept.height, kept["landmark_id"].n_unique()))
    return pl.DataFrame(cells, schema=CLEANING_GRID.schema, orient="row")


def _verified_counts(labels: pl.DataFrame, matches: pl.DataFrame, min_inliers: Sequence[int]) -> pl.DataFrame:
    """Return `labels` with a column of verified photos for each value of `min_inliers`."""
    both = pl.concat(matches.select("landmark_id", "inliers", image_id=f"image_{side}") for side in ("a", "b"))
    counts = both.group_by("image_id", "landmark_id").agg(
        (pl.col("inliers") >= value).sum().alias(str(value)) for value in min_inliers
    )
    unknown = counts.join(labels, on=["image_id", "landmark_id"], how="anti").sort("image_id")
    if unknown.height:
        image_id, landmark_id = unknown.row(0)[:2]
        raise InputError(
            f"The verified matches hold photo {image_id} as one of landmark {landmark_id}, which the labels "
            "do not; verify the matches again after changing labels."
        )
    return labels.join(counts, on=["image_id", "landmark_id"], how="left").with_columns(
        pl.col(str(value)).fill_null(0) for value in min_inliers
    )


def _kept(verified: pl.DataFrame, min_inliers: int, min_verified: int, min_photos: int) -> pl.DataFrame:
    """Return the rows of `_verified_counts` that stay."""
    kept = verified.filter(pl.col(str(min_inliers)) >= min_verified)
    return kept.filter(pl.len().over("landmark_id") >= min_photos)
