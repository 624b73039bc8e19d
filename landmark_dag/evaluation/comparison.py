"""Every way of re-ranking side by side on one kNN graph, and how sort-step + insert-step depend on k and threshold."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from landmark_dag.evaluation.ground_truth import USAGES, RetrievalGroundTruth, refuse_unknown
from landmark_dag.evaluation.intervals import difference_interval, mean_interval
from landmark_dag.evaluation.retrieval_metrics import average_precision, average_precisions, first_hits
from landmark_dag.retrieval.reranking.inputs import PhotoVectors, RerankingInput
from landmark_dag.retrieval.reranking.insert import QueryVotes, SortedLists, group_by_landmark, insert_step
from landmark_dag.retrieval.reranking.lists import read_lists
from landmark_dag.retrieval.reranking.methods import METHODS, rerank
from landmark_dag.retrieval.reranking.sort import sort_step
from landmark_dag.retrieval.votes import nearest_train_neighbours, vote, votes_of
from landmark_dag.settings.evaluation import ComparisonSettings
from landmark_dag.settings.reranking import InsertSettings
from landmark_dag.storage.embeddings import Embeddings, chosen
from landmark_dag.storage.schemas import RERANKING_COMPARISON, RERANKING_SWEEP

PROPOSED = METHODS["insert"].title
"""The paper's method, to which the others are compared."""

SWEPT_K = tuple(range(1, 11))
SWEPT_THRESHOLDS = tuple(round(0.1 * step, 1) for step in range(21))

Timed = tuple[pl.DataFrame, float]
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class Photos:
    """Embeddings by id and nearest train photos (schemas.TRAIN_NEIGHBOURS) of queries and index, and the truth."""

    queries: Embeddings
    index: Embeddings
    query_train_neighbours: pl.DataFrame
    index_train_neighbours: pl.DataFrame
    truth: RetrievalGroundTruth


def reranking_comparison(photos: Photos, settings: ComparisonSettings, device: str = "cpu") -> pl.DataFrame:
    """Return mAP@100 with its interval for every method and usage (schemas.RERANKING_COMPARISON, percent).

    Only queries that count are ranked. All methods start from the same exact kNN graph. A method's seconds are what
    it takes beyond that graph: further searches, the kNN graph of the index itself where it needs one, and for
    "X + sort + insert" those of X. Raises InputError for embeddings of two models, for a query that the ground
    truth does not know, and for a photo without train neighbours.
    """
    refuse_unknown(pl.Series(photos.queries.image_ids, dtype=pl.String), photos.truth)
    found = rankings(photos, settings, device)
    precisions = {name: average_precisions(ranking, photos.truth) for name, (ranking, _) in found.items()}
    rows = []
    for name, scores in precisions.items():
        for usage in (*USAGES, "all"):
            counted = (scores["usage"] == usage).to_numpy() | (usage == "all")
            if counted.any():
                values, proposed = (
                    one["average_precision"].to_numpy()[counted] for one in (scores, precisions[PROPOSED])
                )
                interval = mean_interval(values, settings.bootstrap)
                difference = difference_interval(values, proposed, settings.bootstrap)
                rows.append((name, usage, *interval, *difference, len(values), found[name][1]))
    return pl.DataFrame(rows, schema=RERANKING_COMPARISON.schema, orient="row")


def rankings(photos: Photos, settings: ComparisonSettings, device: str) -> dict[str, Timed]:
    """Return the ranking and the seconds of every method of the table, by its title, on the queries that count.

    A label-blind method is followed by itself with the paper's steps on its lists.
    """
    counted = set(photos.truth.queries["query_id"])
    vectors = PhotoVectors(chosen(photos.queries, counted), photos.index, device)
    train_neighbours = (
        photos.query_train_neighbours.filter(pl.col("image_id").is_in(vectors.query_ids.implode())),
        photos.index_train_neighbours,
    )
    queries, index = (votes_of(split, settings.votes.k) for split in train_neighbours)
    known = RerankingInput(votes=(queries, index), train_neighbours=train_neighbours, vectors=vectors)
    depth = max(method.depth(settings) for method in METHODS.values())
    near, searching = _timed(vectors.search, vectors.queries.vectors, depth)
    lists = vectors.lists(near.positions, near.similarity)
    _, graph = _timed(vectors.index_graph, settings.index_neighbours)
    found = {"kNN": (lists.filter(pl.col("rank") <= settings.insert.limit), searching)}
    for method in METHODS.values():
        ranking, seconds = _timed(rerank, lists, known, [method], settings)
        found[method.title] = ranking, seconds + graph * ("index graph" in method.needs)
        if not method.reads_labels:
            sorted_inserted, more = _timed(rerank, ranking, known, [METHODS["insert"]], settings)
            found[f"{method.title} + {PROPOSED}"] = sorted_inserted, found[method.title][1] + more
    return found


def _timed(function: Callable[..., _Result], *arguments: Any) -> tuple[_Result, float]:
    """Return what `function` returns, and the seconds that it took."""
    started = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - started


def comparison_summary(compared: pl.DataFrame) -> pl.DataFrame:
    """Return schemas.RERANKING_COMPARISON as people read it: a row a method, mAP@100 by usage, intervals as text."""
    overall = compared.filter(usage="all")
    by_usage = compared.pivot("usage", index="method", values="map_at_100", maintain_order=True)
    text = pl.format("{} to {}", pl.col("low").round(2), pl.col("high").round(2))
    difference = pl.format(
        "{} ({} to {})", *(pl.col(name).round(2) for name in ("difference", "difference_low", "difference_high"))
    )
    summary = overall.select("method", text.alias("interval"), difference.alias(f"to {PROPOSED}"), "seconds")
    return by_usage.join(summary, on="method", maintain_order="left")


def reranking_sweep(neighbours: pl.DataFrame, photos: Photos, limit: int) -> pl.DataFrame:
    """Return mAP@100 of sort-step + insert-step for every k and threshold (schemas.RERANKING_SWEEP, percent).

    `neighbours` is schemas.NEIGHBOURS; k goes as far as train neighbours are stored. Lists are sorted once a k,
    and the insert-step alone is done for each threshold. A query that counts and has no list has AP 0. Raises
    InputError as `sorted_ranking` does.
    """
    query_train_neighbours, index_train_neighbours, truth = (
        photos.query_train_neighbours,
        photos.index_train_neighbours,
        photos.truth,
    )
    counted = truth.queries["query_id"].implode()
    neighbours = neighbours.filter(pl.col("query_id").is_in(counted))
    largest = min(
        SWEPT_K[-1],
        *(train_neighbours["rank"].n_unique() for train_neighbours in (query_train_neighbours, index_train_neighbours)),
    )
    _, similarity, landmarks = nearest_train_neighbours(index_train_neighbours, largest)
    query_ids, query_similarity, query_landmarks = nearest_train_neighbours(query_train_neighbours, largest)
    lists = read_lists(neighbours, votes_of(query_train_neighbours, 1), votes_of(index_train_neighbours, 1))
    own = np.searchsorted(query_ids.to_numpy(), lists.query_ids.to_numpy())
    right_offsets, right, expected = _relevant(truth, lists.query_ids, lists.index_ids)
    rows = []
    for k in SWEPT_K[:largest]:
        index_votes = vote(similarity[:, :k], landmarks[:, :k])
        landmark, confidence = vote(query_similarity[own, :k], query_landmarks[own, :k])
        order, same = sort_step(lists.offsets, lists.positions, landmark, index_votes[0])
        groups, in_order = group_by_landmark(*index_votes), lists.positions[order]
        for threshold in SWEPT_THRESHOLDS:
            insert = InsertSettings(threshold=threshold, limit=limit)
            sorted_rows = SortedLists(lists.offsets, in_order, same)
            offsets, positions, _ = insert_step(sorted_rows, QueryVotes(landmark, confidence), groups, insert)
            precision = average_precision(offsets, first_hits(offsets, positions, right_offsets, right), expected)
            rows.append((k, threshold, 100 * precision.sum() / len(truth.queries)))
    return pl.DataFrame(rows, schema=RERANKING_SWEEP.schema, orient="row")


def _relevant(
    truth: RetrievalGroundTruth, query_ids: pl.Series, index_ids: pl.Series
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Return offsets and ascending positions of what is relevant to each query, and how many photos should be."""
    queries = pl.DataFrame({"query_id": query_ids}).with_row_index("query")
    photos = pl.DataFrame({"index_id": index_ids}).with_row_index("position")
    right = truth.right.join(queries, on="query_id").join(photos, on="index_id").sort("query", "position")
    expected = queries.join(truth.queries, on="query_id", maintain_order="left")["expected"].to_numpy()
    offsets = np.searchsorted(right["query"].to_numpy(), np.arange(len(queries) + 1))
    return offsets, right["position"].cast(pl.Int32).to_numpy(), expected
