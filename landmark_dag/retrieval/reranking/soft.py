"""Soft variants of sort-step and insert-step: landmarks that agree raise a photo, without a threshold.

Each takes what `ranking.inserted_ranking` takes: lists (tables.RANKING or NEIGHBOURS), the votes of queries and
of index photos, and the settings, of which the limit counts here; and returns a ranking (tables.RANKING). A score
decides; ties go to the photo listed earlier, those not listed come last, by image id ascending. Each raises
InputError where `inserted_ranking` does.
"""

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from landmark_dag.retrieval.reranking.sort_insert import Lists, inserted_ranking, read_lists
from landmark_dag.retrieval.train_neighbours import NEAREST_DISTANCE, bridge_confidence, label_distribution
from landmark_dag.settings.reranking import InsertSettings, RerankMethod, SoftSettings

DEFAULTS = SoftSettings()
"""The sources' own."""

TAKES_VOTES: tuple[RerankMethod, ...] = ("insert", "agreement")
"""Methods that take the landmark voted for alone; the others take several landmarks a photo."""


def agreement_ranking(
    ranking: pl.DataFrame,
    query_votes: pl.DataFrame,
    index_votes: pl.DataFrame,
    settings: InsertSettings,
    soft: SoftSettings = DEFAULTS,
) -> pl.DataFrame:
    """Rank the listed photos by similarity and agreement of landmarks.

    A photo scores similarity + bonus x its confidence where its landmark is the query's, similarity - penalty x
    its confidence where not. Nothing is inserted: list more neighbours than the limit (the source 750) to raise
    photos from further down. (Henkel, arXiv 2110.03786, section 2.5: bonus 1, penalty 0.1.)
    """
    lists = read_lists(ranking, query_votes, index_votes)
    same = np.repeat(lists.query_landmarks, np.diff(lists.offsets)) == lists.index_landmarks[lists.positions]
    weight = np.where(same, np.float32(soft.agreement_bonus), np.float32(-soft.disagreement_penalty))
    score = lists.similarity.fill_null(0).to_numpy() + weight * lists.index_confidence[lists.positions]
    query = np.repeat(np.arange(len(lists.query_ids)), np.diff(lists.offsets))
    order = np.lexsort((-score, query))
    order = order[np.arange(len(order)) - lists.offsets[query] < settings.limit]
    lengths = np.minimum(np.diff(lists.offsets), settings.limit)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return lists.ranking(offsets, lists.positions[order], order, same[order].astype(np.int8))


def label_product_ranking(
    ranking: pl.DataFrame,
    query_votes: pl.DataFrame,
    index_votes: pl.DataFrame,
    settings: InsertSettings,
    soft: SoftSettings = DEFAULTS,
) -> pl.DataFrame:
    """Rank the index photos by the inner product of their label distribution and the query's.

    Votes have a row for every landmark of a photo's distribution; see `label_distribution`. Any index photo that
    shares a landmark with the query stands before the photos of the list that share none, which keep their
    order. (13th place of the Google Landmark Retrieval Challenge 2021, step 3.)
    """
    lists = read_lists(ranking, _strongest(query_votes), _strongest(index_votes))
    direct = np.zeros(len(lists.positions))
    return _through_landmarks(lists, direct, query_votes, index_votes, settings.limit, sums=True, power=1.0)


def bridged_ranking(
    ranking: pl.DataFrame,
    query_votes: pl.DataFrame,
    index_votes: pl.DataFrame,
    settings: InsertSettings,
    soft: SoftSettings = DEFAULTS,
) -> pl.DataFrame:
    """Rank the index photos by direct and bridged confidence, each to `bridge_power`, added.

    Votes have a row for every landmark that may be a photo's bridge; see `train_neighbours.bridge_confidence`. Direct
    confidence is 1 / (1 - similarity) of a listed photo, 0 of another; a landmark bridges as well as the weaker of
    the query's and the photo's confidence in it, and the best bridge counts. (5th place of the Google Landmark
    Retrieval Challenge 2021: the smallest over landmarks of the larger of both distances.)
    """
    lists = read_lists(ranking, _strongest(query_votes), _strongest(index_votes))
    similarity = lists.similarity.cast(pl.Float64).to_numpy()
    confidence = 1 / np.maximum(1 - similarity, NEAREST_DISTANCE)
    power = soft.bridge_power
    direct = np.nan_to_num(confidence**power)
    return _through_landmarks(lists, direct, query_votes, index_votes, settings.limit, sums=False, power=power)


def _strongest(votes: pl.DataFrame) -> pl.DataFrame:
    """Return the row of the highest confidence of every photo."""
    return votes.sort("confidence", descending=True, maintain_order=True).unique("image_id", keep="first")


def _through_landmarks(
    lists: Lists,
    direct: NDArray[np.float64],
    query_votes: pl.DataFrame,
    index_votes: pl.DataFrame,
    limit: int,
    *,
    sums: bool,
    power: float,
) -> pl.DataFrame:
    """Rank listed photos and those joined with the query by a landmark, by `direct` + joined ** `power`.

    A landmark joins by the product of both confidences, added over landmarks, if `sums`; else by the smaller of
    both, the largest over landmarks. `direct` float64 belongs to the rows of the lists.
    """
    queries = _rows_of(query_votes, lists.query_ids)
    index = _rows_of(index_votes, lists.index_ids).sort("landmark_id", "row")
    landmarks, starts = np.unique(index["landmark_id"].to_numpy(), return_index=True)
    query_landmarks = queries["landmark_id"].to_numpy()
    group = np.minimum(np.searchsorted(landmarks, query_landmarks), max(len(landmarks) - 1, 0))
    known = landmarks[group] == query_landmarks if len(landmarks) else np.zeros(len(group), dtype=np.bool_)
    size = len(lists.index_ids)
    width = min(limit, size)
    found = np.empty((len(lists.query_ids), width), dtype=np.int32)
    source = np.empty(found.shape, dtype=np.int64)
    reasons = np.empty(found.shape, dtype=np.int8)
    counts = np.empty(len(found), dtype=np.int64)
    _rank_through_landmarks(
        lists.offsets,
        lists.positions,
        direct,
        np.searchsorted(queries["row"].to_numpy(), np.arange(len(found) + 1)),
        np.where(known, group, -1),
        queries["confidence"].to_numpy(),
        np.append(starts, len(index)),
        index["row"].to_numpy(),
        index["confidence"].to_numpy(),
        sums,
        power,
        np.zeros(size),
        np.full(size, -1, dtype=np.int64),
        np.empty(size, dtype=np.int32),
        (found, source, reasons, counts),
    )
    filled = np.arange(width) < counts[:, None]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return lists.ranking(offsets, found[filled], source[filled], reasons[filled])


def _rows_of(votes: pl.DataFrame, image_ids: pl.Series) -> pl.DataFrame:
    """Return the votes of `image_ids` above 0 with their `row` in it, by row, then landmark.

    Confidence is float64 there, in which no product of two that are above 0 is 0.
    """
    rows = pl.DataFrame({"image_id": image_ids, "row": np.arange(len(image_ids), dtype=np.int32)})
    some = votes.filter(pl.col("confidence") > 0).with_columns(pl.col("confidence").cast(pl.Float64))
    return some.join(rows, on="image_id").sort("row", "landmark_id")


@njit(cache=True, nogil=True)
def _rank_through_landmarks(  # type: ignore[no-untyped-def]
    offsets,
    positions,
    direct,
    score_offsets,
    score_groups,
    scores,
    group_offsets,
    members,
    member_scores,
    sums,
    power,
    joined,
    listed_row,
    candidates,
    result,
):
    """Fill `result` query by query; `joined` (zeros), `listed_row` (-1) and `candidates` are scratch by position."""
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


def reranked(
    ranking: pl.DataFrame,
    query_votes: pl.DataFrame,
    index_votes: pl.DataFrame,
    settings: InsertSettings,
    soft: SoftSettings = DEFAULTS,
) -> pl.DataFrame:
    """Re-rank by the method that `settings` names; the votes are those which that method takes."""
    match settings.method:
        case "insert":
            return inserted_ranking(ranking, query_votes, index_votes, settings)
        case "agreement":
            return agreement_ranking(ranking, query_votes, index_votes, settings, soft)
        case "label_product":
            return label_product_ranking(ranking, query_votes, index_votes, settings, soft)
        case "bridged":
            return bridged_ranking(ranking, query_votes, index_votes, settings, soft)


def method_votes(method: RerankMethod, train_neighbours: pl.DataFrame, soft: SoftSettings = DEFAULTS) -> pl.DataFrame:
    """Return the votes of several rows a photo that `method`, not one of TAKES_VOTES, makes of TRAIN_NEIGHBOURS."""
    return (
        label_distribution(train_neighbours, soft)
        if method == "label_product"
        else bridge_confidence(train_neighbours, soft)
    )
