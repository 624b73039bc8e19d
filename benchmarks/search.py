"""Seconds of `landmark-dag search` for one photo against 10,000 index photos, start-up included.

    python -m benchmarks.search [--index-photos N] [--backbone NAME] [--repeats R]

The home is made here: an untrained network, random vectors, 1,000 train photos of 100 landmarks. The time of importing
torch alone is measured in turn with the command, so that both meet the same state of the machine.
"""

import os
import sys
import tempfile
from pathlib import Path
from statistics import median

import click
import numpy as np
import polars as pl

from benchmarks.gldv2 import noise_photo
from benchmarks.measuring import LANDMARK_DAG, measured_process
from landmark_dag.settings.home import HomeSettings, write_home_settings
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.storage.embeddings import Embeddings, write_embeddings
from landmark_dag.storage.parquet_tables import write_table
from landmark_dag.storage.schemas import CLEANED_DATASET, LABELS, MANIFEST, VOTES, Table
from landmark_dag.training.artifact import save_model
from landmark_dag.training.network import build_network
from resources.store import Store

TRAIN, LANDMARKS = 1_000, 100


def make_home(home: Path, index_photos: int, backbone: str) -> None:
    """Write those results of a run with the profile `photos` that a search reads."""
    write_home_settings(home, HomeSettings(str(home / "photos"), values={"network.backbone": backbone}))
    store, generator = home / "store", np.random.default_rng(0)
    settings = NetworkSettings(backbone=backbone, normalise_pooled=True, embedding_dim=256, batch_norm=False)
    model = save_model(store / "models/m", build_network(settings, seed=0), settings, {}, [])
    trained = Store(root=str(store))
    trained.write_record(trained.path("trained_model"), "v", {"folder": "models/m"})
    ids = {"train": [f"t{row:08}" for row in range(TRAIN)], "index": [f"i{row:08}" for row in range(index_photos)]}
    for split, names in ids.items():
        vectors = generator.normal(size=(len(names), 256))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        embedded = Embeddings(names, vectors.astype(np.float16), model)
        write_embeddings(store / split / "embeddings/0000.arrow", embedded, "v")
    of_train, of_index = (generator.integers(0, LANDMARKS, len(names)) for names in ids.values())

    def write(name: str, table: Table, columns: list) -> None:
        write_table(store / name, table, pl.DataFrame(dict(zip(table.schema, columns, strict=True))), "v")

    write("train/labels.parquet", LABELS, [ids["train"], of_train, [f"landmark {number}" for number in of_train]])
    write("cleaned_dataset.parquet", CLEANED_DATASET, [ids["train"], of_train, of_train])
    write("index/votes/0000.parquet", VOTES, [ids["index"], of_index, generator.random(index_photos)])
    place = [["p.jpg"] * index_photos, *([[1] * index_photos] * 4), ["0" * 32] * index_photos]
    write("index/photos/0000.parquet", MANIFEST, [ids["index"], *place])


@click.command()
@click.option("--index-photos", default=10_000, show_default=True)
@click.option("--backbone", default="mobilenetv2_100", show_default=True)
@click.option("--repeats", default=5, show_default=True)
def main(index_photos: int, backbone: str, repeats: int) -> None:
    """Print the median seconds of the command, of importing torch, and of the rest."""
    with tempfile.TemporaryDirectory() as folder:
        home, photo = Path(folder) / "home", Path(folder) / "photo.jpg"
        make_home(home, index_photos, backbone)
        photo.write_bytes(noise_photo(np.random.default_rng(1), 1600, 1200))
        search = [*LANDMARK_DAG, "search", str(photo), "--home", str(home), "--json"]
        # Bytecode is kept, as an installation keeps it.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(Path(folder) / "bytecode")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        measured_process([sys.executable, "-c", "import timm, landmark_dag.serving.search"], environment)
        first = measured_process(search, environment)
        measured_process(search, environment)
        torch, whole = [], []
        for _ in range(repeats):
            torch.append(measured_process([sys.executable, "-c", "import torch"], environment))
            whole.append(measured_process(search, environment))
    import_wall, import_cpu = (median(column) for column in zip(*torch, strict=True))
    wall, cpu = (median(column) for column in zip(*whole, strict=True))
    print(f"one photo of 1600 x 1200 against {index_photos} index photos, {backbone}; wall-clock (processor) seconds")
    print(f"whole command:        {wall:.2f} ({cpu:.2f})")
    print(f"  import torch alone: {import_wall:.2f} ({import_cpu:.2f})")
    print(f"  the rest:           {wall - import_wall:.2f} ({cpu - import_cpu:.2f})")
    print(f"first search of the home: {first[0]:.2f} ({first[1]:.2f})")


if __name__ == "__main__":
    main()
