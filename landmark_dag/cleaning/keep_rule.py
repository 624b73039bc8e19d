"""The keep rule: which train photos stay, decided from the table of verified matches."""

from collections.abc import Sequence

import polars as pl

from landmark_dag.cleaning.cleaned_dataset import cleaned_dataset
from landmark_dag.errors import InputError
from landmark_dag.settings.cleaning import KeepRule
from landmark_dag.storage.schemas import CLEANING_GRID

GRID_MIN_INLIERS = (20, 30, 40, 50)
"""Values of min_inliers in the cleaning grid (the authors' own table)."""

GRID_MIN_VERIFIED = tuple(range(1, 11))
"""Values of min_verified in the cleaning grid."""


def clean(labels: pl.DataFrame, matches: pl.DataFrame, rule: KeepRule) -> pl.DataFrame:
    """Return the photos of `labels` that stay, as CLEANED_DATASET, sorted by image id.

    A photo stays if at least `rule.min_verified` photos of its landmark each share at least `rule.min_inliers`
    inliers with it. Then a landmark with fewer than `rule.min_photos` photos left is dropped (paper, section 3.1).
    Raises InputError when `matches` names a photo, or a photo's landmark, that `labels` does not hold.
    """
    verified = _verified_counts(labels, matches, [rule.min_inliers])
    return cleaned_dataset(_kept(verified, rule.min_inliers, rule.min_verified, rule.min_photos))


def cleaning_grid(
    labels: pl.DataFrame,
    matches: pl.DataFrame,
    rule: KeepRule,
    min_inliers: Sequence[int] = GRID_MIN_INLIERS,
    min_verified: Sequence[int] = GRID_MIN_VERIFIED,
) -> pl.DataFrame:
    """Return how many photos and landmarks would stay in each cell of the grid, as CLEANING_GRID.

    The table of matches is read once. Of `rule` only `min_photos` is used.
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
            f"The verified matches hold photo {image_id} as one of landmark {landmark_id}, but the labels do not; "
            "verify the matches again after changing labels."
        )
    return labels.join(counts, on=["image_id", "landmark_id"], how="left").with_columns(
        pl.col(str(value)).fill_null(0) for value in min_inliers
    )


def _kept(verified: pl.DataFrame, min_inliers: int, min_verified: int, min_photos: int) -> pl.DataFrame:
    """Return the rows of `_verified_counts` that stay."""
    kept = verified.filter(pl.col(str(min_inliers)) >= min_verified)
    return kept.filter(pl.len().over("landmark_id") >= min_photos)
