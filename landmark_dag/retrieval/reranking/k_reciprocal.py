"""k-reciprocal re-ranking: the distance of two photos depends on the overlap of their reciprocal neighbours."""

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from landmark_dag.errors import InputError
from landmark_dag.retrieval.reranking.graph import Neighbours
from landmark_dag.retrieval.reranking.inputs import RerankingInput
from landmark_dag.settings.reranking import ReciprocalSettings, RerankingSettings


def rerank(lists: pl.DataFrame, photos: RerankingInput, settings: RerankingSettings) -> pl.DataFrame:
    """Return every query's list by k-reciprocal neighbours; see `reciprocal_lists`."""
    vectors = photos.vectors
    queries, index = vectors.neighbours(lists), vectors.index_graph(settings.index_neighbours)
    return vectors.lists(reciprocal_lists(queries, index, settings.insert.limit, settings.reciprocal))


def reciprocal_lists(
    queries: Neighbours, index: Neighbours, limit: int, settings: ReciprocalSettings
) -> NDArray[np.int32]:
    """Return every query's list int32 (q, limit): its neighbours, sorted by Jaccard and original distance; -1 for none.

    The final distance is (1 - w) Jaccard distance + w (1 - similarity); ties keep the order of the neighbours. A
    query's list depends on no other query: only index photos are members of the sets. A member of a photo's set that
    is not among its stored neighbours has the distance of the farthest of them. (Zhong, Zheng, Cao and Li,
    "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.) Raises InputError when
    `index` holds fewer than k1 neighbours although there are more photos.
    """
    size, stored = index.positions.shape
    if stored < min(settings.k1, size - 1):
        raise InputError(f"k1 is {settings.k1} with {stored} neighbours stored; lower k1.")
    encoded = _encoded(index, np.arange(size), index, settings.k1)
    of_queries = _encoded(queries, np.full(len(queries.positions), -1), index, settings.k1)
    listed = np.unique(queries.positions[queries.positions >= 0])
    around = np.column_stack([listed, index.positions[listed, : settings.k2 - 1]])
    photos = sparse.csr_array(_summed(encoded, around) / settings.k2)
    near = _summed(encoded, queries.positions[:, : settings.k2 - 1])
    expanded = sparse.csr_array((of_queries + near) / settings.k2)
    distance = np.full(queries.positions.shape, np.inf)
    _final_distances(
        (expanded.indptr, expanded.indices, expanded.data),
        (photos.indptr, photos.indices, photos.data),
        np.searchsorted(listed, np.maximum(queries.positions, 0)),
        queries,
        settings.original_weight,
        size,
        distance,
    )
    order = np.argsort(distance, axis=1, kind="stable")[:, :limit]
    lists = np.full((len(distance), limit), -1, dtype=np.int32)
    lists[:, : order.shape[1]] = np.take_along_axis(queries.positions, order, axis=1)
    return lists


def _summed(encoded: sparse.csr_array, neighbours: NDArray[np.int32]) -> sparse.csr_array:
    """Return the sum of the encodings of each row of `neighbours` (m, k), sparse (m, n); -1 adds nothing."""
    rows, columns = np.nonzero(neighbours >= 0)
    ones = np.ones(len(rows))
    picked = sparse.csr_array((ones, (rows, neighbours[rows, columns])), shape=(len(neighbours), encoded.shape[0]))
    return sparse.csr_array(picked @ encoded)


def _encoded(photos: Neighbours, own: NDArray[np.int64], index: Neighbours, k1: int) -> sparse.csr_array:
    """Return exp(-distance) of the expanded reciprocal set of each of `photos`, sparse (m, n), rows summing to 1.

    `own` is each photo's position in the index, -1 for a query.
    """
    size = len(index.positions)
    offsets, members, weights = _encode(photos, own, index, k1, round(k1 / 2))
    return sparse.csr_array((weights, members, offsets), shape=(len(own), size))


@njit(cache=True, nogil=True)
def _reciprocal(own, neighbours, index, k, found):  # type: ignore[no-untyped-def]
    """Write the photo itself, then those of its k nearest that have it among their k nearest; return how many.

    A query is among the k nearest of an index photo if the k-th of them is not more similar to that photo.
    """
    similarity, positions = neighbours
    index_similarity, index_positions = index
    count = 0
    if own >= 0:
        found[count] = own
        count += 1
    for place in range(min(k, len(positions))):
        other = positions[place]
        if other < 0:
            break
        last = min(k, index_positions.shape[1]) - 1
        mutual = own < 0 and (index_positions[other, last] < 0 or similarity[place] >= index_similarity[other, last])
        for back in range(last + 1):
            mutual = mutual or (own >= 0 and index_positions[other, back] == own)
        if mutual:
            found[count] = other
            count += 1
    return count


@njit(cache=True, nogil=True)
def _encode(photos, own, index, k, half):  # type: ignore[no-untyped-def]
    """Return offsets, members and weights of the expanded reciprocal sets."""
    similarity, positions = photos
    index_similarity, index_positions = index
    size = len(index_positions)
    in_set, near, similarity_to = np.full(size, -1, np.int64), np.full(size, -1, np.int64), np.zeros(size)
    offsets = np.zeros(len(own) + 1, np.int64)
    members, weights = np.empty(1024, np.int32), np.empty(1024, np.float64)
    core, wider = np.empty(k + 1, np.int64), np.empty(half + 1, np.int64)
    largest = (k + 1) * (half + 2)
    for photo in range(len(own)):
        start = offsets[photo]
        if start + largest > len(members):
            members = np.concatenate((members, np.empty(len(members) + largest, np.int32)))
            weights = np.concatenate((weights, np.empty(len(weights) + largest, np.float64)))
        row = similarity[photo], positions[photo]
        count = _reciprocal(own[photo], row, index, k, core)
        members[start : start + count] = core[:count]
        end = start + count
        for member in core[:count]:
            in_set[member] = photo
        for member in core[:count]:
            part = _reciprocal(member, (index_similarity[member], index_positions[member]), index, half, wider)
            shared = 0
            for other in wider[:part]:
                shared += int(np.any(core[:count] == other))
            if 3 * shared > 2 * part:
                for other in wider[:part]:
                    if in_set[other] != photo:
                        in_set[other] = photo
                        members[end] = other
                        end += 1
        farthest = 1.0
        for place in range(positions.shape[1]):
            if positions[photo, place] >= 0:
                near[positions[photo, place]] = photo
                farthest = similarity_to[positions[photo, place]] = similarity[photo, place]
        for row_member in range(start, end):
            member = members[row_member]
            known = similarity_to[member] if near[member] == photo else farthest
            weights[row_member] = np.exp((1.0 if member == own[photo] else known) - 1.0)
        weights[start:end] /= max(weights[start:end].sum(), 1e-12)
        offsets[photo + 1] = end
    return offsets, members[: offsets[-1]], weights[: offsets[-1]]


@njit(cache=True, nogil=True)
def _final_distances(expanded, photos, rows, queries, weight, size, distance):  # type: ignore[no-untyped-def]
    """Fill `distance` of every listed photo of an index of `size` photos."""
    similarity, positions = queries
    of_query = np.zeros(size)
    query_offsets, query_members, query_weights = expanded
    offsets, members, weights = photos
    for query in range(len(positions)):
        own = slice(query_offsets[query], query_offsets[query + 1])
        of_query[query_members[own]] = query_weights[own]
        total = query_weights[own].sum()
        for place in range(positions.shape[1]):
            if positions[query, place] < 0:
                continue
            row = rows[query, place]
            shared, other = 0.0, 0.0
            for entry in range(offsets[row], offsets[row + 1]):
                shared += min(of_query[members[entry]], weights[entry])
                other += weights[entry]
            jaccard = 1 - shared / (total + other - shared)
            distance[query, place] = (1 - weight) * jaccard + weight * (1 - similarity[query, place])
        of_query[query_members[own]] = 0
