"""From tables to a trained model: the cleaned photos, in one order, to the folder that holds the network."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.photos.manifest import locations_of
from landmark_dag.training.artifact import save_model
from landmark_dag.training.fit import History, fit
from landmark_dag.training.network import build_network
from landmark_dag.training.settings import NetworkSettings, TrainingSettings


def train_model(
    folder: Path,
    manifest: pl.DataFrame,
    cleaned: pl.DataFrame,
    network_settings: NetworkSettings,
    training: TrainingSettings,
    device: str = "cpu",
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> tuple[str, History]:
    """Train on the photos of `cleaned` (tables.CLEANED_DATASET), save to `folder`; return fingerprint and history.

    `manifest` (tables.MANIFEST) says where the photos lie. Photos are taken by image id, so that shards and row
    order change nothing. Raises InputError when nothing is left to train on, or a cleaned photo is not in the
    manifest, and what `fit` raises.
    """
    photos = cleaned.sort("image_id").join(manifest, on="image_id", how="left", maintain_order="left")
    if photos.is_empty():
        raise InputError("No photo is left to train on: cleaned_dataset is empty; lower min_inliers or min_verified.")
    lost = photos.filter(pl.col("path").is_null())
    if lost.height:
        raise InputError(
            f"Cleaned photo {lost['image_id'][0]} is in no manifest of train/photos; materialize cleaned_dataset again."
        )
    network = build_network(network_settings, training.seed)
    history = fit(locations_of(photos), photos["class_id"].to_numpy(), network, training, device, on_epoch)
    landmarks = dict(cleaned.select("class_id", "landmark_id").unique().sort("class_id").iter_rows())
    return save_model(folder, network, network_settings, landmarks, history), history
