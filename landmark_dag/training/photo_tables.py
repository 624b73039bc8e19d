"""The photos of a training, made from tables."""

import numpy as np
import polars as pl

from landmark_dag.cleaning.cleaned_dataset import cleaned_dataset
from landmark_dag.errors import InputError
from landmark_dag.photos.manifest import locations_of
from landmark_dag.training.labelled_photos import LabelledPhotos


def cleaned_photos(manifest: pl.DataFrame, cleaned: pl.DataFrame) -> tuple[LabelledPhotos, dict[int, int]]:
    """Return the photos of `cleaned` (schemas.CLEANED_DATASET), and the landmark id of each class.

    `manifest` (schemas.MANIFEST) says where the photos are. Photos are sorted by image id, so neither shards nor the
    order of rows change the result. Raises InputError when `cleaned` is empty, or holds a photo that the manifest
    does not.
    """
    if cleaned.is_empty():
        raise InputError("No photo is left to train on: cleaned_dataset is empty; lower min_inliers or min_verified.")
    lost = cleaned.sort("image_id").join(manifest, on="image_id", how="anti", maintain_order="left")
    if lost.height:
        raise InputError(
            f"Cleaned photo {lost['image_id'][0]} is in no manifest of train/photos; materialize cleaned_dataset again."
        )
    landmarks = dict(cleaned.select("class_id", "landmark_id").unique().sort("class_id").iter_rows())
    return _located(manifest, cleaned), landmarks


def labelled_photos(manifest: pl.DataFrame, labels: pl.DataFrame) -> LabelledPhotos:
    """Return every photo of `labels` (schemas.LABELS) that `manifest` holds; its classes number their landmarks."""
    return _located(manifest, cleaned_dataset(labels.join(manifest, on="image_id", how="semi")))


def _located(manifest: pl.DataFrame, classes: pl.DataFrame) -> LabelledPhotos:
    """Return the photos of `classes` (image_id, class_id), sorted by image id."""
    photos = classes.sort("image_id").join(manifest, on="image_id", how="left", maintain_order="left")
    return LabelledPhotos(
        locations_of(photos),
        photos.select("width", "height").to_numpy().astype(np.int32),
        photos["class_id"].to_numpy().astype(np.int64),
    )
