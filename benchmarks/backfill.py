"""Embedding many tiny shards through Dagster: one run for all shards beside one run for each shard.

    python -m benchmarks.backfill [--shards 100] [--photos 4] [--single 5]

Both ways materialize index/photos and index/embeddings with `dagster asset materialize`, each in its own home. "Work"
is the computing time that the steps report; the rest is what Dagster, start-up and imports cost. One run for each
shard takes the same time for every shard, so only some of the shards are measured.
"""

import os
import sys
import tempfile
from pathlib import Path

import click
import dagster as dg
import numpy as np

from benchmarks.gldv2 import noise_photo
from benchmarks.measuring import measured_process
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
            photo = noise_photo(np.random.default_rng(number), 160, 120)
            (folder / "photos" / split / f"{number:06d}.jpg").write_bytes(photo)
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
    """Materialize photos and embeddings in a new process, as people do; return the seconds."""
    command = [str(Path(sys.executable).with_name("dagster")), "asset", "materialize", "-m", "landmark_dag.definitions"]
    command += ["--select", " or ".join(f'key:"{key.to_user_string()}"' for key in ASSETS), *partitions]
    environment = os.environ | {"LANDMARK_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    return measured_process(command, environment)[0]


def work(home: Path) -> float:
    """Return the computing seconds that all shards report."""
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        records = [instance.fetch_materializations(key, limit=10_000).records for key in ASSETS]
    events = [record.asset_materialization for several in records for record in several]
    return sum(float(event.metadata["seconds"].value) for event in events if event and event.partition)


@click.command()
@click.option("--shards", default=100, show_default=True)
@click.option("--photos", default=4, show_default=True, help="photos of a shard")
@click.option("--single", default=5, show_default=True, help="shards that get their own run")
def main(shards: int, photos: int, single: int) -> None:
    """Print the seconds a shard beyond the work itself, for both ways, and their ratio."""
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
