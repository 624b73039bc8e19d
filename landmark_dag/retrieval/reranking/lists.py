"""Lists to re-rank as integers, with the votes that methods read; and back to a table.

Query q's list is `positions[offsets[q]:offsets[q + 1]]`, by rank; a position is a row of the index votes.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.retrieval.reranking.positions import positions_of
from landmark_dag.storage.ragged_lists import list_of_rows, offsets_of, ranks_in_lists
from landmark_dag.storage.schemas import RANKING

REASONS = ("retrieved", "same landmark", "inserted")
"""Why a photo has its rank; the position in this tuple is the reason's code."""


@dataclass(frozen=True, eq=False)
class Lists:
    """Every query's list as integers, with the votes that methods need and the ids to write a table of the lists."""

    query_ids: pl.Series
    index_ids: pl.Series
    offsets: NDArray[np.int64]
    positions: NDArray[np.int32]
    similarity: pl.Series
    query_landmarks: NDArray[np.int64]
    query_confidence: NDArray[np.float32]
    index_landmarks: NDArray[np.int64]
    index_confidence: NDArray[np.float32]

    def ranking(
        self,
        offsets: NDArray[np.int64],
        positions: NDArray[np.int32],
        source: NDArray[np.int64],
        reasons: NDArray[np.int8],
    ) -> pl.DataFrame:
        """Return the lists `positions` as schemas.RANKING; `source` is the row with the similarity, -1 for null."""
        lengths = np.diff(offsets)
        rows = pl.Series(source).set(pl.Series(source < 0), None)
        frame = pl.DataFrame(
            {
                "query_id": self.query_ids.gather(list_of_rows(lengths)),
                "rank": ranks_in_lists(lengths),
                "index_id": self.index_ids.gather(positions),
                "similarity": self.similarity.gather(rows),
                "reason": pl.Series(REASONS).gather(reasons),
            }
        )
        return RANKING.conform(frame, "ranking")


def read_lists(frame: pl.DataFrame, query_votes: pl.DataFrame, index_votes: pl.DataFrame) -> Lists:
    """Turn lists (query_id, rank, index_id, similarity) and votes into integers; see `sorted_ranking`."""
    frame = in_list_order(frame.select("query_id", "rank", "index_id", "similarity"))
    index_votes = index_votes.sort("image_id")
    positions = positions_of(frame["index_id"], index_votes["image_id"])
    _refuse_missing(positions, frame["index_id"], "Index photo")
    runs = frame["query_id"].rle().struct.unnest()
    votes_at = positions_of(runs["value"], query_votes["image_id"])
    _refuse_missing(votes_at, runs["value"], "Query")
    lists = Lists(
        runs["value"],
        index_votes["image_id"],
        offsets_of(runs["len"].to_numpy()),
        positions,
        frame["similarity"],
        query_votes["landmark_id"].to_numpy()[votes_at],
        query_votes["confidence"].to_numpy()[votes_at],
        index_votes["landmark_id"].to_numpy(),
        index_votes["confidence"].to_numpy(),
    )
    _refuse_bad_lists(lists, frame["rank"].to_numpy())
    return lists


def in_list_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` by query id, then rank. Stored tables already are, and to check is faster than to sort."""
    query, rank = frame["query_id"], frame["rank"]
    before, rank_before = query.shift(1), rank.shift(1)
    ascending = (before < query) | ((before == query) & (rank_before < rank))
    return frame if ascending.all() else frame.sort("query_id", "rank")


def check_lists(offsets: NDArray[np.int64], positions: NDArray[np.int32], queries: int, index_size: int) -> None:
    """Raise ValueError for lists that would make the compiled loops read outside their arrays."""
    if len(offsets) != queries + 1 or offsets[0] != 0 or offsets[-1] != len(positions):
        raise ValueError(f"{len(offsets)} offsets do not divide {len(positions)} rows among {queries} queries")
    if len(positions) and not 0 <= positions.min() <= positions.max() < index_size:
        raise ValueError(f"positions reach outside the index of {index_size} photos")


def _refuse_missing(positions: NDArray[np.int32], image_ids: pl.Series, what: str) -> None:
    """Raise InputError, naming the first of `image_ids` that has no position among the votes."""
    missing = np.flatnonzero(positions < 0)
    if len(missing):
        image_id = image_ids[int(missing[0])]
        raise InputError(f"{what} {image_id} has no vote; vote for every photo in a list.")


def _refuse_bad_lists(lists: Lists, ranks: NDArray[np.int32]) -> None:
    """Raise InputError for ranks that are not 1, 2, 3 ... and for a photo listed twice."""
    wrong = _first_bad_rank(lists.offsets, ranks)
    if wrong >= 0:
        query = lists.query_ids[_list_of(wrong, lists.offsets)]
        raise InputError(f"The ranks of query {query} are not 1, 2, 3 ...: one of them is {ranks[wrong]}.")
    repeat = _first_repeat(lists.offsets, lists.positions, len(lists.index_ids))
    if repeat >= 0:
        query = lists.query_ids[_list_of(repeat, lists.offsets)]
        image_id = lists.index_ids[int(lists.positions[repeat])]
        raise InputError(f"Query {query} lists index photo {image_id} twice; keep one of the two.")


def _list_of(row: int, offsets: NDArray[np.int64]) -> int:
    """Return the list that contains `row`."""
    return int(np.searchsorted(offsets, row, side="right")) - 1


@njit(cache=True, nogil=True)
def _first_bad_rank(offsets, ranks):  # type: ignore[no-untyped-def]
    """Return the first row whose rank is not its place in its list, from 1, or -1."""
    for query in range(len(offsets) - 1):
        for row in range(offsets[query], offsets[query + 1]):
            if ranks[row] != row - offsets[query] + 1:
                return row
    return -1


@njit(cache=True, nogil=True)
def _first_repeat(offsets, positions, index_size):  # type: ignore[no-untyped-def]
    """Return the first row whose photo is earlier in the same list, or -1."""
    last_query = np.full(index_size, -1, np.int32)
    for query in range(len(offsets) - 1):
        for row in range(offsets[query], offsets[query + 1]):
            if last_query[positions[row]] == query:
                return row
            last_query[positions[row]] = query
    return -1
