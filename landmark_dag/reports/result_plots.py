"""Plots of results against their ground truth, by caption, for metadata and for the gallery."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from landmark_dag.evaluation.ground_truth import RecognitionGroundTruth, RetrievalGroundTruth
from landmark_dag.evaluation.recognition_metrics import judged_votes
from landmark_dag.evaluation.retrieval_metrics import LIMIT, average_precision, judged_lists
from landmark_dag.reports import plots as pictures
from landmark_dag.reports.gallery import STEP_LABELS
from landmark_dag.storage.ragged_lists import list_of_rows, places_in_lists


def retrieval_pictures(lists: Mapping[str, pl.DataFrame], truth: RetrievalGroundTruth) -> dict[str, bytes]:
    """Return plots, as PNG, of mAP@100, precision and recall, mAP@100 by landmark size, and similarities.

    `lists` maps steps, in order, to schemas.NEIGHBOURS or schemas.RANKING; similarities are those of the first.
    """
    if truth.queries.is_empty():
        return {}
    hits, precisions = {}, {}
    for step, ranking in lists.items():
        label = STEP_LABELS.get(step, step)
        offsets, found, expected = judged_lists(ranking.filter(pl.col("rank") <= LIMIT), truth)
        lengths = np.diff(offsets)
        hits[label] = np.zeros((len(expected), LIMIT), dtype=np.bool_)
        hits[label][list_of_rows(lengths), places_in_lists(lengths)] = found
        precisions[label] = 100 * average_precision(offsets, found, expected)
    judged = _judged_neighbours(next(iter(lists.values())), truth)
    similarity, relevant = judged["similarity"].to_numpy(), judged["relevant"].to_numpy()
    return {
        "mAP@100 after each step": pictures.step_bars({step: float(ap.mean()) for step, ap in precisions.items()}),
        "Precision at a recall, first 100 photos": pictures.precision_recall(hits, expected),
        "mAP@100 by number of relevant photos": pictures.precision_by_landmark_size(expected, precisions),
        "Similarity of nearest neighbours": pictures.similarities(similarity, relevant),
    }


def vote_pictures(votes: pl.DataFrame, truth: RecognitionGroundTruth) -> dict[str, bytes]:
    """Return a plot, as PNG, of the confidence of right and wrong votes (schemas.VOTES) of queries."""
    judged = judged_votes(votes, truth)
    confidence, right = judged["confidence"].to_numpy(), judged["right"].to_numpy()
    return {"Confidence of right and wrong votes": pictures.vote_confidence(confidence, right)}


def _judged_neighbours(neighbours: pl.DataFrame, truth: RetrievalGroundTruth) -> pl.DataFrame:
    """Return similarity and `relevant` of the neighbours of queries that count."""
    counted = neighbours.join(truth.queries.select("query_id"), on="query_id", how="semi")
    right = truth.right.with_columns(relevant=pl.lit(True))
    joined = counted.join(right, on=["query_id", "index_id"], how="left").drop_nulls("similarity")
    return joined.select("similarity", pl.col("relevant").fill_null(False))
