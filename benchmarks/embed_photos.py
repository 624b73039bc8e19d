"""Embedding photos from files beside the network alone on the same tensors, interleaved in one process.

Run: python -m benchmarks.embed_photos PHOTOS [--backbone NAME] [--size N] [--photos N] [--repeats R]
"""

import resource
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import click
import torch

from landmark_dag.photos.source import PhotoLocation
from landmark_dag.retrieval.embedding import embed_photos
from landmark_dag.retrieval.settings import EmbeddingSettings
from landmark_dag.training.artifact import Model, bootstrap_model
from landmark_dag.training.inference import features_of
from landmark_dag.training.preprocessing import decoded, photo_sizes, resized, scaled, size_for
from landmark_dag.training.settings import NetworkSettings


def tensors(locations: list[PhotoLocation], settings: EmbeddingSettings) -> list[list[torch.Tensor]]:
    """Return each photo at every scale, ready for the network."""
    sizes = photo_sizes(settings.square_size, settings.long_side)
    photos = [decoded(location, 2 * settings.long_side) for location in locations]
    return [
        [resized(photo, scaled(size_for(photo, sizes), scale, settings.smallest_side, 1)) for scale in settings.scales]
        for photo in photos
    ]


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--backbone", default="mobilenetv2_100", show_default=True)
@click.option("--size", default=288, show_default=True)
@click.option("--photos", default=256, show_default=True)
@click.option("--batch-size", default=8, show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def main(folder: Path, backbone: str, size: int, photos: int, batch_size: int, repeats: int, device: str) -> None:
    """Print photos a second of both, their ratio, and the process's peak memory."""
    settings = replace(EmbeddingSettings(), square_size=size, long_side=size, batch_size=batch_size)
    model: Model = bootstrap_model(NetworkSettings(backbone=backbone), device)
    files = sorted(folder.rglob("*.jpg"))[:photos]
    locations = [PhotoLocation(file.stem, str(file), 0, file.stat().st_size) for file in files]
    ready = tensors(locations, settings)

    def network_alone() -> None:
        features_of(len(ready), ready.__getitem__, model.network, batch_size=batch_size, device=torch.device(device))

    ways = {"network alone": network_alone, "embed_photos": lambda: embed_photos(locations, model, settings, device)}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    network_alone()
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            rates[name].append(len(files) / (time.perf_counter() - start))
    for name, rate in rates.items():
        print(f"{name:14s} photos/s min/median/max {min(rate):7.1f} {median(rate):7.1f} {max(rate):7.1f}")
    print(f"ratio of medians {median(rates['embed_photos']) / median(rates['network alone']):.2f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")


if __name__ == "__main__":
    main()
