"""Small homes: one that is written directly, complete enough for a search, and one that a run fills in seconds."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from landmark_dag.demo.rendering import render_photos
from landmark_dag.photos.manifest import build_manifest, locations_of
from landmark_dag.retrieval.embedding import embed_photos
from landmark_dag.retrieval.neighbour_search import voter_table
from landmark_dag.retrieval.votes import votes_of
from landmark_dag.settings import profiles
from landmark_dag.settings.cleaning import KeepRule
from landmark_dag.settings.demo import RenderingSettings
from landmark_dag.settings.home import HomeSettings, write_home_settings
from landmark_dag.settings.matching import LocalFeatureSettings
from landmark_dag.settings.profiles import Profile
from landmark_dag.settings.retrieval import EmbeddingSettings, TrainNeighbourSettings
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

TINY = "tiny"
"""Name of the profile of a home that a run fills in seconds."""


def small_home(folder: Path) -> Path:
    """Write a home of 6 train and 8 index photos of two landmarks to `folder`/home, its photos to `folder`/photos.

    Its network is not trained.
    """
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
    train_neighbours = voter_table(embeddings["index"], embeddings["train"], cleaned, TrainNeighbourSettings())
    write_table(store / "train/labels.parquet", LABELS, labels, "v")
    write_table(store / "cleaned_dataset.parquet", CLEANED_DATASET, cleaned, "v")
    write_table(store / "index/votes/0000.parquet", VOTES, votes_of(train_neighbours, profile.votes.k), "v")
    return home


def tiny_profile(photos_per_shard: int = 8, batch_size: int = 4) -> Profile:
    """Return the demo's profile with everything as small as it runs, and a checkpoint every two steps.

    `batch_size` is that of embedding.
    """
    demo = profiles.PROFILES["demo"]
    embedding = EmbeddingSettings(square_size=64, long_side=96, smallest_side=32, batch_size=batch_size, scales=(1.0,))
    return replace(
        demo,
        name=TINY,
        photos_per_shard=photos_per_shard,
        local_features=LocalFeatureSettings(long_side=160),
        keep_rule=KeepRule(min_inliers=4, min_verified=1),
        bootstrap_embedding=embedding,
        embedding=replace(embedding, scales=(0.75, 1.0)),
        network=replace(demo.network, embedding_dim=16),
        training=replace(
            demo.training, square_size=64, long_side=96, epochs=2, batch_size=4, accumulation=1, checkpoint_steps=2
        ),
    )


def admit_tiny_profile(**changes: int) -> None:
    """Let homes of this process have the profile `tiny`; `changes` are arguments of `tiny_profile`."""
    profiles.PROFILES = {**profiles.PROFILES, TINY: tiny_profile(**changes)}  # type: ignore[misc]


def tiny_home_settings(photos: Path, store: str = "") -> HomeSettings:
    """Return the settings of a home of `photos`, whose results are shared at the URL `store` if it is given."""
    return HomeSettings(str(photos), TINY, store=store)


def render_tiny_photos(photos: Path) -> Path:
    """Render the photos of a tiny home, and the ground truth."""
    render_photos(photos, RenderingSettings(landmarks=3, train_photos=24, index_photos=18, query_photos=8))
    return photos
