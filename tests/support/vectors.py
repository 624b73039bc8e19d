"""Vectors of unit length."""

import numpy as np
from numpy.typing import NDArray

from landmark_dag.storage.embeddings import Embeddings


def normalised(vectors: NDArray) -> NDArray:
    """Return the rows divided by their length."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def unit_vectors(count: int, dimensions: int, seed: int | list[int], dtype: type = np.float16) -> NDArray:
    """Return vectors (count, dimensions) in random directions."""
    return normalised(np.random.default_rng(seed).normal(size=(count, dimensions))).astype(dtype)


def landmark_embeddings(
    split: str, landmarks: NDArray[np.integer], dimensions: int, noise: float = 1.0, model: str = "m"
) -> Embeddings:
    """Return an embedding for each number in `landmarks`, near the centre of its landmark: split00, split01, ..."""
    rng = np.random.default_rng([len(split), len(landmarks)])
    centres = np.random.default_rng(0).normal(size=(landmarks.max() + 1, dimensions))
    vectors = centres[landmarks] + noise * rng.normal(size=(len(landmarks), dimensions))
    ids = [f"{split}{number:02}" for number in range(len(landmarks))]
    return Embeddings(ids, normalised(vectors).astype(np.float16), model)
