"""From tables to the photos that a training is given."""

import numpy as np
import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.photos.manifest import locations_of
from landmark_dag.training.fit import LabelledPhotos


def cleaned_photos(manifest: pl.DataFrame, cleaned: pl.DataFrame) -> tuple[LabelledPhotos, dict[int, int]]:
    """Return the photos of `cleaned` (schemas.CLEANED_DATASET), and the landmark id of each class.

    `manifest` (schemas.MANIFEST) says where the photos lie. Photos are taken by image id, so that shards and row
    order change nothing. Raises InputError when nothing is left to train on, or a cleaned photo is not in the
    manifest.
    """
    if cleaned.is_empty():
        raise InputError("No photo is left to train on: cleaned_dataset is empty; lower min_inliers or min_verified.")
    lost = cleaned.sort("image_id").join(manifest, on="image_id", how="anti", maintain_order="left")
    if lost.height:
        raise InputError(
            f"Cleaned photo {lost['image_id'][0]} is in no manifest of train/photos; materialize cleaned_dataset again."
        )
    landmarks = dict(cleaned.select("class_id", "landmark_id").unique().sort("class_id").iter_rows())
    return _located(manifest, cleaned.select("image_id", "class_id")), landmarks


def labelled_photos(manifest: pl.DataFrame, labels: pl.DataFrame) -> LabelledPhotos:
    """Return every readable photo of `labels` (schemas.LABELS), landmarks numbered from 0 by landmark id."""
    readable = labels.join(manifest, on="image_id", how="semi")
    classes = pl.col("landmark_id").rank("dense").cast(pl.Int32) - 1
    return _located(manifest, readable.select("image_id", class_id=classes))


def _located(manifest: pl.DataFrame, classes: pl.DataFrame) -> LabelledPhotos:
    """Return the photos of `classes` (image_id, class_id), by image id."""
    photos = classes.sort("image_id").join(manifest, on="image_id", how="left", maintain_order="left")
    return LabelledPhotos(
        locations_of(photos),
        photos.select("width", "height").to_numpy().astype(np.int32),
        photos["class_id"].to_numpy().astype(np.int64),
    )
