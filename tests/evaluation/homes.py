"""A small home, as a run leaves it: photos of noise, an untrained network, and every table that a search reads."""

from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from landmark_dag.photos.manifest import build_manifest, locations_of
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.retrieval.embedding import embed_photos
from landmark_dag.retrieval.neighbour_search import voter_table
from landmark_dag.retrieval.votes import votes_of
from landmark_dag.settings.home import HomeSettings, write_home_settings
from landmark_dag.settings.retrieval import TrainNeighbourSettings
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.storage.embeddings import write_embeddings
from landmark_dag.storage.tables import CLEANED_DATASET, LABELS, MANIFEST, VOTES, write_table
from landmark_dag.training.artifact import load_model, save_model
from landmark_dag.training.network import build_network
from resources.store import Store

LANDMARKS = {1: "amber_palace", 2: "cedar_museum"}
NETWORK = NetworkSettings(backbone="test_resnet", embedding_dim=32)


def photo(path: Path, landmark: int, seed: int) -> Path:
    """Save a photo: blocks of its landmark's colours, one or two in colours of its own."""
    blocks = np.random.default_rng(landmark).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    own = np.random.default_rng(1000 + seed)
    blocks[own.integers(0, 5, 2), own.integers(0, 6, 2)] = own.integers(0, 256, (2, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blocks).resize((144, 120), Image.Resampling.NEAREST).save(path)
    return path


def six_photos_a_split(folder: Path) -> Path:
    """Save six photos of two landmarks in each split of `folder`; return `folder`."""
    for number in range(6):
        landmark = number % 2
        for split in (f"train/landmark{landmark}", "index", "query"):
            photo(folder / split / f"{split[0]}{number}.png", 1 + landmark, number)
    return folder


def small_home(folder: Path) -> Path:
    """Make a home of 6 train and 8 index photos of two landmarks in `folder`/home, its photos in `folder`/photos."""
    home = folder / "home"
    settings = HomeSettings(str(folder / "photos"), "demo")
    home.mkdir()
    write_home_settings(home, settings)
    store, profile = home / "store", settings.resolved_profile()
    save_model(store / "models/m", build_network(NETWORK, seed=1), NETWORK, {}, [])
    trained = Store(root=str(store))
    trained.write_record(trained.path("trained_model"), "v", {"folder": "models/m"})
    model = load_model(store / "models/m")
    embeddings = {}
    for split, count in (("train", 6), ("index", 8)):
        paths = [
            photo(folder / f"photos/{split}/{split}{i}.png", 1 + i % 2, i + 100 * (split == "index"))
            for i in range(count)
        ]
        locations = [PhotoLocation(path.stem, str(path), 0, path.stat().st_size) for path in paths]
        manifest, _ = build_manifest(locations)
        embeddings[split] = embed_photos(locations_of(manifest), model, profile.embedding)
        write_table(store / split / "photos/0000.parquet", MANIFEST, manifest, "v")
        write_embeddings(store / split / "embeddings/0000.arrow", embeddings[split], "v")
    names = [(f"train{i}", 1 + i % 2, LANDMARKS[1 + i % 2]) for i in range(6)]
    labels = pl.DataFrame(names, schema=LABELS.schema, orient="row")
    cleaned = labels.select("image_id", "landmark_id", class_id=pl.col("landmark_id").cast(pl.Int32) - 1)
    train_neighbours = voter_table(embeddings["index"], embeddings["train"], cleaned, TrainNeighbourSettings())
    write_table(store / "train/labels.parquet", LABELS, labels, "v")
    write_table(store / "cleaned_dataset.parquet", CLEANED_DATASET, cleaned, "v")
    write_table(store / "index/votes/0000.parquet", VOTES, votes_of(train_neighbours, profile.votes.k), "v")
    return home
