"""Diffusion on the mutual kNN graph of the index: similarity spreads along chains of near photos."""

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import cg

from landmark_dag.retrieval.reranking.graph import Neighbours, filled_up
from landmark_dag.retrieval.reranking.inputs import RerankingInput
from landmark_dag.settings.reranking import DiffusionSettings, RerankingSettings


def rerank(lists: pl.DataFrame, photos: RerankingInput, settings: RerankingSettings) -> pl.DataFrame:
    """Return every query's list by diffusion; see `diffused_lists`."""
    vectors = photos.vectors
    queries, index = vectors.neighbours(lists), vectors.index_graph(settings.index_neighbours)
    sources = diffusion_sources(queries, settings.diffusion)
    reach = vectors.search_around(sources, settings.diffusion.truncation).positions
    return vectors.lists(diffused_lists(queries, index, reach, settings.insert.limit, settings.diffusion))


def diffusion_sources(queries: Neighbours, settings: DiffusionSettings) -> NDArray[np.int32]:
    """Return the index positions, ascending, from which diffusion starts for any of `queries`."""
    starts = queries.positions[:, : settings.query_neighbours]
    return np.unique(starts[starts >= 0])


def diffused_lists(
    queries: Neighbours, index: Neighbours, reach: NDArray[np.int32], limit: int, settings: DiffusionSettings
) -> NDArray[np.int32]:
    """Return every query's list int32 (q, limit) of index positions, -1 where both diffusion and kNN list end.

    A photo's score is the sum, over the query's nearest photos, of similarity ** gamma times what diffuses from each
    of them to the photo. Photos with a score above 0 come first, by score descending (ties: position ascending), then
    the query's other neighbours. What diffuses from a photo solves (1 - alpha S) f = e over the photos within its
    reach; S is the affinity of the mutual graph, normalised on both sides. `reach` int32 (sources, t) holds, for each
    of `diffusion_sources`, its `settings.truncation` nearest photos, itself not included (-1: none). (Iscen et al.,
    "Efficient Diffusion on Region Manifolds", CVPR 2017; truncated, and from each index photo: Yang et al.,
    "Efficient Image Retrieval via Decoupling Diffusion into Online and Offline Processing", AAAI 2019.)
    """
    size = len(index.positions)
    starts = queries.positions[:, : settings.query_neighbours]
    weights = np.clip(queries.similarity[:, : starts.shape[1]], 0, None).astype(np.float64) ** settings.gamma
    sources = diffusion_sources(queries, settings)
    diffused = _diffused_from(sources, index, reach, settings)
    rows, columns = np.nonzero(starts >= 0)
    picked = np.searchsorted(sources, starts[rows, columns])
    first = sparse.csr_array((weights[rows, columns], (rows, picked)), shape=(len(starts), len(sources)))
    scores = sparse.csr_array(first @ diffused)
    query = np.repeat(np.arange(len(starts)), np.diff(scores.indptr))
    order = np.lexsort((scores.indices, -scores.data, query))
    order = order[scores.data[order] > 0]
    offsets = np.searchsorted(query[order], np.arange(len(starts) + 1))
    return filled_up(offsets, scores.indices[order].astype(np.int32), queries, size, limit)


def mutual_affinity(index: Neighbours, count: int, gamma: float) -> sparse.csr_array:
    """Return the sparse affinity (n, n): similarity ** gamma of photos that are among each other's `count` nearest."""
    size = len(index.positions)
    positions = index.positions[:, :count]
    rows, columns = np.nonzero((positions >= 0) & (index.similarity[:, :count] > 0))
    values = index.similarity[rows, columns].astype(np.float64) ** gamma
    affinity = sparse.csr_array((values, (rows, positions[rows, columns])), shape=(size, size))
    return sparse.csr_array(affinity.minimum(affinity.T))


def _laplacian(index: Neighbours, settings: DiffusionSettings) -> sparse.csr_array:
    """Return 1 - alpha D^-1/2 A D^-1/2 of the mutual affinity A with degrees D."""
    affinity = mutual_affinity(index, settings.neighbours, settings.gamma)
    degree = np.asarray(affinity.sum(axis=1))
    scale = sparse.diags_array(1 / np.sqrt(np.where(degree > 0, degree, 1)))
    return sparse.csr_array(sparse.eye_array(len(degree)) - settings.alpha * (scale @ affinity @ scale))


def _diffused_from(
    sources: NDArray[np.int32], index: Neighbours, reach: NDArray[np.int32], settings: DiffusionSettings
) -> sparse.csr_array:
    """Return what diffuses from each of `sources` to every photo, sparse (sources, n)."""
    laplacian = _laplacian(index, settings)
    reached, values = [], []
    for source, nearest in zip(sources, reach, strict=True):
        photos = np.concatenate([[source], nearest[nearest >= 0]])
        start = np.zeros(len(photos))
        start[0] = 1
        part = laplacian[photos][:, photos]
        solution, _ = cg(part, start, rtol=settings.tolerance, maxiter=settings.iterations)
        reached.append(photos)
        values.append(solution)
    lengths = [len(photos) for photos in reached]
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    data, photos = (np.concatenate([*parts, []]) for parts in (values, reached))
    return sparse.csr_array((data, photos.astype(np.int64), offsets), shape=(len(sources), len(index.positions)))
