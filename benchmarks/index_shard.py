"""Indexing TARs of growing size: bytes read beside bytes there, seconds, and peak memory.

    python -m benchmarks.index_shard [--photos 2000 --photos 8000] [--threads 2] [--folder DIR]

Each TAR is indexed in a process of its own: its headers are read, then every photo once for its manifest.
"""

import tempfile
from pathlib import Path

import click
import numpy as np

from benchmarks.gldv2 import noise_photo, write_tar
from benchmarks.measuring import bytes_read, in_own_process, measured
from landmark_dag.photos.manifest import build_manifest
from landmark_dag.photos.tar_index import index_tar


def index(path: Path, threads: int) -> str:
    """Index one TAR in this process; return a line with what it took."""
    before, size = bytes_read("rchar"), path.stat().st_size
    run = measured(lambda: build_manifest(index_tar(path), threads))
    read = bytes_read("rchar") - before
    manifest, unreadable = run.result
    return (
        f"{manifest.height} photos, {unreadable.height} unreadable, {size / 1e6:.0f} MB: read {read / 1e6:.0f} MB "
        f"({read / size:.3f} of the TAR) in {run.seconds:.1f} s, {run.extra_bytes / 1e6:.0f} MB more memory"
    )


@click.command()
@click.option("--photos", multiple=True, type=int, default=(2_000, 8_000), help="photos of one TAR; may be repeated")
@click.option("--threads", default=2, show_default=True, help="threads that decode")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="where the TARs are written")
def main(photos: tuple[int, ...], threads: int, folder: Path | None) -> None:
    """Print one line for each TAR."""
    generator = np.random.default_rng(11)
    distinct = [noise_photo(generator, 800, 600) for _ in range(40)]
    for count in photos:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            path = Path(place, "images_000.tar")
            write_tar(path, (distinct[number % len(distinct)] for number in range(count)))
            print(in_own_process(index, path, threads), flush=True)


if __name__ == "__main__":
    main()
