"""Micro average precision (GAP) of predicted landmarks, as Google Landmarks v2 defines it, and accuracy.

All predictions of all queries are sorted together by confidence descending, then query id, then landmark; the
metric is the sum of the precision at every right prediction, divided by the queries that show a landmark.
(tensorflow/models, research/delf, google_landmarks_dataset/metrics.py, GlobalAveragePrecision.)
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from landmark_dag.evaluation.ground_truth import USAGES, RecognitionGroundTruth, refuse_unknown
from landmark_dag.tables import RECOGNITION_METRICS


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


def recognition_metrics(votes: pl.DataFrame, truth: RecognitionGroundTruth) -> pl.DataFrame:
    """Return the metrics (tables.RECOGNITION_METRICS, percent) of `votes` for each usage.

    `votes` has image_id, landmark_id and confidence of queries; a query without a vote predicts nothing. A
    usage in which no query shows a landmark has no row. Raises InputError for a query that the ground truth
    does not know.
    """
    predictions = _judged(votes, truth)
    rows = []
    for usage in (*USAGES, "all"):
        of_usage = (pl.col("usage") == usage) | (usage == "all")
        queries, some = truth.queries.filter(of_usage), predictions.filter(of_usage)
        expected = int((queries["expected"] > 0).sum())
        if expected:
            precision = micro_average_precision(
                some["confidence"].to_numpy(),
                some["query"].to_numpy(),
                some["landmark_id"].to_numpy(),
                some["right"].to_numpy(),
                expected,
            )
            named = some.filter("right")["query"].n_unique()
            rows.append((usage, 100 * precision, 100 * named / expected, len(queries)))
    return pl.DataFrame(rows, schema=RECOGNITION_METRICS.schema, orient="row")


def _judged(votes: pl.DataFrame, truth: RecognitionGroundTruth) -> pl.DataFrame:
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
