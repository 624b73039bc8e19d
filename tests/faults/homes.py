"""A tiny home for the fault harness: small rendered photos in several shards, a tiny network, and what it stores."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from landmark_dag.demo.rendering import render_photos
from landmark_dag.settings import profiles
from landmark_dag.settings.cleaning import KeepRule
from landmark_dag.settings.demo import RenderingSettings
from landmark_dag.settings.home import HomeSettings
from landmark_dag.settings.matching import LocalFeatureSettings
from landmark_dag.settings.profiles import Profile
from landmark_dag.settings.retrieval import EmbeddingSettings

PHOTOS = RenderingSettings(landmarks=3, train_photos=24, index_photos=18, query_photos=8)
PROFILE = "tiny"


def tiny_profile(photos_per_shard: int = 8, batch_size: int = 4) -> Profile:
    """The demo's settings made as small as they run, with a checkpoint at every second step.

    `batch_size` is that of embedding.
    """
    demo = profiles.PROFILES["demo"]
    embedding = EmbeddingSettings(square_size=64, long_side=96, smallest_side=32, batch_size=batch_size, scales=(1.0,))
    return replace(
        demo,
        name=PROFILE,
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
    profiles.PROFILES = {**profiles.PROFILES, PROFILE: tiny_profile(**changes)}  # type: ignore[misc]


def home_settings(photos: Path, store: str = "") -> HomeSettings:
    """The settings of a home of `photos`, with its results shared at the URL `store` if it is given."""
    return HomeSettings(str(photos), PROFILE, store=store)


def render(photos: Path, seed: int = 0) -> None:
    """Render the photos of a tiny home, and the ground truth."""
    render_photos(photos, replace(PHOTOS, seed=seed))


def stored(home: Path) -> dict[str, str]:
    """Return a digest of every file in the home's store; see `digests`."""
    return digests(home / "store")


def unfinished(home: Path) -> list[str]:
    """Return the temporary files and folders that lie in the home's store."""
    return temporaries(home / "store")


def digests(store: Path) -> dict[str, str]:
    """Return a digest of every file of results under `store`, by its name; times in a history are left out.

    Locks, the state of a training under way and what a killed process left unfinished are no results (`temporaries`
    tells of the last), nor are the settings and the shards' memory, which a shared location has beside them.
    """
    found = {}
    for path in sorted(store.rglob("*")):
        name = path.relative_to(store)
        under_way = path.suffix == ".checkpoint" or path.parent.suffix == ".job"
        beside = name.parts[0] in ("settings.toml", "shards", ".shared")
        if not path.is_file() or path.name.startswith(".") or path.suffix == ".tmp" or under_way or beside:
            continue
        data = path.read_bytes()
        if path.name == "history.json":
            rows = [{name: value for name, value in row.items() if name != "waiting"} for row in json.loads(data)]
            data = json.dumps(rows).encode()
        found[str(name)] = hashlib.blake2b(data, digest_size=8).hexdigest()
    return found


def temporaries(store: Path) -> list[str]:
    """Return the temporary files and folders under `store`."""
    return sorted(str(path.relative_to(store)) for path in store.rglob("*.tmp"))
