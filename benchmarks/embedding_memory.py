"""Seconds and peak memory of embedding 10,000, 30,000 and 100,000 photos: memory must not grow with their number.

    python -m benchmarks.embedding_memory [--photos 10000 --photos 30000 ...]

The photos are noise of 64 x 64 pixels in a TAR, the network is tiny, and each number has a process of its own.
"""

import itertools
import tempfile
from pathlib import Path

import click
import numpy as np

from benchmarks.gldv2 import noise_photo, write_tar
from benchmarks.measuring import in_own_process, measured
from landmark_dag.photos.tar_index import index_tar
from landmark_dag.retrieval.embedding import embed_photos
from landmark_dag.settings.retrieval import EmbeddingSettings
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.training.artifact import bootstrap_model

_SIDE, _DISTINCT = 64, 100
"""Pixels of a photo's side, and how many photos differ."""


def grow(count: int) -> str:
    """Embed `count` tiny photos; return a line with seconds and memory."""
    settings = EmbeddingSettings(square_size=_SIDE, long_side=_SIDE, scales=(1.0,), smallest_side=32)
    model = bootstrap_model(NetworkSettings(backbone="test_resnet"))
    generator = np.random.default_rng(0)
    photos = [noise_photo(generator, _SIDE, _SIDE) for _ in range(min(count, _DISTINCT))]
    with tempfile.TemporaryDirectory() as place:
        tar = Path(place, "images_000.tar")
        write_tar(tar, itertools.islice(itertools.cycle(photos), count))
        locations = index_tar(tar)
        run = measured(lambda: embed_photos(locations, model, settings))
    vectors = run.result.vectors.nbytes / 2**20
    return f"{count:7} photos: {run.seconds:6.1f} s, {run.extra_bytes / 2**20:6.0f} MB more, vectors {vectors:.0f} MB"


@click.command()
@click.option("--photos", multiple=True, type=int, default=(10_000, 30_000, 100_000), help="may be repeated")
def main(photos: tuple[int, ...]) -> None:
    """Print one line for each number of photos."""
    for count in photos:
        print(in_own_process(grow, count), flush=True)


if __name__ == "__main__":
    main()
