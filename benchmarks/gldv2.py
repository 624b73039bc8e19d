"""Sizes of Google Landmarks v2, and random data of its shape."""

import numpy as np
import polars as pl

QUERIES = 117_577
INDEX = 761_757
TRAIN = 1_580_470
LANDMARKS = 81_313


def zipf_landmarks(count: int, generator: np.random.Generator) -> np.ndarray:
    """Return the landmarks int64 (count,) of photos, of which few landmarks have many (Zipf, exponent 0.65)."""
    weights = np.arange(1, LANDMARKS + 1) ** -0.65
    return np.searchsorted(np.cumsum(weights / weights.sum()), generator.random(count)).astype(np.int64)


def distinct(row: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Replace repeated positions of a list of the index until there are none."""
    while len(first := np.unique(row, return_index=True)[1]) < len(row):
        repeated = np.setdiff1d(np.arange(len(row)), first)
        row[repeated] = generator.integers(0, INDEX, len(repeated))
    return row


def image_ids(count: int, seed: int) -> pl.Series:
    """Return `count` distinct ids of 16 hexadecimal digits, ascending."""
    numbers = np.sort(np.random.default_rng(seed).choice(2**24, count, replace=False))
    return pl.Series([f"{number:016x}" for number in numbers.tolist()])


def clustered_vectors(count: int, dimensions: int, clusters: int, seed: int) -> np.ndarray:
    """Return unit vectors float16 (count, dimensions) around random centres, with a power-law spectrum."""
    spectrum = np.arange(1, dimensions + 1) ** -0.4
    centres = np.random.default_rng(0).normal(size=(clusters, dimensions)).astype(np.float32) * spectrum
    generator = np.random.default_rng(seed)
    vectors = np.empty((count, dimensions), dtype=np.float16)
    for start in range(0, count, 65536):
        rows = min(65536, count - start)
        noise = generator.normal(size=(rows, dimensions)).astype(np.float32) * spectrum
        some = centres[generator.integers(0, clusters, rows)] + noise * generator.uniform(0.3, 1.2, (rows, 1))
        vectors[start : start + rows] = some / np.linalg.norm(some, axis=1, keepdims=True)
    return vectors
