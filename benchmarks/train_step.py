"""Photos a second of training, beside a plain timm loop with the same network, size, precision and workers.

    python -m benchmarks.train_step [PHOTOS] [--backbone NAME] [--size N] [--photos N] [--device cuda]

The baseline is timm's: its model with a linear classifier, its loader (PIL, worker processes) with random crop and
brightness, SGD, the same autocast and channels_last. Both train in turn in one process, on photos of one aspect ratio;
the first epoch of each turn warms up, the second is timed. Without PHOTOS, a folder, photos are rendered.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import click
import numpy as np
import timm
import torch
from PIL import Image
from timm.data import create_loader
from torch.nn import functional
from torch.utils.data import Dataset

from benchmarks.measuring import children_seconds, in_turn, spread
from landmark_dag.photos.resizing import photo_sizes
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.training import NetworkSettings, TrainingSettings
from landmark_dag.training.batches import aspect_buckets
from landmark_dag.training.data_loading import loading_threads
from landmark_dag.training.distributed import SINGLE
from landmark_dag.training.fit import Progress, fit
from landmark_dag.training.labelled_photos import LabelledPhotos
from landmark_dag.training.network import build_network, fast_in_bfloat16

CLASSES = 50
Turn = tuple[float, float, float]
"""Photos a second, the share of the time spent waiting for data, and processor seconds a photo, workers included.

Processor seconds are more reliable than the clock where other processes use the cores.
"""


class Files(Dataset):
    """Photos for timm's loader, which sets `transform`; `epochs` in a row, so that its workers are kept."""

    def __init__(self, photos: LabelledPhotos, epochs: int) -> None:
        self.photos, self.epochs = photos, epochs
        self.transform = None

    def __len__(self) -> int:
        return self.epochs * len(self.photos.locations)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        position = place % len(self.photos.locations)
        with Image.open(self.photos.locations[position].path) as image:
            return self.transform(image.convert("RGB")), int(self.photos.class_ids[position])


def alike(files: Sequence[Path], count: int, batch_size: int) -> tuple[LabelledPhotos, int]:
    """Return `count` photos of the commonest aspect ratio, labelled in turn, and the number of their size."""
    sizes = np.array([Image.open(file).size for file in files], np.int32)
    buckets = aspect_buckets(sizes)
    bucket = int(np.bincount(buckets).argmax())
    chosen = np.flatnonzero(buckets == bucket)[:count]
    chosen = chosen[: len(chosen) // batch_size * batch_size]
    places = [PhotoLocation(str(place), str(files[place]), 0, files[place].stat().st_size) for place in chosen]
    return LabelledPhotos(places, sizes[chosen], np.arange(len(chosen)) % CLASSES), bucket


def proposed(photos: LabelledPhotos, backbone: str, settings: TrainingSettings, device: str) -> Turn:
    """Train for two epochs with the project's loop; time the second."""
    ends: list[tuple[float, float]] = []
    network = build_network(NetworkSettings(backbone=backbone), seed=0)
    progress = Progress(on_epoch=lambda row: ends.append((time.perf_counter(), time.process_time())))
    history = fit(photos, network, settings, device, progress)
    seconds, cpu = np.subtract(*reversed(ends))
    return len(photos.locations) / seconds, history[1]["waiting"], cpu / len(photos.locations)


def baseline(
    photos: LabelledPhotos, backbone: str, size: tuple[int, int], batch_size: int, device: torch.device, workers: int
) -> Turn:
    """Train for two epochs with a plain timm loop; time the second."""
    loader = create_loader(
        Files(photos, epochs=2),
        input_size=(3, size[1], size[0]),
        batch_size=batch_size,
        is_training=True,
        scale=(0.64, 1.0),
        hflip=0.0,
        color_jitter=(0.1, 0.0, 0.0),
        interpolation="bicubic",
        num_workers=workers,
        pin_memory=device.type == "cuda",
        device=device,
        use_prefetcher=device.type == "cuda",
    )
    model = timm.create_model(backbone, num_classes=CLASSES).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-5)
    waiting, asked, begun, begun_cpu, workers_before = 0.0, 0.0, 0.0, 0.0, children_seconds()
    for step, (inputs, class_ids) in enumerate(loader):
        if step == len(loader) // 2:
            _finish(device)
            begun, begun_cpu = time.perf_counter(), time.process_time()
        elif begun:
            waiting += time.perf_counter() - asked
        inputs = inputs.to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast_in_bfloat16(device)):
            loss = functional.cross_entropy(model(inputs), class_ids.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        asked = time.perf_counter()
    _finish(device)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    del loader  # the processor time of its workers counts once they have ended
    cpu += (children_seconds() - workers_before) / 2
    return len(photos.locations) / seconds, waiting / seconds, cpu / len(photos.locations)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _rendered(folder: Path) -> list[Path]:
    """Render a small photo set; return its train photos."""
    from landmark_dag.demo.rendering import render_photos
    from landmark_dag.settings.demo import RenderingSettings

    render_photos(folder / "rendered", RenderingSettings())
    return sorted((folder / "rendered" / "train").rglob("*.jpg"))


@click.command()
@click.argument("folder", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--backbone", default="resnet18", show_default=True)
@click.option("--size", default=224, show_default=True, help="longer side, pixels")
@click.option("--photos", default=256, show_default=True)
@click.option("--batch-size", default=32, show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def main(
    folder: Path | None, backbone: str, size: int, photos: int, batch_size: int, repeats: int, device: str
) -> None:
    """Print the photos a second of both, the share of the time spent waiting for data, and the ratio."""
    on = torch.device(device)
    workers = loading_threads(on, SINGLE)[0]
    settings = TrainingSettings(square_size=size, long_side=size, epochs=2, batch_size=batch_size, checkpoint_steps=0)
    with tempfile.TemporaryDirectory() as scratch:
        files = sorted(folder.rglob("*.jpg")) if folder else _rendered(Path(scratch))
        some, bucket = alike(files, photos, batch_size)
        shown = photo_sizes(size, size)[bucket]
        print(f"{backbone}, {len(some.locations)} photos at {shown[0]} x {shown[1]}, {workers} workers, {device}")
        ways = {
            "baseline": lambda: baseline(some, backbone, shown, batch_size, on, workers),
            "proposed": lambda: proposed(some, backbone, settings, device),
        }
        turns = {name: [run.result for run in runs] for name, runs in in_turn(ways, repeats).items()}
    for name, found in turns.items():
        rates, waits, cpu = zip(*found, strict=True)
        print(
            f"{name} photos/s {spread(rates)}, waiting {100 * median(waits):.1f} % of the time, "
            f"{1000 * median(cpu):.1f} processor ms a photo"
        )
    rate, _, cpu = np.median(turns["proposed"], axis=0) / np.median(turns["baseline"], axis=0)
    print(f"ratio of medians {rate:.2f}, of photos a processor second {1 / cpu:.2f}")


if __name__ == "__main__":
    main()
