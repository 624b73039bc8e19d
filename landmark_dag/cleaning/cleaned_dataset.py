"""The table of the cleaned dataset: the photos that stay, and their landmarks numbered as classes."""

import polars as pl

from landmark_dag.storage.schemas import CLEANED_DATASET


def cleaned_dataset(photos: pl.DataFrame) -> pl.DataFrame:
    """Return `photos` (image_id, landmark_id, other columns are left out) as CLEANED_DATASET, sorted by image id.

    `class_id` numbers the landmarks of `photos` from 0 without gaps, by landmark id.
    """
    class_ids = pl.col("landmark_id").rank("dense").cast(pl.Int32) - 1
    columns = photos.select("image_id", "landmark_id", class_id=class_ids)
    return CLEANED_DATASET.conform(columns.sort("image_id"), "the cleaned dataset")
