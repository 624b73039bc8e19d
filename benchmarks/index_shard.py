"""Indexing TARs of growing size: bytes read against bytes there, seconds, and peak memory.

Run: python -m benchmarks.index_shard [--photos 2000 --photos 8000] [--folder DIR]
"""

import hashlib
import io
import json
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from PIL import Image

from landmark_dag.photos.manifest import build_manifest
from landmark_dag.photos.tar_index import index_tar


def write_tar(path: Path, photos: int) -> None:
    """Write a TAR of 800 x 600 JPEGs; forty distinct ones take turns."""
    rng = np.random.default_rng(11)
    contents = []
    for _ in range(40):
        coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).resize((800, 600))
        buffer = io.BytesIO()
        coarse.save(buffer, "JPEG", quality=92)
        contents.append(buffer.getvalue())
    with tarfile.open(path, "w") as tar:
        for number in range(photos):
            content = contents[number % len(contents)]
            name = hashlib.md5(str(number).encode()).hexdigest()[:16]
            info = tarfile.TarInfo(f"{name[0]}/{name[1]}/{name[2]}/{name}.jpg")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def bytes_read() -> int:
    """Bytes that this process has read so far by any read call, from the page cache or the disk."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


def measure(path: Path, threads: int) -> dict[str, float]:
    """Index one TAR in this process."""
    before, started = bytes_read(), time.perf_counter()
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    manifest, unreadable = build_manifest(index_tar(path), threads)
    return {
        "photos": manifest.height,
        "unreadable": unreadable.height,
        "tar_bytes": path.stat().st_size,
        "read_bytes": bytes_read() - before,
        "seconds": time.perf_counter() - started,
        "idle_mb": idle / 1e3,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


@click.command()
@click.option("--photos", multiple=True, type=int, default=(2_000, 8_000), help="photos of one TAR; may be repeated")
@click.option("--threads", default=2, help="threads that decode")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="where the TARs are written")
@click.option("--one", type=click.Path(path_type=Path), hidden=True)
def main(photos: tuple[int, ...], threads: int, folder: Path | None, one: Path | None) -> None:
    """Print one line for each TAR, each indexed in a process of its own."""
    if one is not None:
        click.echo(json.dumps(measure(one, threads)))
        return
    for count in photos:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            path = Path(place, "images_000.tar")
            write_tar(path, count)
            command = [sys.executable, "-m", "benchmarks.index_shard", "--one", str(path), "--threads", str(threads)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        click.echo(
            f"{found['photos']} photos, {found['tar_bytes'] / 1e6:.0f} MB: read {found['read_bytes'] / 1e6:.0f} MB "
            f"({found['read_bytes'] / found['tar_bytes']:.3f} of the TAR) in {found['seconds']:.1f} s, "
            f"peak memory {found['peak_mb']:.0f} MB (before: {found['idle_mb']:.0f} MB)"
        )


if __name__ == "__main__":
    main()
