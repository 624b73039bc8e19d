"""Explore-exploit graph traversal: a list grows along the strongest edges of the kNN graph."""

import heapq

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from landmark_dag.retrieval.reranking.graph import Neighbours, filled_up
from landmark_dag.retrieval.reranking.inputs import RerankingInput
from landmark_dag.settings.reranking import RerankingSettings, TraversalSettings
from landmark_dag.storage.ragged_lists import offsets_of


def rerank(lists: pl.DataFrame, photos: RerankingInput, settings: RerankingSettings) -> pl.DataFrame:
    """Return every query's list by graph traversal; see `traversed_lists`."""
    vectors = photos.vectors
    queries, index = vectors.neighbours(lists), vectors.index_graph(settings.index_neighbours)
    return vectors.lists(traversed_lists(queries, index, settings.insert.limit, settings.traversal))


def traversed_lists(
    queries: Neighbours, index: Neighbours, limit: int, settings: TraversalSettings
) -> NDArray[np.int32]:
    """Return every query's list int32 (q, limit) of index positions, -1 where the graph and its kNN list end.

    Starting at the query, each photo taken is explored: its neighbours become candidates, each with the largest
    similarity that it has to a photo taken. Then all candidates over the threshold are taken, best first, or only the
    best one if none is over it (ties: position ascending). (Chang, Yu, Wang, Krishnan and Volkovs, "Explore-Exploit
    Graph Traversal for Image Retrieval", CVPR 2019, algorithm 1; Yokoo et al.: no threshold, 100 neighbours.)
    """
    near, around = queries.first(settings.neighbours), index.first(settings.neighbours)
    lists = np.full((len(queries.positions), limit), -1, dtype=np.int32)
    lengths = np.zeros(len(lists), dtype=np.int64)
    _traverse(near, around, settings.threshold, lists, lengths)
    taken = np.arange(limit) < lengths[:, None]
    return filled_up(offsets_of(lengths), lists[taken], queries, len(index.positions), limit)


@njit(cache=True, nogil=True)
def _traverse(queries, index, threshold, lists, lengths):  # type: ignore[no-untyped-def]
    """Fill `lists` and `lengths`."""
    query_similarity, query_positions = queries
    index_similarity, index_positions = index
    taken = np.zeros(len(index_positions), np.bool_)
    for query in range(len(lists)):
        candidates = [(-np.float64(query_similarity[query, 0]), np.int64(query_positions[query, 0]))]
        for place in range(1, query_positions.shape[1]):
            if query_positions[query, place] >= 0:
                edge = (-np.float64(query_similarity[query, place]), np.int64(query_positions[query, place]))
                heapq.heappush(candidates, edge)
        end = 0
        while end < lists.shape[1] and len(candidates) > 0:
            start = end
            while end < lists.shape[1] and len(candidates) > 0:
                position = candidates[0][1]
                if taken[position]:
                    heapq.heappop(candidates)
                    continue
                if end > start and -candidates[0][0] <= threshold:
                    break
                heapq.heappop(candidates)
                taken[position] = True
                lists[query, end] = position
                end += 1
            for explored in lists[query, start:end]:
                for place in range(index_positions.shape[1]):
                    position = np.int64(index_positions[explored, place])
                    if position >= 0 and not taken[position]:
                        heapq.heappush(candidates, (-np.float64(index_similarity[explored, place]), position))
        lengths[query] = end
        for position in lists[query, :end]:
            taken[position] = False
