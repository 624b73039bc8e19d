"""Sort-step and insert-step: re-ranking by the landmarks that queries and index photos were voted to show.

The steps work on ragged lists of integer positions: query q's list is `positions[offsets[q]:offsets[q + 1]]`,
nearest first, and a position is a row of the index votes. (Yokoo et al., CVPRW 2020, section 3.3.)
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.retrieval.reranking.positions import positions_of
from landmark_dag.settings.reranking import InsertSettings
from landmark_dag.storage.tables import RANKING

REASONS = ("retrieved", "same landmark", "inserted")
"""Why a photo stands where it does; the position in this tuple is the reason's code."""


@dataclass(frozen=True, eq=False)
class LandmarkGroups:
    """The index photos of every landmark, by confidence descending (ties: position ascending).

    landmarks int64 (g,) ascending; offsets int64 (g + 1,); members int32 (n,): positions, group after group;
    place int32 (n,): each position's place in its group; confidence float32 (n,) by position.
    """

    landmarks: NDArray[np.int64]
    offsets: NDArray[np.int64]
    members: NDArray[np.int32]
    place: NDArray[np.int32]
    confidence: NDArray[np.float32]

    def find(self, landmarks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the group of every landmark, int64; -1 where no index photo shows it."""
        if len(self.landmarks) == 0:
            return np.full(len(landmarks), -1, dtype=np.int64)
        group = np.minimum(np.searchsorted(self.landmarks, landmarks), len(self.landmarks) - 1)
        return np.where(self.landmarks[group] == landmarks, group, -1)


def group_by_landmark(landmarks: NDArray[np.int64], confidence: NDArray[np.float32]) -> LandmarkGroups:
    """Group index photos (landmark int64 (n,), confidence float32 (n,)) by landmark."""
    confidence = np.ascontiguousarray(confidence, dtype=np.float32)
    members = np.lexsort((-confidence, landmarks)).astype(np.int32)
    names, starts = np.unique(landmarks[members], return_index=True)
    offsets = np.append(starts, len(members)).astype(np.int64)
    place = np.empty(len(members), dtype=np.int32)
    place[members] = np.arange(len(members)) - np.repeat(offsets[:-1], np.diff(offsets))
    return LandmarkGroups(names, offsets, members, place, confidence)


def sort_step(
    offsets: NDArray[np.int64],
    positions: NDArray[np.int32],
    query_landmarks: NDArray[np.int64],
    index_landmarks: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Put index photos of the query's landmark first in every list, the order otherwise unchanged.

    Returns `order` int64 (len(positions),), such that `positions[order]` holds the sorted lists under the
    same offsets, and the number of photos of the query's landmark in every list, int64 (queries,).
    """
    _check_lists(offsets, positions, len(query_landmarks), len(index_landmarks))
    order = np.empty(len(positions), dtype=np.int64)
    same = np.empty(len(offsets) - 1, dtype=np.int64)
    _sort_lists(offsets, positions, query_landmarks, index_landmarks, order, same)
    return order, same


def insert_step(
    offsets: NDArray[np.int64],
    positions: NDArray[np.int32],
    same: NDArray[np.int64],
    query_landmarks: NDArray[np.int64],
    query_confidence: NDArray[np.float32],
    groups: LandmarkGroups,
    settings: InsertSettings,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Insert confident index photos of the query's landmark after those in the sorted list, and cut the list.

    `positions` and `same` are what `sort_step` left: `same[q]` photos of the query's landmark lead list q. An
    index photo outside the list is inserted if it has the query's landmark and query confidence + index
    confidence > threshold, all in float32; by confidence descending (ties: position ascending).
    Returns offsets int64 (queries + 1,), positions int32, and for every row its row in the given lists,
    int64, or -1 where it was inserted. Time is linear in the lists, whatever the size of a landmark.
    """
    _check_lists(offsets, positions, len(query_landmarks), len(groups.members))
    lengths = np.diff(offsets)
    longest_landmark = np.diff(groups.offsets).max(initial=0)
    width = int(min(settings.limit, lengths.max(initial=0) + longest_landmark))
    found = np.empty((len(lengths), width), dtype=np.int32)
    counts = np.empty(len(lengths), dtype=np.int64)
    _find_insertions(
        offsets,
        positions,
        same,
        groups.find(query_landmarks),
        query_confidence.astype(np.float32, copy=False),
        groups.offsets,
        groups.members,
        groups.place,
        groups.confidence,
        np.float32(settings.threshold),
        found,
        counts,
        np.zeros(width, dtype=np.bool_),
    )
    new_offsets = np.concatenate([[0], np.cumsum(np.minimum(lengths + counts, width))])
    new_positions = np.empty(new_offsets[-1], dtype=np.int32)
    source = np.empty(new_offsets[-1], dtype=np.int64)
    _splice(offsets, positions, same, found, counts, new_offsets, new_positions, source)
    return new_offsets, new_positions, source


def _check_lists(offsets: NDArray[np.int64], positions: NDArray[np.int32], queries: int, index_size: int) -> None:
    """Raise ValueError for lists that would make the compiled loops read outside their arrays."""
    if len(offsets) != queries + 1 or offsets[0] != 0 or offsets[-1] != len(positions):
        raise ValueError(f"{len(offsets)} offsets do not divide {len(positions)} rows among {queries} queries")
    if len(positions) and not 0 <= positions.min() <= positions.max() < index_size:
        raise ValueError(f"positions reach outside the index of {index_size} photos")


def sorted_ranking(neighbours: pl.DataFrame, query_votes: pl.DataFrame, index_votes: pl.DataFrame) -> pl.DataFrame:
    """Return the sorted ranking (tables.RANKING) of `neighbours` (tables.NEIGHBOURS) under the votes.

    Rows may come in any order; lists go by rank. The result is by query id, then rank. `query_votes` and
    `index_votes` (tables.VOTES) may hold more photos than the lists do. Raises InputError for a photo without
    a vote, for ranks that are not 1, 2, 3 ... within a query, and for a photo listed twice by a query.
    """
    lists = read_lists(neighbours, query_votes, index_votes)
    order, same = sort_step(lists.offsets, lists.positions, lists.query_landmarks, lists.index_landmarks)
    return lists.ranking(lists.offsets, lists.positions[order], order, _reasons(lists.offsets, same))


def inserted_ranking(
    ranking: pl.DataFrame,
    query_votes: pl.DataFrame,
    index_votes: pl.DataFrame,
    settings: InsertSettings,
) -> pl.DataFrame:
    """Return the inserted ranking (tables.RANKING) that follows the sorted `ranking` under the same votes.

    `ranking` may also be the neighbours themselves (tables.NEIGHBOURS): the lists are sorted first where they
    are not. Inserted rows have a null similarity; ties of confidence go by image id ascending. Raises
    InputError as `sorted_ranking` does, and for a limit under 1 or a threshold that is no number.
    """
    lists = read_lists(ranking, query_votes, index_votes)
    order, same = sort_step(lists.offsets, lists.positions, lists.query_landmarks, lists.index_landmarks)
    offsets, positions, source = insert_step(
        lists.offsets,
        lists.positions[order],
        same,
        lists.query_landmarks,
        lists.query_confidence,
        group_by_landmark(lists.index_landmarks, lists.index_confidence),
        settings,
    )
    # The extra last entry answers for inserted rows, whose source is -1.
    reasons = np.append(_reasons(lists.offsets, same), np.int8(2))[source]
    return lists.ranking(offsets, positions, np.append(order, -1)[source], reasons)


@dataclass(frozen=True, eq=False)
class Lists:
    """Every query's list as integers, with the votes that the steps need and the ids to write it back."""

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
        """Return the lists `positions` as tables.RANKING; `source` is a row's similarity, -1 for none."""
        lengths = np.diff(offsets)
        rows = pl.Series(source).set(pl.Series(source < 0), None)
        frame = pl.DataFrame(
            {
                "query_id": self.query_ids.gather(np.repeat(np.arange(len(lengths)), lengths)),
                "rank": (np.arange(len(positions)) - np.repeat(offsets[:-1], lengths) + 1).astype(np.int32),
                "index_id": self.index_ids.gather(positions),
                "similarity": self.similarity.gather(rows),
                "reason": pl.Series(REASONS).gather(reasons),
            }
        )
        return RANKING.conform(frame, "ranking")


def read_lists(frame: pl.DataFrame, query_votes: pl.DataFrame, index_votes: pl.DataFrame) -> Lists:
    """Turn lists (query_id, rank, index_id, similarity) and votes into integers; see `sorted_ranking`."""
    frame = _in_order(frame.select("query_id", "rank", "index_id", "similarity"))
    index_votes = index_votes.sort("image_id")
    positions = positions_of(frame["index_id"], index_votes["image_id"])
    _refuse_missing(positions, frame["index_id"], "Index photo")
    runs = frame["query_id"].rle().struct.unnest()
    votes_at = positions_of(runs["value"], query_votes["image_id"])
    _refuse_missing(votes_at, runs["value"], "Query")
    lists = Lists(
        runs["value"],
        index_votes["image_id"],
        np.concatenate([[0], np.cumsum(runs["len"].to_numpy(), dtype=np.int64)]),
        positions,
        frame["similarity"],
        query_votes["landmark_id"].to_numpy()[votes_at],
        query_votes["confidence"].to_numpy()[votes_at],
        index_votes["landmark_id"].to_numpy(),
        index_votes["confidence"].to_numpy(),
    )
    _refuse_bad_lists(lists, frame["rank"].to_numpy())
    return lists


def _in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` by query id, then rank; a stored one already is, and comparing is cheaper than sorting."""
    query, rank = frame["query_id"], frame["rank"]
    before, rank_before = query.shift(1), rank.shift(1)
    ascending = (before < query) | ((before == query) & (rank_before < rank))
    return frame if ascending.all() else frame.sort("query_id", "rank")


def _refuse_missing(positions: NDArray[np.int32], image_ids: pl.Series, what: str) -> None:
    """Raise InputError, naming the first of `image_ids` that has no position among the votes."""
    missing = np.flatnonzero(positions < 0)
    if len(missing):
        image_id = image_ids[int(missing[0])]
        raise InputError(f"{what} {image_id} has no vote; vote for every photo that stands in a list.")


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
    """Return the list in which `row` lies."""
    return int(np.searchsorted(offsets, row, side="right")) - 1


def _reasons(offsets: NDArray[np.int64], same: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return the reason's code of every row of sorted lists, of which list q's first same[q] were moved."""
    lengths = np.diff(offsets)
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return (place < np.repeat(same, lengths)).astype(np.int8)


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


@njit(cache=True, nogil=True)
def _find_insertions(  # type: ignore[no-untyped-def]
    offsets,
    positions,
    same,
    query_groups,
    query_confidence,
    group_offsets,
    members,
    place,
    confidence,
    threshold,
    found,
    counts,
    listed,
):
    """Fill `found` (queries, limit) and `counts` with the insertions; `listed` is scratch, all False.

    Members of the group that the list already holds are exactly its leading `same` rows. At most limit - same
    members are inserted and `same` are skipped, so only the group's first `limit` places matter.
    """
    for query in range(len(query_groups)):
        counts[query] = 0
        group = query_groups[query]
        room = found.shape[1] - same[query]
        if group < 0 or room <= 0:
            continue
        start = offsets[query]
        for row in range(start, start + same[query]):
            if place[positions[row]] < len(listed):
                listed[place[positions[row]]] = True
        for member in range(group_offsets[group], group_offsets[group + 1]):
            position = members[member]
            if counts[query] == room or not query_confidence[query] + confidence[position] > threshold:
                break
            if not listed[member - group_offsets[group]]:
                found[query, counts[query]] = position
                counts[query] += 1
        for row in range(start, start + same[query]):
            if place[positions[row]] < len(listed):
                listed[place[positions[row]]] = False


@njit(cache=True, nogil=True)
def _splice(offsets, positions, same, found, counts, new_offsets, new_positions, source):  # type: ignore[no-untyped-def]
    """Write every new list: the leading `same` rows, the insertions, the other rows, up to its new length."""
    for query in range(len(counts)):
        write = new_offsets[query]
        end = new_offsets[query + 1]
        row = offsets[query]
        for _ in range(min(same[query], end - write)):
            new_positions[write], source[write] = positions[row], row
            write, row = write + 1, row + 1
        for inserted in range(min(counts[query], end - write)):
            new_positions[write], source[write] = found[query, inserted], -1
            write += 1
        while write < end:
            new_positions[write], source[write] = positions[row], row
            write, row = write + 1, row + 1


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
    """Return the first row whose photo stands earlier in the same list, or -1."""
    last_query = np.full(index_size, -1, np.int32)
    for query in range(len(offsets) - 1):
        for row in range(offsets[query], offsets[query + 1]):
            if last_query[positions[row]] == query:
                return row
            last_query[positions[row]] = query
    return -1
