"""The insert-step: confident index photos of the query's landmark that kNN missed. (Yokoo et al., CVPRW 2020, 3.3.)"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.retrieval.reranking.inputs import RerankingInput
from landmark_dag.retrieval.reranking.lists import check_lists, read_lists
from landmark_dag.retrieval.reranking.sort import sorted_lists, sorted_reasons
from landmark_dag.settings.reranking import InsertSettings, RerankingSettings
from landmark_dag.storage.ragged_lists import offsets_of, places_in_lists


def rerank(lists: pl.DataFrame, photos: RerankingInput, settings: RerankingSettings) -> pl.DataFrame:
    """Return `lists` after sort-step and insert-step; see `inserted_ranking`."""
    return inserted_ranking(lists, *photos.votes, settings.insert)


def inserted_ranking(
    ranking: pl.DataFrame,
    query_votes: pl.DataFrame,
    index_votes: pl.DataFrame,
    settings: InsertSettings,
) -> pl.DataFrame:
    """Return the inserted ranking (schemas.RANKING) that follows the sorted `ranking` under the same votes.

    `ranking` can also be the neighbours themselves (schemas.NEIGHBOURS): lists that are not sorted are sorted first.
    Inserted rows have a null similarity; ties of confidence go by image id ascending. Raises InputError as
    `sort.sorted_ranking` does, and for a limit under 1 or a threshold that is not finite.
    """
    refuse_bad_settings(settings)
    lists = read_lists(ranking, query_votes, index_votes)
    order, same = sorted_lists(lists)
    offsets, positions, source = insert_step(
        SortedLists(lists.offsets, lists.positions[order], same),
        QueryVotes(lists.query_landmarks, lists.query_confidence),
        group_by_landmark(lists.index_landmarks, lists.index_confidence),
        settings,
    )
    # Inserted rows have the source -1: it selects the extra last entry.
    reasons = np.append(sorted_reasons(lists.offsets, same), np.int8(2))[source]
    return lists.ranking(offsets, positions, np.append(order, -1)[source], reasons)


def refuse_bad_settings(settings: InsertSettings) -> None:
    """Raise InputError for a limit under 1 and for a threshold that is not finite."""
    if settings.limit < 1:
        raise InputError(f"The limit is {settings.limit}; a list must keep at least one photo.")
    if not np.isfinite(settings.threshold):
        raise InputError(f"The threshold is {settings.threshold}; it must be a finite number.")


class LandmarkGroups(NamedTuple):
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
    place[members] = places_in_lists(np.diff(offsets))
    return LandmarkGroups(names, offsets, members, place, confidence)


class SortedLists(NamedTuple):
    """Lists after the sort-step: the first `same` int64 (queries,) photos of each have the query's landmark.

    offsets int64 (queries + 1,), positions int32 (rows,).
    """

    offsets: NDArray[np.int64]
    positions: NDArray[np.int32]
    same: NDArray[np.int64]


class QueryVotes(NamedTuple):
    """The landmark int64 (queries,) of every query by vote, and its confidence float32 (queries,)."""

    landmarks: NDArray[np.int64]
    confidence: NDArray[np.float32]


def insert_step(
    lists: SortedLists, queries: QueryVotes, groups: LandmarkGroups, settings: InsertSettings
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Insert confident index photos of the query's landmark after those in the sorted list, then cut it to the limit.

    An index photo outside the list is inserted if it has the query's landmark and query confidence + index confidence >
    threshold, all in float32. Inserted photos go by confidence descending (ties: position ascending). Returns offsets
    int64 (queries + 1), positions int32, and the row of every photo in the given lists, int64, or -1 if it was
    inserted. Time is linear in the lists, whatever the size of a landmark.
    """
    check_lists(lists.offsets, lists.positions, len(queries.landmarks), len(groups.members))
    lengths = np.diff(lists.offsets)
    longest_landmark = np.diff(groups.offsets).max(initial=0)
    width = int(min(settings.limit, lengths.max(initial=0) + longest_landmark))
    found = np.empty((len(lengths), width), dtype=np.int32)
    counts = np.empty(len(lengths), dtype=np.int64)
    confidence = queries.confidence.astype(np.float32, copy=False)
    _find_insertions(
        lists, groups.find(queries.landmarks), confidence, groups, np.float32(settings.threshold), found, counts
    )
    new_offsets = offsets_of(np.minimum(lengths + counts, width))
    new_positions = np.empty(new_offsets[-1], dtype=np.int32)
    source = np.empty(new_offsets[-1], dtype=np.int64)
    _splice(lists, found, counts, new_offsets, new_positions, source)
    return new_offsets, new_positions, source


@njit(cache=True, nogil=True)
def _find_insertions(  # type: ignore[no-untyped-def]
    lists, query_groups, query_confidence, groups, threshold, found, counts
):
    """Fill `found` (queries, limit) and `counts` with the insertions.

    The first `same` rows of a list are exactly the members of the group that it already holds. At most limit - same
    members are inserted and at most `same` are skipped, so only the group's first `limit` places matter.
    """
    offsets, positions, same = lists
    _, group_offsets, members, place, confidence = groups
    listed = np.zeros(found.shape[1], dtype=np.bool_)
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
def _splice(lists, found, counts, new_offsets, new_positions, source):  # type: ignore[no-untyped-def]
    """Write every new list up to its new length: the first `same` rows, the insertions, the other rows."""
    offsets, positions, same = lists
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
