"""alpha query expansion: move a query towards its nearest index photos, then search again."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from landmark_dag.retrieval.knn.exact import Vectors
from landmark_dag.retrieval.reranking.inputs import RerankingInput
from landmark_dag.settings.reranking import RerankingSettings

BLOCK = 8192
"""How many vectors are expanded at a time: about 32 MB for 512 dimensions. Results do not depend on it."""


def rerank(lists: pl.DataFrame, photos: RerankingInput, settings: RerankingSettings) -> pl.DataFrame:
    """Return the nearest index photos of every expanded query; see `alpha_query_expansion`."""
    vectors, alpha, count = photos.vectors, settings.expansion.alpha, settings.expansion.count
    near = vectors.neighbours(lists).first(count)
    queries = vectors.queries.vectors.astype(np.float32)
    moved = alpha_query_expansion(queries, vectors.index.vectors, near.positions, near.similarity, alpha, count)
    return vectors.lists(vectors.search(moved, settings.insert.limit).positions)


def alpha_query_expansion(
    queries: Vectors,
    index: Vectors,
    neighbours: NDArray[np.integer],
    similarities: NDArray[np.floating],
    alpha: float,
    count: int,
) -> NDArray[np.float32]:
    """Return float32 (q, d) of unit norm: each query plus its `count` nearest index vectors, weighted.

    `queries` (q, d) and `index` (n, d) have unit norm and may be memory-mapped. `neighbours` (q, k) are positions
    in the index, nearest first (-1: none), and `similarities` (q, k) theirs; with k < count all k are added. A
    neighbour has the weight similarity ** alpha, or 0 if its similarity is negative; the query has the weight 1.
    (Radenović, Tolias and Chum, TPAMI 2019, section 3.4; alpha = 0 is the average query expansion of Chum et al.,
    ICCV 2007.)
    """
    return expanded_vectors(queries, index, neighbours, similarities, alpha, count)


def expanded_vectors(
    vectors: Vectors,
    index: Vectors,
    neighbours: NDArray[np.integer],
    similarities: NDArray[np.floating],
    alpha: float,
    count: int,
) -> NDArray[np.float32]:
    """Return `vectors` plus their first `count` `neighbours`, weighted and normalised, a block at a time.

    Neighbours are added rank by rank, so that a row's sum does not depend on its block.
    """
    if neighbours.shape != similarities.shape or len(neighbours) != len(vectors):
        raise ValueError(f"neighbours {neighbours.shape} and similarities {similarities.shape} do not fit")
    expanded = np.empty(vectors.shape, dtype=np.float32)
    for first in range(0, len(vectors), BLOCK):
        rows = slice(first, first + BLOCK)
        total = vectors[rows].astype(np.float32)
        weights = np.clip(similarities[rows, :count], 0, None).astype(np.float32) ** np.float32(alpha)
        weights[(neighbours[rows, :count] < 0) | (similarities[rows, :count] < 0)] = 0
        for rank in range(weights.shape[1]):
            total += weights[:, rank, None] * index[neighbours[rows, rank]].astype(np.float32)
        expanded[rows] = total / np.linalg.norm(total, axis=1, keepdims=True)
    return expanded
