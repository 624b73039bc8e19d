"""Small random graphs of neighbours for the tests of label-blind re-ranking."""

import numpy as np

from landmark_dag.retrieval.reranking.graph import Neighbours
from tests.support.vectors import normalised


def unit(rows: int, seed: int, dimensions: int = 4) -> np.ndarray:
    """Vectors of unit norm about a few centres."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(5, dimensions))[rng.integers(0, 5, rows)] + 0.5 * rng.normal(size=(rows, dimensions))
    return normalised(vectors)


def neighbours(queries: np.ndarray, index: np.ndarray, k: int, *, of_itself: bool = False) -> Neighbours:
    """The k nearest by inner product, ties by position; never itself, where the index is searched with itself."""
    similarity = (queries @ index.T).astype(np.float32)
    if of_itself:
        np.fill_diagonal(similarity, -np.inf)
        k = min(k, len(index) - 1)
    positions = np.argsort(-similarity, axis=1, kind="stable")[:, :k].astype(np.int32)
    return Neighbours(np.take_along_axis(similarity, positions, axis=1), positions)
