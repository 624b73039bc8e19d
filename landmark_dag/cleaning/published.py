"""The cleaned dataset that the paper's authors published (train_clean.csv), in place of our own cleaning."""

from pathlib import Path

import polars as pl

from landmark_dag.cleaning.cleaned_dataset import cleaned_dataset
from landmark_dag.photos.gldv2_metadata import published_clean


def published_dataset(labels: pl.DataFrame, train_clean_csv: Path) -> pl.DataFrame:
    """Return the photos that `train_clean_csv` (landmark_id, images) keeps, as CLEANED_DATASET, sorted by image id.

    Raises InputError for a photo that `labels` (schemas.LABELS) does not hold, that has another label there, or that
    the file names twice.
    """
    return cleaned_dataset(published_clean(labels, train_clean_csv))
