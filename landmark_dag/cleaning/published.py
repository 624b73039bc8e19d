"""The cleaned set that the authors published (train_clean.csv), in place of our own cleaning."""

from pathlib import Path

import polars as pl

from landmark_dag.photos.gldv2_metadata import published_clean
from landmark_dag.storage.schemas import CLEANED_DATASET


def published_dataset(labels: pl.DataFrame, train_clean_csv: Path) -> pl.DataFrame:
    """Return the photos that `train_clean_csv` (landmark_id, images) keeps, as CLEANED_DATASET, by image id.

    Raises InputError for a photo that `labels` (schemas.LABELS) lacks, labels otherwise, or that is named twice.
    """
    kept = published_clean(labels, train_clean_csv).sort("image_id")
    numbered = kept.select("image_id", "landmark_id", class_id=pl.col("landmark_id").rank("dense").cast(pl.Int32) - 1)
    return CLEANED_DATASET.conform(numbered, str(train_clean_csv))
