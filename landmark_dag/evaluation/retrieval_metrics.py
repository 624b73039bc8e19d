"""mAP@100 as Google Landmarks v2 defines it, and precision and recall at a rank.

AP of a query is the sum, over ranks with a hit among the first `limit`, of the precision at that rank, divided
by min(relevant photos, limit). A photo listed again is no hit, but its rank counts; a query without a list has
AP 0. (tensorflow/models, research/delf, google_landmarks_dataset/metrics.py, MeanAveragePrecision.) ROxford and RParis
are scored by another function, in `revisited`.
"""

import itertools
from collections.abc import Mapping

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from landmark_dag.evaluation.aggregation import usage_means
from landmark_dag.evaluation.ground_truth import RetrievalGroundTruth, refuse_unknown
from landmark_dag.retrieval.reranking.lists import in_list_order
from landmark_dag.settings.evaluation import BootstrapSettings
from landmark_dag.storage.ragged_lists import offsets_of
from landmark_dag.storage.schemas import RETRIEVAL_METRICS

LIMIT = 100
"""Photos of a list that count."""


def retrieval_metrics(
    lists: Mapping[str, pl.DataFrame], truth: RetrievalGroundTruth, bootstrap: BootstrapSettings | None = None
) -> pl.DataFrame:
    """Return the metrics (schemas.RETRIEVAL_METRICS, percent) of the `lists` of each step, for each usage.

    Lists have query_id, rank and index_id; see `query_metrics`. A usage without queries has no row.
    """
    frames = [RETRIEVAL_METRICS.empty()]
    for step, ranking in lists.items():
        means = usage_means(query_metrics(ranking, truth), bootstrap)
        means = means.with_columns(pl.lit(step).alias("step"), pl.col("queries").cast(pl.Int32))
        frames.append(means.select(list(RETRIEVAL_METRICS.schema)))
    return pl.concat(frames)


def query_metrics(ranking: pl.DataFrame, truth: RetrievalGroundTruth) -> pl.DataFrame:
    """Return query_id, usage and METRICS (percent) of every query that counts, by query id.

    `map_at_100` is the query's AP. `ranking` has query_id, rank and index_id, in any row order. Raises InputError
    for a query that the ground truth does not know.
    """
    offsets, hits, expected = judged_lists(ranking, truth)
    values = {
        "map_at_100": average_precision(offsets, hits, expected),
        "precision_at_1": precision_at(offsets, hits, 1),
        "precision_at_10": precision_at(offsets, hits, 10),
        "recall_at_10": recall_at(offsets, hits, expected, 10),
        "recall_at_100": recall_at(offsets, hits, expected, 100),
    }
    return truth.queries.select("query_id", "usage").with_columns(
        pl.Series(name, 100 * of_queries) for name, of_queries in values.items()
    )


def average_precisions(ranking: pl.DataFrame, truth: RetrievalGroundTruth) -> pl.DataFrame:
    """Return query_id, usage and average_precision (percent) of every query that counts, by query id.

    `ranking` has query_id, rank and index_id, in any row order. Raises InputError for a query that the ground
    truth does not know.
    """
    precision = average_precision(*judged_lists(ranking, truth))
    return truth.queries.select("query_id", "usage").with_columns(average_precision=100 * precision)


def judged_lists(
    ranking: pl.DataFrame, truth: RetrievalGroundTruth
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Return offsets and hits of the lists of the queries that count, by query id, and their expected counts.

    `ranking` is as in `query_metrics`. Ids are compared by 64-bit hashes; a hit whose ids differ nevertheless
    makes all be hashed anew, so the answer is exact.
    """
    offsets, listed = _counted_lists(ranking, truth)
    right = truth.right.join(
        truth.queries.select("query_id", query=pl.int_range(pl.len(), dtype=pl.Int32)), on="query_id"
    )
    right_offsets = _offsets(right["query"], len(truth.queries))
    for seed in itertools.count():
        ordered = right.with_columns(hash=right["index_id"].hash(seed)).sort("query", "hash")
        places = _places(offsets, listed.hash(seed).to_numpy(), right_offsets, ordered["hash"].to_numpy())
        found = np.flatnonzero(places >= 0)
        if (listed.gather(found) == ordered["index_id"].gather(places[found])).all():
            return offsets, _first_of_each(places, len(right)), truth.queries["expected"].to_numpy()
    raise AssertionError("unreachable: there is always another seed")


def first_hits(
    offsets: NDArray[np.int64],
    positions: NDArray[np.int32],
    right_offsets: NDArray[np.int64],
    right: NDArray[np.int32],
) -> NDArray[np.bool_]:
    """Return, for every row of every list, whether its photo is relevant and stands there the first time.

    Query q's list is `positions[offsets[q]:offsets[q + 1]]`; its relevant photos, ascending and distinct, are
    `right[right_offsets[q]:right_offsets[q + 1]]`.
    """
    return _first_of_each(_places(offsets, positions, right_offsets, right), len(right))


def average_precision(
    offsets: NDArray[np.int64], hits: NDArray[np.bool_], expected: NDArray[np.int64], limit: int = LIMIT
) -> NDArray[np.float64]:
    """Return the AP float64 (queries,), from 0 to 1, of lists whose `hits` are marked.

    `expected` int64 (queries,) is the number of relevant photos of each query, at least 1.
    """
    precision = np.empty(len(expected), dtype=np.float64)
    _sum_precision(offsets, hits, expected, limit, precision)
    return precision


def precision_at(offsets: NDArray[np.int64], hits: NDArray[np.bool_], rank: int) -> NDArray[np.float64]:
    """Return the share of hits among the first `rank` of every list, float64 (queries,)."""
    return _hits_before(offsets, hits, rank) / rank


def recall_at(
    offsets: NDArray[np.int64], hits: NDArray[np.bool_], expected: NDArray[np.int64], rank: int
) -> NDArray[np.float64]:
    """Return the share of the `expected` relevant photos among the first `rank`, float64 (queries,)."""
    return _hits_before(offsets, hits, rank) / expected


def _hits_before(offsets: NDArray[np.int64], hits: NDArray[np.bool_], rank: int) -> NDArray[np.int64]:
    """Return the number of hits among the first `rank` of every list."""
    total = np.concatenate([[0], np.cumsum(hits)])
    return total[np.minimum(offsets[:-1] + rank, offsets[1:])] - total[offsets[:-1]]


def _counted_lists(ranking: pl.DataFrame, truth: RetrievalGroundTruth) -> tuple[NDArray[np.int64], pl.Series]:
    """Return the lists of the queries that count, by query id, then rank: offsets, and the index ids listed."""
    ranking = in_list_order(ranking.select("query_id", "rank", "index_id"))
    runs = ranking["query_id"].rle().struct.unnest()
    refuse_unknown(runs["value"], truth)
    queries = truth.queries.select(value="query_id", query=pl.int_range(pl.len(), dtype=pl.Int32))
    runs = runs.join(queries, on="value", how="left", maintain_order="left")
    counted = runs["query"].is_not_null().to_numpy()
    lengths = np.zeros(len(queries), dtype=np.int64)
    lengths[runs["query"].drop_nulls().to_numpy()] = runs["len"].to_numpy()[counted]
    listed = ranking["index_id"]
    if not counted.all():
        listed = listed.filter(pl.Series(np.repeat(counted, runs["len"].to_numpy())))
    return offsets_of(lengths), listed


def _offsets(queries: pl.Series, count: int) -> NDArray[np.int64]:
    """Return where the rows of each of `count` queries begin, and the end, given ascending `queries`."""
    return offsets_of(np.bincount(queries.to_numpy(), minlength=count))


def _places(
    offsets: NDArray[np.int64], listed: NDArray, right_offsets: NDArray[np.int64], right: NDArray
) -> NDArray[np.int64]:
    """Return where in `right` the photo of every row stands, int64 (rows,), -1 where it is not relevant."""
    if len(offsets) != len(right_offsets) or offsets[-1] != len(listed) or right_offsets[-1] != len(right):
        raise ValueError("offsets, positions, right_offsets and right do not fit each other")
    places = np.empty(len(listed), dtype=np.int64)
    _find_places(offsets, listed, right_offsets, right, places)
    return places


def _first_of_each(places: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Return whether each row's place, one of `count` or -1, is there for the first time; never for -1."""
    hits = np.zeros(len(places), dtype=np.bool_)
    _mark_first(places, np.zeros(count, dtype=np.bool_), hits)
    return hits


@njit(cache=True, nogil=True)
def _find_places(offsets, listed, right_offsets, right, places):  # type: ignore[no-untyped-def]
    """Fill `places`; see `_places`."""
    for query in range(len(offsets) - 1):
        start = right_offsets[query]
        relevant = right[start : right_offsets[query + 1]]
        for row in range(offsets[query], offsets[query + 1]):
            place = np.searchsorted(relevant, listed[row])
            found = place < len(relevant) and relevant[place] == listed[row]
            places[row] = start + place if found else -1


@njit(cache=True, nogil=True)
def _mark_first(places, seen, hits):  # type: ignore[no-untyped-def]
    """Fill `hits`; `seen` is scratch, all False; see `_first_of_each`."""
    for row in range(len(places)):
        if places[row] >= 0 and not seen[places[row]]:
            seen[places[row]] = True
            hits[row] = True


@njit(cache=True, nogil=True)
def _sum_precision(offsets, hits, expected, limit, precision):  # type: ignore[no-untyped-def]
    """Fill `precision`; see `average_precision`."""
    for query in range(len(expected)):
        start = offsets[query]
        found = 0
        total = 0.0
        for row in range(start, min(offsets[query + 1], start + limit)):
            if hits[row]:
                found += 1
                total += found / (row - start + 1)
        precision[query] = total / min(expected[query], limit)
