"""A profile so small that a run takes seconds, in the processes that admit it."""

import subprocess
import sys
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
from tests.support.processes import ROOT, bare_environment

TINY = "tiny"
PHOTOS = RenderingSettings(landmarks=3, train_photos=24, index_photos=18, query_photos=8)


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
    render_photos(photos, PHOTOS)
    return photos


def tiny_landmark_dag(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command `landmark-dag` to its end in a process that admits the profile, with all photos in one shard."""
    code = (
        "from tests.support.tiny_profile import admit_tiny_profile\n"
        "admit_tiny_profile(photos_per_shard=300)\n"
        "from landmark_dag.cli.main import main\n"
        "main()"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=bare_environment())
