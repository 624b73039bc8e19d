"""Embedding photos from a TAR beside the network alone on the same tensors, interleaved in one process.

    python -m benchmarks.embed_photos PHOTOS [--backbone NAME] [--size N] [--photos N] [--repeats R] [--device cuda]
    python -m benchmarks.embed_photos PHOTOS --growth

--growth embeds 10,000, 30,000 and 100,000 photos of 64 pixels with a tiny network, each in a process of its own, and
prints the peak memory of each.
"""

import io
import itertools
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import click
import torch
from PIL import Image

from landmark_dag.photos.resizing import decoded, photo_sizes, resized, scaled, size_for
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.retrieval.embedding import embed_photos
from landmark_dag.settings.retrieval import EmbeddingSettings
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.training.artifact import Model, bootstrap_model
from landmark_dag.training.inference import features_of

TINY_SIDE = 64


@contextmanager
def packed(photos: Iterator[bytes]) -> Iterator[list[PhotoLocation]]:
    """Write photos into one TAR and yield where they lie in it."""
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        locations = []
        with tarfile.open(file.name, "w") as tar:
            for number, photo in enumerate(photos):
                member = tarfile.TarInfo(f"{number:06}.jpg")
                member.size = len(photo)
                start = tar.offset + tarfile.BLOCKSIZE
                tar.addfile(member, io.BytesIO(photo))
                locations.append(PhotoLocation(f"{number:06}", file.name, start, len(photo)))
        yield locations


def tensors(locations: list[PhotoLocation], settings: EmbeddingSettings) -> list[list[torch.Tensor]]:
    """Return each photo at every scale, ready for the network."""
    sizes = photo_sizes(settings.square_size, settings.long_side)
    photos = (decoded(location, round(1.25 * settings.long_side)) for location in locations)
    return [
        [resized(photo, scaled(size_for(photo, sizes), scale, settings.smallest_side, 1)) for scale in settings.scales]
        for photo in photos
    ]


def compare(
    locations: list[PhotoLocation], model: Model, settings: EmbeddingSettings, repeats: int, device: str
) -> None:
    """Print photos a second of both ways, and their ratio."""
    ready = tensors(locations, settings)

    def network_alone() -> None:
        features_of(
            len(ready), ready.__getitem__, model.network, batch_size=settings.batch_size, device=torch.device(device)
        )

    ways = {"network alone": network_alone, "embed_photos": lambda: embed_photos(locations, model, settings, device)}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    network_alone()
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            rates[name].append(len(locations) / (time.perf_counter() - start))
    for name, rate in rates.items():
        print(f"{name:14s} photos/s min/median/max {min(rate):7.1f} {median(rate):7.1f} {max(rate):7.1f}")
    print(f"ratio of medians {median(rates['embed_photos']) / median(rates['network alone']):.2f}")


def grow(files: list[Path], count: int) -> None:
    """Embed `count` tiny photos and print the process's peak memory."""
    settings = EmbeddingSettings(square_size=TINY_SIDE, long_side=TINY_SIDE, scales=(1.0,), smallest_side=32)
    model = bootstrap_model(NetworkSettings(backbone="test_resnet"))
    tiny = []
    for file in files[:100]:
        buffer = io.BytesIO()
        Image.open(file).convert("RGB").resize((TINY_SIDE, TINY_SIDE)).save(buffer, "JPEG")
        tiny.append(buffer.getvalue())
    with packed(itertools.islice(itertools.cycle(tiny), count)) as locations:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        start = time.perf_counter()
        embedded = embed_photos(locations, model, settings)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer = embedded.vectors.nbytes / 2**20
    print(f"{count:7} photos: {seconds:6.1f} s, peak {peak:6.0f} MB, {before:.0f} MB before, answer {answer:.0f} MB")


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--backbone", default="mobilenetv2_100", show_default=True)
@click.option("--size", default=288, show_default=True)
@click.option("--photos", default=256, show_default=True)
@click.option("--batch-size", default=8, show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--growth", is_flag=True)
@click.option("--grown", type=int, hidden=True)
def main(
    folder: Path,
    backbone: str,
    size: int,
    photos: int,
    batch_size: int,
    repeats: int,
    device: str,
    growth: bool,
    grown: int | None,
) -> None:
    files = sorted(folder.rglob("*.jpg"))
    if grown:
        grow(files, grown)
    elif growth:
        for count in (10_000, 30_000, 100_000):
            command = [sys.executable, "-m", "benchmarks.embed_photos", str(folder), "--grown", str(count)]
            subprocess.run(command, check=True)
    else:
        settings = replace(EmbeddingSettings(), square_size=size, long_side=size, batch_size=batch_size)
        model = bootstrap_model(NetworkSettings(backbone=backbone), device)
        with packed(file.read_bytes() for file in files[:photos]) as locations:
            compare(locations, model, settings, repeats, device)


if __name__ == "__main__":
    main()
