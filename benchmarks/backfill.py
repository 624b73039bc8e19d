"""Embedding many tiny shards through Dagster: one run for all of them, and one run for each, side by side.

    python -m benchmarks.backfill [--shards 100] [--photos 4] [--single 5]

Both materialize index/photos and index/embeddings through `dagster asset materialize`, each in a home of its own. "The
work" is what the steps report of their computing; the rest is what Dagster, start-up and imports cost a shard. One run
for each shard is measured on some of the shards, for it takes the same time for every one of them.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import dagster as dg
import numpy as np
from PIL import Image

from landmark_dag.orchestration.in_process import prepare_home
from landmark_dag.photos.folder import FolderSource
from landmark_dag.settings.home import HomeSettings
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.training.artifact import save_model
from landmark_dag.training.network import build_network
from resources.store import Store

ASSETS = (dg.AssetKey(["index", "photos"]), dg.AssetKey(["index", "embeddings"]))


def make_home(folder: Path, shards: int, photos: int) -> list[str]:
    """Make a home with a model and `shards` shards of `photos` index photos; return the shards' keys."""
    places = {"train/tower": 1, "query": 1, "index": shards * photos}
    for split, count in places.items():
        (folder / "photos" / split).mkdir(parents=True)
        for number in range(count):
            noise = np.random.default_rng(number).integers(0, 255, (120, 160, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / "photos" / split / f"{number:06d}.jpg", quality=80)
    home = folder / "home"
    prepare_home(home, HomeSettings(str(folder / "photos"), "demo"))
    keys = FolderSource(folder / "photos", photos, home / "shards").shards("index")
    settings = NetworkSettings(backbone="test_resnet", embedding_dim=128)
    save_model(home / "store/models/m", build_network(settings, seed=0), settings, {}, [])
    store = Store(root=str(home / "store"))
    store.write_record(store.path("trained_model"), "v", {"folder": "models/m"})
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        instance.add_dynamic_partitions("index_shards", keys)
    return keys


def materialize(home: Path, *partitions: str) -> float:
    """Materialize photos and embeddings in a process of their own, as people do; return the seconds it took."""
    command = [str(Path(sys.executable).with_name("dagster")), "asset", "materialize", "-m", "landmark_dag.definitions"]
    command += ["--select", " or ".join(f'key:"{key.to_user_string()}"' for key in ASSETS), *partitions]
    environment = os.environ | {"LANDMARK_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


def work(home: Path) -> float:
    """Return the seconds of computing that all shards report."""
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        records = [instance.fetch_materializations(key, limit=10_000).records for key in ASSETS]
    events = [record.asset_materialization for several in records for record in several]
    return sum(float(event.metadata["seconds"].value) for event in events if event and event.partition)


@click.command()
@click.option("--shards", default=100, show_default=True)
@click.option("--photos", default=4, show_default=True, help="photos of a shard")
@click.option("--single", default=5, show_default=True, help="shards that get a run each")
def main(shards: int, photos: int, single: int) -> None:
    """Print seconds a shard beyond the work itself, and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        keys = make_home(Path(folder, "each"), shards, photos)
        each = [materialize(Path(folder, "each/home"), "--partition", key) for key in keys[:single]]
        beyond_each = (sum(each) - work(Path(folder, "each/home"))) / single
        make_home(Path(folder, "all"), shards, photos)
        together = materialize(Path(folder, "all/home"), "--partition-range", f"{keys[0]}...{keys[-1]}")
        done = work(Path(folder, "all/home"))
        again = materialize(Path(folder, "all/home"), "--partition-range", f"{keys[0]}...{keys[-1]}")
    beyond = (together - done) / shards
    print(f"{shards} shards of {photos} photos: index/photos and index/embeddings")
    print(f"a run for each shard ({single} measured): {beyond_each:.2f} s a shard beyond the work")
    print(f"one run for all: {together:.1f} s, work {done:.1f} s: {beyond:.3f} s a shard beyond the work")
    print(f"the same again, nothing changed: {again:.1f} s, {again / shards:.3f} s a shard")
    print(f"ratio: {beyond_each / beyond:.0f}")


if __name__ == "__main__":
    main()
