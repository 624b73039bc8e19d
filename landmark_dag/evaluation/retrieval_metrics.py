"""mAP@100 as Google Landmarks v2 defines it, and precision and recall at a rank.

AP of a query is the sum, over ranks with a hit among the first `limit`, of the precision at that rank, divided
by min(relevant photos, limit). A photo listed again is no hit, but its rank counts; a query without a list has
AP 0. (tensorflow/models, research/delf, google_landmarks_dataset/metrics.py, MeanAveragePrecision.)
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from landmark_dag.evaluation.ground_truth import USAGES, RetrievalGroundTruth, refuse_unknown
from landmark_dag.tables import RETRIEVAL_METRICS

LIMIT = 100
"""Photos of a list that count."""


def retrieval_metrics(lists: Mapping[str, pl.DataFrame], truth: RetrievalGroundTruth) -> pl.DataFrame:
    """Return mAP@100 (tables.RETRIEVAL_METRICS, percent) of the `lists` of each step, for each usage.

    Lists have query_id, rank and index_id; see `average_precisions`. A usage without queries has no row.
    """
    rows = []
    for step, ranking in lists.items():
        precisions = average_precisions(ranking, truth)
        for usage in (*USAGES, "all"):
            some = precisions.filter((pl.col("usage") == usage) | (usage == "all"))
            if len(some):
                rows.append((step, usage, some["average_precision"].mean(), len(some)))
    return pl.DataFrame(rows, schema=RETRIEVAL_METRICS.schema, orient="row")


def average_precisions(ranking: pl.DataFrame, truth: RetrievalGroundTruth) -> pl.DataFrame:
    """Return query_id, usage and average_precision (percent) of every query that counts, by query id.

    `ranking` has query_id, rank and index_id, in any row order. Raises InputError for a query that the ground
    truth does not know.
    """
    offsets, positions, right_offsets, right = _encode(ranking, truth)
    hits = first_hits(offsets, positions, right_offsets, right)
    precision = average_precision(offsets, hits, np.diff(right_offsets))
    return truth.queries.select("query_id", "usage").with_columns(average_precision=100 * precision)


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
    if len(offsets) != len(right_offsets) or offsets[-1] != len(positions) or right_offsets[-1] != len(right):
        raise ValueError("offsets, positions, right_offsets and right do not fit each other")
    hits = np.zeros(len(positions), dtype=np.bool_)
    _mark_hits(offsets, positions, right_offsets, right, np.zeros(len(right), dtype=np.bool_), hits)
    return hits


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


def _encode(
    ranking: pl.DataFrame, truth: RetrievalGroundTruth
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
    """Return the lists and the relevant photos of the queries that count, as ragged lists of integers.

    A photo that is relevant to no query becomes -1.
    """
    queries = truth.queries.select("query_id", query=pl.int_range(pl.len(), dtype=pl.Int32))
    refuse_unknown(ranking["query_id"].unique(), truth)
    photos = truth.right.select(pl.col("index_id").unique()).with_columns(
        position=pl.int_range(pl.len(), dtype=pl.Int32)
    )
    right = truth.right.join(photos, on="index_id").join(queries, on="query_id").sort("query", "position")
    rows = (
        ranking.select("query_id", "rank", "index_id")
        .join(queries, on="query_id")
        .join(photos, on="index_id", how="left")
        .sort("query", "rank")
    )
    return (
        _offsets(rows["query"], len(queries)),
        rows["position"].fill_null(-1).to_numpy(),
        _offsets(right["query"], len(queries)),
        right["position"].to_numpy(),
    )


def _offsets(queries: pl.Series, count: int) -> NDArray[np.int64]:
    """Return where the rows of each of `count` queries begin, and the end, given ascending `queries`."""
    return np.concatenate([[0], np.cumsum(np.bincount(queries.to_numpy(), minlength=count))])


@njit(cache=True, nogil=True)
def _mark_hits(offsets, positions, right_offsets, right, seen, hits):  # type: ignore[no-untyped-def]
    """Fill `hits`; `seen` is scratch, all False; see `first_hits`."""
    for query in range(len(offsets) - 1):
        start = right_offsets[query]
        relevant = right[start : right_offsets[query + 1]]
        for row in range(offsets[query], offsets[query + 1]):
            place = np.searchsorted(relevant, positions[row])
            if place < len(relevant) and relevant[place] == positions[row] and not seen[start + place]:
                seen[start + place] = True
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
