"""The sort-step: index photos with the query's landmark come first. (Yokoo et al., CVPRW 2020, section 3.3.)"""

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from landmark_dag.retrieval.reranking.inputs import RerankingInput
from landmark_dag.retrieval.reranking.lists import Lists, check_lists, read_lists
from landmark_dag.settings.reranking import RerankingSettings
from landmark_dag.storage.ragged_lists import places_in_lists


def rerank(lists: pl.DataFrame, photos: RerankingInput, settings: RerankingSettings) -> pl.DataFrame:
    """Return `lists` after the sort-step, cut to the limit; see `sorted_ranking`."""
    ranking = sorted_ranking(lists, *photos.votes)
    return ranking.filter(pl.col("rank") <= settings.insert.limit)


def sorted_ranking(neighbours: pl.DataFrame, query_votes: pl.DataFrame, index_votes: pl.DataFrame) -> pl.DataFrame:
    """Return the sorted ranking (schemas.RANKING) of `neighbours` (schemas.NEIGHBOURS) under the votes.

    Rows can be in any order; lists go by rank. The result is sorted by query id, then rank. `query_votes` and
    `index_votes` (schemas.VOTES) can hold more photos than the lists do. Raises InputError for a photo without
    a vote, for ranks that are not 1, 2, 3 ... within a query, and for a photo listed twice by a query.
    """
    lists = read_lists(neighbours, query_votes, index_votes)
    order, same = sorted_lists(lists)
    return lists.ranking(lists.offsets, lists.positions[order], order, sorted_reasons(lists.offsets, same))


def sorted_lists(lists: Lists) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return `sort_step` of `lists`."""
    return sort_step(lists.offsets, lists.positions, lists.query_landmarks, lists.index_landmarks)


def sort_step(
    offsets: NDArray[np.int64],
    positions: NDArray[np.int32],
    query_landmarks: NDArray[np.int64],
    index_landmarks: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Put index photos of the query's landmark first in every list; the order is otherwise unchanged.

    Returns `order` int64 (len(positions),), such that `positions[order]` holds the sorted lists under the
    same offsets, and the number of photos of the query's landmark in every list, int64 (queries,).
    """
    check_lists(offsets, positions, len(query_landmarks), len(index_landmarks))
    order = np.empty(len(positions), dtype=np.int64)
    same = np.empty(len(offsets) - 1, dtype=np.int64)
    _sort_lists(offsets, positions, query_landmarks, index_landmarks, order, same)
    return order, same


def sorted_reasons(offsets: NDArray[np.int64], same: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return the reason's code, int8, of every row of sorted lists; the first same[q] rows of list q have moved."""
    lengths = np.diff(offsets)
    return (places_in_lists(lengths) < np.repeat(same, lengths)).astype(np.int8)


@njit(cache=True, nogil=True)
def _sort_lists(offsets, positions, query_landmarks, index_landmarks, order, same):  # type: ignore[no-untyped-def]
    """Fill `order` and `same`, one list at a time; see `sort_step`."""
    for query in range(len(offsets) - 1):
        start, end = offsets[query], offsets[query + 1]
        landmark = query_landmarks[query]
        write = start
        for row in range(start, end):
            if index_landmarks[positions[row]] == landmark:
                order[write] = row
                write += 1
        same[query] = write - start
        for row in range(start, end):
            if index_landmarks[positions[row]] != landmark:
                order[write] = row
                write += 1
