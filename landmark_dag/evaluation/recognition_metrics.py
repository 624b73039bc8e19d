"""Micro average precision (GAP) of predicted landmarks, as Google Landmarks v2 defines it, and accuracy.

All predictions of all queries are sorted together by confidence descending, then query id, then landmark; the
metric is the sum of the precision at every right prediction, divided by the queries that show a landmark.
(tensorflow/models, research/delf, google_landmarks_dataset/metrics.py, GlobalAveragePrecision.)
"""

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from landmark_dag.evaluation.aggregation import affordable
from landmark_dag.evaluation.ground_truth import USAGES, RecognitionGroundTruth, refuse_unknown
from landmark_dag.evaluation.intervals import mean_interval
from landmark_dag.settings.evaluation import BootstrapSettings
from landmark_dag.storage.schemas import RECOGNITION_METRICS


def micro_average_precision(
    confidence: NDArray[np.floating],
    queries: NDArray[np.integer],
    landmarks: NDArray[np.int64],
    right: NDArray[np.bool_],
    expected: int,
) -> float:
    """Return the micro average precision, from 0 to 1, of m predictions; all arrays have shape (m,).

    `queries` are numbered by id ascending; `right` says which predictions are; `expected` is the number of
    queries that show a landmark, at least 1.
    """
    order = np.lexsort((landmarks, queries, -confidence))
    places = np.flatnonzero(right[order])
    return float(np.sum(np.arange(1, len(places) + 1) / (places + 1)) / expected)


def micro_average_precision_interval(
    queries: NDArray[np.int64], right: NDArray[np.bool_], shows: NDArray[np.bool_], settings: BootstrapSettings
) -> tuple[float, float]:
    """Return the ends of the bootstrap interval over queries of the micro average precision, from 0 to 1.

    `queries` (m,) and `right` (m,) are those of the predictions, in the metric's order; `shows` (queries,) says
    which queries show a landmark; at least one does. A query drawn n times brings each of its predictions n
    times; a draw of queries that show no landmark has precision 0. (Percentile interval, as in
    intervals.mean_interval.)
    """
    generator = np.random.default_rng(settings.seed)
    values = np.empty(settings.resamples)
    for resample in range(settings.resamples):
        drawn = np.bincount(generator.integers(0, len(shows), len(shows)), minlength=len(shows))
        values[resample] = _sum_precision(queries, right, drawn) / max(1, drawn[shows].sum())
    low, high = np.quantile(values, [(1 - settings.level) / 2, (1 + settings.level) / 2])
    return float(low), float(high)


def recognition_metrics(
    votes: pl.DataFrame, truth: RecognitionGroundTruth, bootstrap: BootstrapSettings | None = None
) -> pl.DataFrame:
    """Return the metrics (schemas.RECOGNITION_METRICS, percent) of `votes` for each usage.

    `votes` has image_id, landmark_id and confidence of queries; a query without a vote predicts nothing. A
    usage in which no query shows a landmark has no row. Raises InputError for a query that the ground truth
    does not know.
    """
    predictions = judged_votes(votes, truth)
    rows = []
    for usage in (*USAGES, "all"):
        of_usage = (pl.col("usage") == usage) | (usage == "all")
        queries, some = truth.queries.filter(of_usage), predictions.filter(of_usage)
        if (queries["expected"] > 0).any():
            settings = affordable(bootstrap or BootstrapSettings(), len(queries))
            rows.append((usage, *_micro_ap(some, queries, settings), *_accuracy(some, queries, settings), len(queries)))
    return pl.DataFrame(rows, schema=RECOGNITION_METRICS.schema, orient="row")


def _micro_ap(
    predictions: pl.DataFrame, queries: pl.DataFrame, settings: BootstrapSettings
) -> tuple[float, float, float]:
    """Return the micro average precision and the ends of its interval, percent."""
    ordered = predictions.sort("confidence", "query_id", "landmark_id", descending=[True, False, False])
    numbers = queries.select("query_id", number=pl.int_range(pl.len()))
    right = ordered["right"].to_numpy()
    drawn = ordered.join(numbers, on="query_id", maintain_order="left")["number"].to_numpy()
    shows = (queries["expected"] > 0).to_numpy()
    confidence, query, landmark = (ordered[name].to_numpy() for name in ("confidence", "query", "landmark_id"))
    value = micro_average_precision(confidence, query, landmark, right, int(shows.sum()))
    low, high = micro_average_precision_interval(drawn, right, shows, settings)
    return 100 * value, 100 * low, 100 * high


def _accuracy(predictions: pl.DataFrame, queries: pl.DataFrame, settings: BootstrapSettings) -> tuple[float, ...]:
    """Return the share of queries showing a landmark that have a right prediction, and its interval, percent."""
    named = predictions.filter("right")["query_id"].unique()
    shown = queries.filter(pl.col("expected") > 0)
    return tuple(100 * value for value in mean_interval(shown["query_id"].is_in(named.implode()).to_numpy(), settings))


def judged_votes(votes: pl.DataFrame, truth: RecognitionGroundTruth) -> pl.DataFrame:
    """Return the votes of queries that count, with `usage`, `query` (numbered by id) and `right`."""
    queries = truth.queries.with_columns(query=pl.int_range(pl.len(), dtype=pl.Int32))
    refuse_unknown(votes["image_id"], truth)
    votes = votes.select(pl.col("image_id").alias("query_id"), "landmark_id", "confidence")
    right = truth.right.with_columns(right=pl.lit(True))
    return (
        votes.join(queries, on="query_id")
        .join(right, on=["query_id", "landmark_id"], how="left")
        .with_columns(pl.col("right").fill_null(False))
    )


@njit(cache=True, nogil=True)
def _sum_precision(queries, right, drawn):  # type: ignore[no-untyped-def]
    """Return the sum of the precision at every right prediction, where query q counts `drawn[q]` times."""
    total, found, rank = 0.0, 0, 0
    for row in range(len(queries)):
        for _ in range(drawn[queries[row]]):
            rank += 1
            if right[row]:
                found += 1
                total += found / rank
    return total
