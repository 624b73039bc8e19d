"""The sizes of Google Landmarks v2, and random photos, votes and embeddings of its shape."""

import hashlib
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from landmark_dag.photos.download import WRITTEN_AT_ONCE

QUERIES = 117_577
INDEX = 761_757
TRAIN = 1_580_470
LANDMARKS = 81_313


def zipf_landmarks(
    count: int, generator: np.random.Generator, landmarks: int = LANDMARKS, exponent: float = 0.65
) -> NDArray[np.int64]:
    """Return the landmarks (count,) of photos: few landmarks have many photos (Zipf); with exponent 0 all alike."""
    weights = np.arange(1, landmarks + 1) ** -exponent
    drawn = np.searchsorted(np.cumsum(weights / weights.sum()), generator.random(count))
    return drawn.clip(max=landmarks - 1).astype(np.int64)


def distinct(row: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Replace repeated positions of a list of index photos until there are none."""
    while len(first := np.unique(row, return_index=True)[1]) < len(row):
        repeated = np.setdiff1d(np.arange(len(row)), first)
        row[repeated] = generator.integers(0, INDEX, len(repeated))
    return row


def image_ids(count: int, seed: int) -> pl.Series:
    """Return `count` distinct ids of 16 hexadecimal digits, ascending."""
    numbers = np.sort(np.random.default_rng(seed).choice(2**24, count, replace=False))
    return pl.Series([f"{number:016x}" for number in numbers.tolist()])


def spectrum(dimensions: int) -> NDArray[np.float64]:
    """Return the standard deviation (dimensions,) of each number of an embedding: a power law."""
    return np.arange(1, dimensions + 1) ** -0.4


def clustered_vectors(count: int, dimensions: int, clusters: int, seed: int) -> NDArray[np.float16]:
    """Return unit vectors (count, dimensions) around random centres, with a power-law spectrum."""
    deviations = spectrum(dimensions)
    centres = np.random.default_rng(0).normal(size=(clusters, dimensions)).astype(np.float32) * deviations
    generator = np.random.default_rng(seed)
    vectors = np.empty((count, dimensions), dtype=np.float16)
    for start in range(0, count, 65536):
        rows = min(65536, count - start)
        noise = generator.normal(size=(rows, dimensions)).astype(np.float32) * deviations
        some = centres[generator.integers(0, clusters, rows)] + noise * generator.uniform(0.3, 1.2, (rows, 1))
        vectors[start : start + rows] = some / np.linalg.norm(some, axis=1, keepdims=True)
    return vectors


def noise_photo(generator: np.random.Generator, width: int, height: int, quality: int = 92) -> bytes:
    """Return a JPEG of coarse noise."""
    coarse = Image.fromarray(generator.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    coarse.resize((width, height)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def write_tar(path: Path, photos: Iterable[bytes]) -> None:
    """Write JPEGs into a TAR with the names of the dataset, in pieces of the size in which a download is written.

    The size of the pieces decides how the page cache holds the file.
    """
    with path.open("wb", buffering=WRITTEN_AT_ONCE) as file, tarfile.open(fileobj=file, mode="w") as tar:
        for number, content in enumerate(photos):
            name = hashlib.md5(f"{path.name} {number}".encode()).hexdigest()[:16]
            info = tarfile.TarInfo(f"{name[0]}/{name[1]}/{name[2]}/{name}.jpg")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
