"""Reads a second of photos inside TARs, beside reads of the same photos from extracted files.

    python -m benchmarks.read_photos [--reads 100000] [--photos 8000] [--folder DIR]

Photos are random bytes, 20 to 400 KB. Both ways read them in one random order, by 1 and by 4 threads: out of the page
cache, as a download and as reading left it there, and from the disk.
"""

import random
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import click
import numpy as np

from benchmarks.gldv2 import write_tar
from benchmarks.measuring import drop_from_page_cache, measured
from landmark_dag.photos.reading import read_bytes
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.photos.tar_index import index_tar

_TARS = 4
_ROUNDS = 3


def lay_out(folder: Path, photos: int) -> tuple[list[PhotoLocation], list[PhotoLocation]]:
    """Write the same photos into TARs and as files; return where both are, in one order."""
    generator = np.random.default_rng(7)
    inside: list[PhotoLocation] = []
    for number in range(_TARS):
        path = folder / f"images_{number:03d}.tar"
        write_tar(path, _random_photos(generator, photos // _TARS))
        inside += index_tar(path)
    extracted = [_extract(where, folder / "extracted") for where in inside]
    return inside, extracted


def _random_photos(generator: np.random.Generator, count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield generator.bytes(int(np.clip(generator.lognormal(11.3, 0.6), 20e3, 4e5)))


def _extract(where: PhotoLocation, folder: Path) -> PhotoLocation:
    name = where.image_id
    path = folder / name[0] / name[1] / name[2] / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(read_bytes(where.path, where.offset, where.size))
    return PhotoLocation(name, str(path), 0, where.size)


def read(locations: list[PhotoLocation], order: list[int], threads: int) -> None:
    """Read the photos in the given order."""

    def read_run(run: list[int]) -> None:
        for position in run:
            where = locations[position]
            read_bytes(where.path, where.offset, where.size)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read_run, [order[start::threads] for start in range(threads)]))


def files_of(locations: list[PhotoLocation]) -> list[Path]:
    """Return the files that hold the photos, each once."""
    return sorted({Path(where.path) for where in locations})


def cache(locations: list[PhotoLocation]) -> None:
    """Bring the files into the page cache by reading them from the disk, front to back."""
    for path in files_of(locations):
        drop_from_page_cache(path)
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass


def compare(name: str, inside: list[PhotoLocation], extracted: list[PhotoLocation], reads: int, cold: bool) -> None:
    """Read in both ways for some rounds, each way first in turn; print their median rates and the ratio."""
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
                    for path in files_of(locations):
                        drop_from_page_cache(path)
                times[way].append(measured(partial(read, locations, order, threads)).seconds)
        rate = {way: len(order) / median(seconds) for way, seconds in times.items()}
        print(
            f"{name}, {threads} threads, {len(order)} reads: TAR {rate['TAR']:.0f}/s, "
            f"files {rate['files']:.0f}/s, ratio {rate['TAR'] / rate['files']:.2f}"
        )


@click.command()
@click.option("--reads", default=100_000, show_default=True, help="reads of each way in each round")
@click.option("--photos", default=8_000, show_default=True, help="photos")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="where the photos are written")
def main(reads: int, photos: int, folder: Path | None) -> None:
    """Print the reads a second of both ways and their ratio."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        inside, extracted = lay_out(Path(place), photos)
        total = sum(where.size for where in inside)
        print(f"{len(inside)} photos, {total / 1e6:.0f} MB, mean {total / len(inside) / 1e3:.0f} KB")
        compare("page cache, as written", inside, extracted, reads, cold=False)
        for locations in (inside, extracted):
            cache(locations)
        compare("page cache, as read from disk", inside, extracted, reads, cold=False)
        compare("disk", inside, extracted, reads, cold=True)


if __name__ == "__main__":
    main()
