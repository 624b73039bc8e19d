"""Seconds and memory of whole runs, from photos to rankings, as the number of photos grows.

    python -m benchmarks.load [--photos 1000 --photos 10000 --photos 100000] [--shards 100]

Each run renders photos of 96 x 96 pixels and materializes the whole graph on them, with the demo's network and one
epoch, in a home of its own. One line for each number of photos: seconds, photos a second, the peak memory of all
processes of the run together, photos that could be read, and rows of the inserted ranking. A tenth of the photos are
train photos, twenty for each landmark; a hundredth are queries.
"""

import tempfile
import time
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import click
import numpy as np
import polars as pl
from PIL import Image

from landmark_dag.settings import home as settings
from landmark_dag.settings import profiles
from landmark_dag.settings.cleaning import KeepRule

_SIDE, _BLOCKS, _SPARE = 96, 12, 16
"""Pixels of a photo's side, blocks of a landmark's side, and pixels by which photos of a landmark may be shifted."""


def render(photos: Path, count: int, seed: int = 0) -> None:
    """Write `count` JPEGs of 96 x 96 pixels. A landmark is a pattern of blocks; a photo is a part of it with noise."""
    rng = np.random.default_rng(seed)
    train, queries = count // 10, max(1, count // 100)
    landmarks = max(2, train // 20)
    patterns = rng.integers(0, 256, (landmarks, _BLOCKS, _BLOCKS, 3), dtype=np.uint8)
    first = train + queries
    relevant = {
        number % landmarks: " ".join(f"{index:08d}" for index in range(number, count, landmarks))
        for number in range(first, first + landmarks)
    }
    truth = "".join(f"{number:08d},{relevant[number % landmarks]},Private\n" for number in range(train, first))
    (photos / "ground_truth").mkdir(parents=True)
    (photos / "ground_truth" / "retrieval_solution.csv").write_text(f"id,images,Usage\n{truth}")
    for number in range(count):
        landmark = number % landmarks
        split = "train" if number < train else "query" if number < first else "index"
        folder = photos / split / (f"landmark{landmark}" if split == "train" else f"{number // 1000}")
        folder.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(-15, 16, (_BLOCKS, _BLOCKS, 3))
        blocks = np.clip(patterns[landmark] + noise, 0, 255).astype(np.uint8)
        left, top = map(int, rng.integers(0, _SPARE + 1, 2))
        whole = Image.fromarray(blocks).resize((_SIDE + _SPARE, _SIDE + _SPARE), Image.Resampling.BICUBIC)
        whole.crop((left, top, left + _SIDE, top + _SIDE)).save(folder / f"{number:08d}.jpg", quality=85)


def peak_memory(process: BaseProcess) -> int:
    """Wait for a process to end; return the largest memory in bytes (PSS) of it and its children together."""
    peak, parent = 0, process.pid or 0
    while process.is_alive():
        peak = max(peak, sum(map(_memory, [parent, *_children(parent)])))
        time.sleep(0.5)
    return peak


def _children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            child = int(status.parent.name)
            found += [child, *_children(child)]
    return found


def _memory(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def measure(count: int, shards: int) -> tuple[float, int, int, int]:
    """Return seconds, peak memory, readable photos and ranked rows of a run over `count` photos in about `shards`."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        render(home / "photos", count)
        process = get_context("spawn").Process(target=run, args=(home, max(1, -(-count // shards))))
        started = time.monotonic()
        process.start()
        peak = peak_memory(process)
        if process.exitcode:
            raise SystemExit(f"The run over {count} photos ended with status {process.exitcode}.")
        seconds = time.monotonic() - started
        store = home / "home" / "store"
        photos = pl.read_parquet(store / "*" / "photos" / "*.parquet", columns=["image_id"]).height
        return seconds, peak, photos, pl.read_parquet(store / "inserted_ranking" / "*.parquet").height


def run(folder: Path, per_shard: int) -> None:
    """Run the pipeline on the photos in `folder` with the demo's settings, one epoch, and shards of `per_shard`."""
    demo = profiles.PROFILES["demo"]
    training = replace(demo.training, epochs=1, square_size=64, long_side=64)
    embedding = replace(demo.embedding, square_size=64, long_side=64, smallest_side=32, scales=(1.0,), batch_size=64)
    profile = replace(
        demo,
        photos_per_shard=per_shard,
        training=training,
        embedding=embedding,
        bootstrap_embedding=embedding,
        keep_rule=KeepRule(min_inliers=10, min_verified=1),
    )
    profiles.PROFILES = {**profiles.PROFILES, "demo": profile}  # type: ignore[misc]
    from landmark_dag.cli.output import ProgressBar
    from landmark_dag.orchestration.in_process import prepare_home, run_pipeline

    prepare_home(folder / "home", settings.HomeSettings(str(folder / "photos"), "demo"))
    from landmark_dag.definitions import defs

    with ProgressBar() as bar:
        run_pipeline(defs(), bar)


@click.command()
@click.option("--photos", multiple=True, type=int, default=(1000, 10_000, 100_000), help="may be repeated")
@click.option("--shards", default=100, show_default=True, help="shards of all splits together, about")
def main(photos: tuple[int, ...], shards: int) -> None:
    """Print one line for each number of photos."""
    print(f"{'photos':>9} {'seconds':>9} {'photos/s':>9} {'peak GB':>9} {'readable':>9} {'ranked':>9}", flush=True)
    for count in photos:
        seconds, peak, readable, ranked = measure(count, shards)
        rate = count / seconds
        print(f"{count:9,} {seconds:9.1f} {rate:9.1f} {peak / 1e9:9.2f} {readable:9,} {ranked:9,}", flush=True)


if __name__ == "__main__":
    main()
