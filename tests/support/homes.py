"""A small home as a run leaves it, written directly: all that a search reads, with a network that is not trained."""

from pathlib import Path

import polars as pl

from landmark_dag.photos.manifest import build_manifest, locations_of
from landmark_dag.retrieval.embedding import embed_photos
from landmark_dag.retrieval.neighbour_search import train_neighbour_table
from landmark_dag.retrieval.votes import votes_of
from landmark_dag.settings.home import HomeSettings, write_home_settings
from landmark_dag.settings.retrieval import TrainNeighbourSettings
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.storage.embeddings import write_embeddings
from landmark_dag.storage.parquet_tables import write_table
from landmark_dag.storage.schemas import CLEANED_DATASET, LABELS, MANIFEST, VOTES
from landmark_dag.training.artifact import load_model, save_model
from landmark_dag.training.network import build_network
from resources.store import Store
from tests.support.photos import located, write_landmark_photo

LANDMARKS = {1: "amber_palace", 2: "cedar_museum"}
NETWORK = NetworkSettings(backbone="test_resnet", embedding_dim=32)


def small_home(folder: Path) -> Path:
    """Write a home of 6 train and 8 index photos of two landmarks to `folder`/home, its photos to `folder`/photos."""
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
            write_landmark_photo(folder / f"photos/{split}/{split}{i}.png", 1 + i % 2, i + 100 * (split == "index"))
            for i in range(count)
        ]
        manifest, _ = build_manifest([located(path) for path in paths])
        embeddings[split] = embed_photos(locations_of(manifest), model, profile.embedding)
        write_table(store / split / "photos/0000.parquet", MANIFEST, manifest, "v")
        write_embeddings(store / split / "embeddings/0000.arrow", embeddings[split], "v")
    names = [(f"train{i}", 1 + i % 2, LANDMARKS[1 + i % 2]) for i in range(6)]
    labels = pl.DataFrame(names, schema=LABELS.schema, orient="row")
    cleaned = labels.select("image_id", "landmark_id", class_id=pl.col("landmark_id").cast(pl.Int32) - 1)
    train_neighbours = train_neighbour_table(
        embeddings["index"], embeddings["train"], cleaned, TrainNeighbourSettings()
    )
    write_table(store / "train/labels.parquet", LABELS, labels, "v")
    write_table(store / "cleaned_dataset.parquet", CLEANED_DATASET, cleaned, "v")
    write_table(store / "index/votes/0000.parquet", VOTES, votes_of(train_neighbours, profile.votes.k), "v")
    return home
