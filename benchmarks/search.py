"""Seconds of `landmark-dag search` for one photo against 10,000 index photos, start-up included.

Run: python -m benchmarks.search [--index-photos N] [--backbone NAME]

The home is made here: an untrained network, vectors of chance, 1,000 train photos of 100 landmarks. Beside the whole
command stands what importing torch alone takes, in turns, so that both meet the same machine.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import click
import numpy as np
import polars as pl
from PIL import Image

from landmark_dag.settings.home import HomeSettings, write_home_settings
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.storage.embeddings import Embeddings, write_embeddings
from landmark_dag.storage.tables import CLEANED_DATASET, LABELS, MANIFEST, VOTES, Table, write_table
from landmark_dag.training.artifact import save_model
from landmark_dag.training.network import build_network
from resources.store import Store

TRAIN, LANDMARKS = 1_000, 100


def make_home(home: Path, index_photos: int, backbone: str) -> None:
    """Write what a run of the profile `photos` leaves, as far as a search reads it."""
    write_home_settings(home, HomeSettings(str(home / "photos"), "photos", backbone))
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


def seconds(command: list[str], bytecode: Path) -> tuple[float, float]:
    """Return wall-clock and processor seconds of a process, whose bytecode is kept as an installation keeps it."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@click.command()
@click.option("--index-photos", default=10_000, show_default=True)
@click.option("--backbone", default="mobilenetv2_100", show_default=True)
@click.option("--repeats", default=5, show_default=True)
def main(index_photos: int, backbone: str, repeats: int) -> None:
    """Print medians over the repeats."""
    with tempfile.TemporaryDirectory() as folder:
        home, photo = Path(folder) / "home", Path(folder) / "photo.jpg"
        make_home(home, index_photos, backbone)
        noise = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((1600, 1200)).save(photo, quality=88)
        code = "from landmark_dag.cli.main import main; main()"
        search = [sys.executable, "-c", code, "search", str(photo), "--home", str(home), "--json"]
        bytecode = Path(folder) / "bytecode"
        seconds([sys.executable, "-c", "import timm, landmark_dag.serving.search"], bytecode)
        first = seconds(search, bytecode)
        seconds(search, bytecode)
        torch, whole = [], []
        for _ in range(repeats):
            torch.append(seconds([sys.executable, "-c", "import torch"], bytecode))
            whole.append(seconds(search, bytecode))
    import_wall, import_cpu = (median(column) for column in zip(*torch, strict=True))
    wall, cpu = (median(column) for column in zip(*whole, strict=True))
    print(f"one photo of 1600 x 1200 against {index_photos} index photos, {backbone}; wall-clock (processor) seconds")
    print(f"whole command:        {wall:.2f} ({cpu:.2f})")
    print(f"  import torch alone: {import_wall:.2f} ({import_cpu:.2f})")
    print(f"  the rest:           {wall - import_wall:.2f} ({cpu - import_cpu:.2f})")
    print(f"first search of the home: {first[0]:.2f} ({first[1]:.2f})")


if __name__ == "__main__":
    main()
