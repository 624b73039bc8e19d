"""Rank listed photos together with the photos that a landmark joins with the query, for several joins."""

from typing import NamedTuple

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from landmark_dag.retrieval.reranking.lists import Lists
from landmark_dag.storage.ragged_lists import offsets_of


class ListedPhotos(NamedTuple):
    """The lists, and every listed photo's own score, float64 (rows,)."""

    lists: Lists
    direct: NDArray[np.float64]


class Joining(NamedTuple):
    """How landmarks join a photo with a query, and the power of the joined score before it is added.

    With `sums` the joined score is the sum over landmarks of the product of both confidences; else it is the largest
    over landmarks of the smaller of both.
    """

    sums: bool
    power: float


def strongest_votes(votes: pl.DataFrame) -> pl.DataFrame:
    """Return every photo's row of the highest confidence."""
    return votes.sort("confidence", descending=True, maintain_order=True).unique("image_id", keep="first")


def ranked_through_landmarks(
    listed: ListedPhotos, query_votes: pl.DataFrame, index_votes: pl.DataFrame, joining: Joining, limit: int
) -> pl.DataFrame:
    """Rank listed photos and those joined with the query by a landmark, by direct + joined ** power.

    Returns schemas.RANKING with lists of at most `limit` photos. Votes have several rows per photo.
    """
    lists = listed.lists
    queries = _rows_of(query_votes, lists.query_ids)
    index = _rows_of(index_votes, lists.index_ids).sort("landmark_id", "row")
    landmarks, starts = np.unique(index["landmark_id"].to_numpy(), return_index=True)
    query_landmarks = queries["landmark_id"].to_numpy()
    group = np.minimum(np.searchsorted(landmarks, query_landmarks), max(len(landmarks) - 1, 0))
    known = landmarks[group] == query_landmarks if len(landmarks) else np.zeros(len(group), dtype=np.bool_)
    width = min(limit, len(lists.index_ids))
    found = np.empty((len(lists.query_ids), width), dtype=np.int32)
    source = np.empty(found.shape, dtype=np.int64)
    reasons = np.empty(found.shape, dtype=np.int8)
    counts = np.empty(len(found), dtype=np.int64)
    _rank_through_landmarks(
        _Rows(lists.offsets, lists.positions, listed.direct),
        _Rows(
            np.searchsorted(queries["row"].to_numpy(), np.arange(len(found) + 1)),
            np.where(known, group, -1),
            queries["confidence"].to_numpy(),
        ),
        _Rows(np.append(starts, len(index)), index["row"].to_numpy(), index["confidence"].to_numpy()),
        joining,
        len(lists.index_ids),
        (found, source, reasons, counts),
    )
    filled = np.arange(width) < counts[:, None]
    return lists.ranking(offsets_of(counts), found[filled], source[filled], reasons[filled])


class _Rows(NamedTuple):
    """Ragged lists of numbers (positions, or groups of landmarks), each with a score."""

    offsets: NDArray[np.int64]
    numbers: NDArray
    scores: NDArray[np.float64]


def _rows_of(votes: pl.DataFrame, image_ids: pl.Series) -> pl.DataFrame:
    """Return the votes of `image_ids` with confidence above 0 and their `row` in it, by row, then landmark.

    Confidence is float64: the product of two float32 confidences above 0 is then never 0.
    """
    rows = pl.DataFrame({"image_id": image_ids, "row": np.arange(len(image_ids), dtype=np.int32)})
    some = votes.filter(pl.col("confidence") > 0).with_columns(pl.col("confidence").cast(pl.Float64))
    return some.join(rows, on="image_id").sort("row", "landmark_id")


@njit(cache=True, nogil=True)
def _rank_through_landmarks(lists, queries, groups, joining, size, result):  # type: ignore[no-untyped-def]
    """Fill `result` query by query; the index has `size` photos."""
    offsets, positions, direct = lists
    score_offsets, score_groups, scores = queries
    group_offsets, members, member_scores = groups
    sums, power = joining
    joined, listed_row = np.zeros(size), np.full(size, -1, np.int64)
    candidates = np.empty(size, np.int32)
    found, source, reasons, counts = result
    for query in range(len(offsets) - 1):
        start, end = offsets[query], offsets[query + 1]
        listed_row[positions[start:end]] = np.arange(start, end)
        unlisted = 0
        for row in range(score_offsets[query], score_offsets[query + 1]):
            group = score_groups[row]
            if group < 0:
                continue
            for member in range(group_offsets[group], group_offsets[group + 1]):
                position = members[member]
                if joined[position] == 0 and listed_row[position] < 0:
                    candidates[unlisted] = position
                    unlisted += 1
                if sums:
                    joined[position] += scores[row] * member_scores[member]
                else:
                    joined[position] = max(joined[position], min(scores[row], member_scores[member]))
        everything = np.concatenate((positions[start:end], np.sort(candidates[:unlisted])))
        total = joined[everything] ** power
        total[: end - start] += direct[start:end]
        order = np.argsort(-total, kind="mergesort")[: found.shape[1]]
        counts[query] = len(order)
        for rank, place in enumerate(order):
            position = everything[place]
            found[query, rank] = position
            source[query, rank] = listed_row[position]
            reasons[query, rank] = 0 if joined[position] == 0 else 1 if listed_row[position] >= 0 else 2
        joined[everything] = 0
        listed_row[positions[start:end]] = -1
