"""Reading photos at their offset inside TARs, side by side with reading the same bytes from extracted files.

Run: python -m benchmarks.read_photos [--reads 100000] [--photos 8000] [--folder DIR]
"""

import os
import random
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from statistics import median

import click
import numpy as np

from landmark_dag.photos.download import WRITTEN_AT_ONCE
from landmark_dag.photos.reading import read_bytes
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.photos.tar_index import index_tar

_TARS = 4
_ROUNDS = 3


def lay_out(folder: Path, photos: int) -> tuple[list[PhotoLocation], list[PhotoLocation]]:
    """Write the same photos (random bytes, 20 to 400 KB) into TARs and as files; return both, by id."""
    rng = np.random.default_rng(7)
    inside: list[PhotoLocation] = []
    for number in range(_TARS):
        path = folder / f"images_{number:03d}.tar"
        # As a download writes it: the size of the pieces decides how the page cache holds the file.
        with path.open("wb", buffering=WRITTEN_AT_ONCE) as file, tarfile.open(fileobj=file, mode="w") as tar:
            for _ in range(photos // _TARS):
                name, content = rng.bytes(8).hex(), rng.bytes(int(np.clip(rng.lognormal(11.3, 0.6), 20e3, 4e5)))
                info = tarfile.TarInfo(f"{name[0]}/{name[1]}/{name[2]}/{name}.jpg")
                info.size = len(content)
                tar.addfile(info, BytesIO(content))
        inside += index_tar(path)
    extracted = [_extract(where, folder / "extracted") for where in inside]
    return inside, extracted


def _extract(where: PhotoLocation, folder: Path) -> PhotoLocation:
    name = where.image_id
    path = folder / name[0] / name[1] / name[2] / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(read_bytes(where.path, where.offset, where.size))
    return PhotoLocation(name, str(path), 0, where.size)


def seconds_for(locations: list[PhotoLocation], order: list[int], threads: int) -> float:
    """Read the photos in the given order."""

    def read_run(run: list[int]) -> None:
        for position in run:
            where = locations[position]
            read_bytes(where.path, where.offset, where.size)

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read_run, [order[start::threads] for start in range(threads)]))
    return time.perf_counter() - started


def read_all(locations: list[PhotoLocation]) -> None:
    """Bring the files into the page cache by reading them from the disk, front to back."""
    forget(locations)
    for path in sorted({where.path for where in locations}):
        with Path(path).open("rb") as file:
            while file.read(1 << 20):
                pass


def forget(locations: list[PhotoLocation]) -> None:
    """Drop the files from the page cache, so that the next read goes to the disk."""
    for path in {where.path for where in locations}:
        with Path(path).open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def compare(name: str, inside: list[PhotoLocation], extracted: list[PhotoLocation], reads: int, cold: bool) -> None:
    """Alternate the two ways for some rounds and print their median rates and the ratio."""
    shuffled = random.Random(3)
    for threads in (1, 4):
        times: dict[str, list[float]] = {"TAR": [], "files": []}
        for turn in range(_ROUNDS):
            order = [shuffled.randrange(len(inside)) for _ in range(reads)]
            if cold:
                order = shuffled.sample(range(len(inside)), min(reads, len(inside)))
            ways = [("TAR", inside), ("files", extracted)]
            for way, locations in ways if turn % 2 else ways[::-1]:
                if cold:
                    forget(locations)
                times[way].append(seconds_for(locations, order, threads))
        rate = {way: len(order) / median(measured) for way, measured in times.items()}
        click.echo(
            f"{name}, {threads} threads, {len(order)} reads: TAR {rate['TAR']:.0f}/s, "
            f"files {rate['files']:.0f}/s, ratio {rate['TAR'] / rate['files']:.2f}"
        )


@click.command()
@click.option("--reads", default=100_000, help="reads of each way in each round")
@click.option("--photos", default=8_000, help="distinct photos")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="where the photos are written")
def main(reads: int, photos: int, folder: Path | None) -> None:
    """Print reads a second from TARs and from files, out of the page cache and from the disk."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        inside, extracted = lay_out(Path(place), photos)
        total = sum(where.size for where in inside)
        click.echo(f"{len(inside)} photos, {total / 1e6:.0f} MB, mean {total / len(inside) / 1e3:.0f} KB")
        compare("page cache, as written", inside, extracted, reads, cold=False)
        for locations in (inside, extracted):
            read_all(locations)
        compare("page cache, as read from disk", inside, extracted, reads, cold=False)
        compare("disk", inside, extracted, reads, cold=True)


if __name__ == "__main__":
    main()
