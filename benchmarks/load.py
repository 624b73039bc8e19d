"""Load: photos against seconds and memory, from ingest to rankings, on homes that grow.

`python -m benchmarks.load [--photos 1000 10000 100000] [--shards 100]` renders photos of 96 x 96 pixels, runs the whole
graph on them with the demo's network and one epoch, and prints a line for each number of photos: seconds, photos a
second, the peak memory of the run's processes together, photos that could be read, and rows of the inserted ranking.
A tenth are train photos, of a landmark for every twenty; a hundredth are queries.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from landmark_dag.settings import home as settings
from landmark_dag.settings import profiles
from landmark_dag.settings.cleaning import KeepRule

_SIDE, _BLOCKS, _SPARE = 96, 12, 16
"""Pixels of a photo's side, blocks of a landmark's, and pixels that a photo may be moved over its landmark."""


def render(photos: Path, count: int, seed: int = 0) -> None:
    """Write `count` JPEGs of 96 x 96 pixels: parts of landmarks that are patterns of blocks, with noise."""
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


def peak_memory(process: subprocess.Popen[str], peaks: list[int]) -> None:
    """Watch the proportional memory (PSS, bytes) of a process and its children until it ends; keep the largest."""
    while process.poll() is None:
        peaks[0] = max(peaks[0], sum(map(_memory, [process.pid, *_children(process.pid)])))
        time.sleep(0.5)


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
    """Return seconds, peak memory, readable photos and rows ranked of a run over `count` photos in about `shards`."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        render(home / "photos", count)
        per_shard = str(max(1, -(-count // shards)))
        command = [sys.executable, "-m", "benchmarks.load", "--run", name, "--per-shard", per_shard]
        started = time.monotonic()
        process = subprocess.Popen(command, text=True)
        peaks = [0]
        peak_memory(process, peaks)
        if process.returncode:
            raise SystemExit(f"the run over {count} photos ended with status {process.returncode}")
        seconds = time.monotonic() - started
        store = home / "home" / "store"
        photos = pl.read_parquet(store / "*" / "photos" / "*.parquet", columns=["image_id"]).height
        return seconds, peaks[0], photos, pl.read_parquet(store / "inserted_ranking" / "*.parquet").height


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


def main() -> None:
    """Measure and print the curve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load")
    parser.add_argument("--photos", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--per-shard", type=int, default=1, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.run:
        run(asked.run, asked.per_shard)
        return
    print(f"{'photos':>9} {'seconds':>9} {'photos/s':>9} {'peak GB':>9} {'readable':>9} {'ranked':>9}", flush=True)
    for count in asked.photos:
        seconds, peak, photos, ranked = measure(count, asked.shards)
        print(f"{count:9,} {seconds:9.1f} {count / seconds:9.1f} {peak / 1e9:9.2f} {photos:9,} {ranked:9,}", flush=True)


if __name__ == "__main__":
    main()
