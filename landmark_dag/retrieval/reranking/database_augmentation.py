"""Database augmentation: move every index photo towards its nearest others, then search with the queries."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from landmark_dag.retrieval.knn.exact import Vectors, nearest
from landmark_dag.retrieval.reranking.inputs import RerankingInput
from landmark_dag.retrieval.reranking.query_expansion import expanded_vectors
from landmark_dag.settings.reranking import RerankingSettings


def rerank(lists: pl.DataFrame, photos: RerankingInput, settings: RerankingSettings) -> pl.DataFrame:
    """Return the nearest augmented index photos of every query; `lists` are not read. See `database_augmentation`."""
    vectors = photos.vectors
    near = vectors.index_graph(settings.expansion.count)
    augmented = database_augmentation(vectors.index.vectors, near.positions, near.similarity, settings.expansion.alpha)
    queries = vectors.queries.vectors.astype(np.float32)
    return vectors.lists(nearest(queries, augmented, settings.insert.limit, device=vectors.device)[1])


def database_augmentation(
    index: Vectors, neighbours: NDArray[np.integer], similarities: NDArray[np.floating], alpha: float
) -> NDArray[np.float32]:
    """Return float32 (n, d) of unit norm: each index vector plus its nearest others, weighted as in expansion.

    `neighbours` (n, count) are positions in the same `index` (n, d), and `similarities` (n, count) theirs; where
    a vector is among its own neighbours it is not added again. (Turcot and Lowe, ICCV workshops 2009, with
    the weights of `alpha_query_expansion`.)
    """
    itself = neighbours == np.arange(len(index))[:, None]
    return expanded_vectors(index, index, np.where(itself, -1, neighbours), similarities, alpha, neighbours.shape[1])
