"""Photos a second of embedding from a TAR, beside the network alone on the same tensors, in turn in one process.

    python -m benchmarks.embed_photos PHOTOS [--backbone NAME] [--size N] [--photos N] [--repeats R] [--device cuda]

PHOTOS is a folder of JPEGs. `embed_photos` reads, decodes, resizes and embeds; the network alone starts from tensors
that are ready.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

import click
import torch

from benchmarks.gldv2 import write_tar
from benchmarks.measuring import in_turn, spread
from landmark_dag.photos.resizing import decoded, photo_sizes, resized, scaled, size_for
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.photos.tar_index import index_tar
from landmark_dag.retrieval.embedding import embed_photos
from landmark_dag.settings.retrieval import EmbeddingSettings
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.training.artifact import Model, bootstrap_model
from landmark_dag.training.inference import features_of


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
    """Print the photos a second of both ways, and their ratio."""
    ready = tensors(locations, settings)

    def network_alone() -> None:
        features_of(
            len(ready), ready.__getitem__, model.network, batch_size=settings.batch_size, device=torch.device(device)
        )

    ways = {"network alone": network_alone, "embed_photos": lambda: embed_photos(locations, model, settings, device)}
    network_alone()
    runs = in_turn(ways, repeats)
    rates = {name: [len(locations) / run.seconds for run in of_way] for name, of_way in runs.items()}
    for name, rate in rates.items():
        print(f"{name:14s} photos/s {spread(rate)}")
    print(f"ratio of medians {median(rates['embed_photos']) / median(rates['network alone']):.2f}")


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--backbone", default="mobilenetv2_100", show_default=True)
@click.option("--size", default=288, show_default=True, help="longer side, pixels")
@click.option("--photos", default=256, show_default=True)
@click.option("--batch-size", default=8, show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def main(folder: Path, backbone: str, size: int, photos: int, batch_size: int, repeats: int, device: str) -> None:
    """Print the photos a second of embedding and of the network alone, and their ratio."""
    settings = replace(EmbeddingSettings(), square_size=size, long_side=size, batch_size=batch_size)
    model = bootstrap_model(NetworkSettings(backbone=backbone), device)
    with tempfile.TemporaryDirectory() as place:
        tar = Path(place, "images_000.tar")
        write_tar(tar, (file.read_bytes() for file in sorted(folder.rglob("*.jpg"))[:photos]))
        compare(index_tar(tar), model, settings, repeats, device)


if __name__ == "__main__":
    main()
