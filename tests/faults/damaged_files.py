"""Reads stored vectors with a flipped bit: `python -m tests.faults.damaged_files N SEED`.

A reader may accept the file (the bit may be part of a vector) or raise InputError. It needs a process of its own: a
pointer outside of a memory-mapped file ends the process.
"""

import json
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from landmark_dag.errors import InputError
from landmark_dag.matching.feature_files import read_local_features, write_local_features
from landmark_dag.matching.features import PhotoFeatures, gather
from landmark_dag.storage.embeddings import Embeddings, read_embeddings, write_embeddings

COUNT = 20


def _embeddings(path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(COUNT, 8)).astype(np.float16)
    write_embeddings(path, Embeddings([f"photo{number:02}" for number in range(COUNT)], vectors, "m"), "v")


def _local_features(path: Path) -> None:
    generator = np.random.default_rng(0)
    photos = []
    for number in range(COUNT):
        floats = generator.normal(size=(2, number % 4, 2)).astype(np.float32)
        photos.append(PhotoFeatures(*floats, generator.integers(-99, 99, (number % 4, 128)).astype(np.int8)))
    write_local_features(path, [gather([f"photo{number:02}" for number in range(COUNT)], photos)], "v")


def _read_embeddings(path: Path) -> None:
    embeddings = read_embeddings(path)
    embeddings.vectors.copy()


def _read_local_features(path: Path) -> None:
    features = read_local_features(path)
    for position in range(len(features.image_ids)):
        photo = features.photo(position)
        for rows in (photo.keypoints, photo.orientations, photo.descriptors):
            rows.copy()


KINDS: dict[str, tuple[str, Callable[[Path], None], Callable[[Path], object]]] = {
    "embeddings": ("0000.arrow", _embeddings, _read_embeddings),
    "local features": ("local_features.arrow", _local_features, _read_local_features),
}


def main(count: int, seed: int) -> None:
    """Flip one bit of each kind of file, `count` times; print how many were tried and refused, by kind, as JSON."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, (name, write, read) in KINDS.items():
            path, chance, refused = Path(folder, name), random.Random(seed), 0
            write(path)
            whole = path.read_bytes()
            for _ in range(count):
                damaged = bytearray(whole)
                damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
                path.unlink()
                path.write_bytes(damaged)
                try:
                    read(path)
                except InputError as error:
                    assert str(path) in str(error), error
                    refused += 1
            found[kind] = {"tried": count, "refused": refused}
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
