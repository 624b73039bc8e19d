"""Every way of re-ranking side by side on one kNN graph, and how sort-step + insert-step depend on k and threshold."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from landmark_dag.evaluation.ground_truth import USAGES, RetrievalGroundTruth, refuse_unknown
from landmark_dag.evaluation.intervals import difference_interval, mean_interval
from landmark_dag.evaluation.retrieval_metrics import average_precision, average_precisions, first_hits
from landmark_dag.retrieval.knn.exact import nearest
from landmark_dag.retrieval.reranking.diffusion import diffused_lists, diffusion_sources
from landmark_dag.retrieval.reranking.graph import Neighbours
from landmark_dag.retrieval.reranking.graph_traversal import traversed_lists
from landmark_dag.retrieval.reranking.k_reciprocal import reciprocal_lists
from landmark_dag.retrieval.reranking.query_expansion import alpha_query_expansion, database_augmentation
from landmark_dag.retrieval.reranking.soft import TAKES_VOTES, method_votes, reranked
from landmark_dag.retrieval.reranking.sort_insert import (
    group_by_landmark,
    insert_step,
    inserted_ranking,
    read_lists,
    sort_step,
    sorted_ranking,
)
from landmark_dag.retrieval.votes import nearest_train_neighbours, vote, votes_of
from landmark_dag.settings.evaluation import ComparisonSettings
from landmark_dag.settings.reranking import InsertSettings, RerankMethod
from landmark_dag.storage.embeddings import Embeddings, check_same_model
from landmark_dag.storage.schemas import NEIGHBOURS, RERANKING_COMPARISON, RERANKING_SWEEP

OURS = "sort + insert"
"""The paper's method, to which the others are compared."""

SOFT_METHODS: tuple[RerankMethod, ...] = ("agreement", "label_product", "bridged")
SWEPT_K = tuple(range(1, 11))
SWEPT_THRESHOLDS = tuple(round(0.1 * step, 1) for step in range(21))

Positions = NDArray[np.int32]
Timed = tuple[pl.DataFrame, float]
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class Photos:
    """Embeddings by id and nearest train photos (tables.TRAIN_NEIGHBOURS) of queries and index, and the truth."""

    queries: Embeddings
    index: Embeddings
    query_train_neighbours: pl.DataFrame
    index_train_neighbours: pl.DataFrame
    truth: RetrievalGroundTruth


def reranking_comparison(photos: Photos, settings: ComparisonSettings, device: str = "cpu") -> pl.DataFrame:
    """Return mAP@100 with its interval for every method and usage (tables.RERANKING_COMPARISON, percent).

    Only queries that count are ranked. All methods start from the same exact kNN graph. A method's seconds are what
    it takes beyond that graph: further searches, the kNN graph of the index itself where it needs one, and for
    "X + sort + insert" those of X. Raises InputError for embeddings of two models, for a query that the ground
    truth does not know, and for a photo without train_neighbours.
    """
    check_same_model(photos.queries, photos.index)
    refuse_unknown(pl.Series(photos.queries.image_ids, dtype=pl.String), photos.truth)
    rankings = _rankings(_Bench(photos, settings, device))
    precisions = {name: average_precisions(ranking, photos.truth) for name, (ranking, _) in rankings.items()}
    rows = []
    for name, found in precisions.items():
        for usage in (*USAGES, "all"):
            counted = (found["usage"] == usage).to_numpy() | (usage == "all")
            if counted.any():
                values, ours = (frame["average_precision"].to_numpy()[counted] for frame in (found, precisions[OURS]))
                interval = mean_interval(values, settings.bootstrap)
                difference = difference_interval(values, ours, settings.bootstrap)
                rows.append((name, usage, *interval, *difference, len(values), rankings[name][1]))
    return pl.DataFrame(rows, schema=RERANKING_COMPARISON.schema, orient="row")


class _Bench:
    """The photos that are ranked, by position, and the graphs that methods share."""

    def __init__(self, photos: Photos, settings: ComparisonSettings, device: str) -> None:
        """Keep the queries that count, and search the graphs."""
        counted = set(photos.truth.queries["query_id"])
        rows = [row for row, image_id in enumerate(photos.queries.image_ids) if image_id in counted]
        self.settings, self.device = settings, device
        self.query_ids = pl.Series([photos.queries.image_ids[row] for row in rows], dtype=pl.String)
        self.index_ids = pl.Series(photos.index.image_ids, dtype=pl.String)
        self.query_vectors, self.index_vectors = photos.queries.vectors[rows], photos.index.vectors
        train_neighbours = (
            photos.query_train_neighbours.filter(pl.col("image_id").is_in(self.query_ids.implode())),
            photos.index_train_neighbours,
        )
        self.train_neighbours = train_neighbours
        self.votes = votes_of(train_neighbours[0], settings.votes.k), votes_of(train_neighbours[1], settings.votes.k)
        self.queries, self.query_seconds = _timed(self._search_queries)
        self.index, self.index_seconds = _timed(self._search_index)

    def _search_queries(self) -> Neighbours:
        depth = max(self.settings.insert.limit, self.settings.candidates, self.settings.traversal.neighbours)
        return self.search(self.query_vectors, depth)

    def _search_index(self) -> Neighbours:
        chosen = self.settings
        counts = chosen.expansion.count, chosen.diffusion.neighbours, chosen.traversal.neighbours, chosen.reciprocal.k1
        return self.search_around(np.arange(len(self.index_ids), dtype=np.int32), max(counts))

    def search(self, vectors: NDArray, count: int) -> Neighbours:
        """Return the `count` nearest index photos of each vector."""
        return Neighbours(*nearest(vectors, self.index_vectors, count, device=self.device))

    def search_around(self, positions: Positions, count: int) -> Neighbours:
        """Return the `count` nearest other index photos of those at `positions`."""
        vectors = self.index_vectors[positions]
        return Neighbours(*nearest(vectors, self.index_vectors, count, exclude=positions, device=self.device))

    def lists(self, positions: Positions, similarity: NDArray[np.float32] | None = None) -> pl.DataFrame:
        """Return lists of positions (q, k), -1 for none, as tables.NEIGHBOURS; similarity is null if not given."""
        filled = positions >= 0
        rows, columns = np.nonzero(filled)
        return pl.DataFrame(
            {
                "query_id": self.query_ids.gather(rows),
                "rank": (columns + 1).astype(np.int32),
                "index_id": self.index_ids.gather(positions[filled]),
                "similarity": None if similarity is None else similarity[filled],
            },
            schema=NEIGHBOURS.schema,
        )

    def sorted_inserted(self, lists: pl.DataFrame) -> pl.DataFrame:
        """Return `lists` after sort-step and insert-step."""
        queries, index = self.votes
        return inserted_ranking(lists, queries, index, self.settings.insert)

    def soft(self, method: RerankMethod, lists: pl.DataFrame) -> pl.DataFrame:
        """Return `lists` re-ranked by a soft variant."""
        chosen = self.settings
        if method in TAKES_VOTES:
            queries, index = self.votes
        else:
            queries, index = (method_votes(method, split, chosen.soft) for split in self.train_neighbours)
        return reranked(lists, queries, index, replace(chosen.insert, method=method), chosen.soft)


def _rankings(bench: _Bench) -> dict[str, Timed]:
    """Return the ranking and the seconds of every method, by its name."""
    limit = bench.settings.insert.limit
    knn = bench.lists(bench.queries.first(limit).positions)
    found = {
        "kNN": (knn, bench.query_seconds),
        "sort": _timed(sorted_ranking, knn, *bench.votes),
        OURS: _timed(bench.sorted_inserted, knn),
    }
    deep = bench.queries.first(bench.settings.candidates)
    listed = bench.lists(deep.positions, deep.similarity)
    found |= {method: _timed(bench.soft, method, listed) for method in SOFT_METHODS}
    for name, rival in _rivals(bench, limit).items():
        positions, seconds = _timed(rival)
        seconds += bench.index_seconds * (name != "alpha-QE")
        found[name] = bench.lists(positions), seconds
        ranking, more = _timed(bench.sorted_inserted, found[name][0])
        found[f"{name} + {OURS}"] = ranking, seconds + more
    return found


def _rivals(bench: _Bench, limit: int) -> dict[str, Callable[[], Positions]]:
    """Return the label-blind methods: each gives lists int32 (q, limit) of positions."""
    settings, queries, index = bench.settings, bench.queries, bench.index
    alpha, count = settings.expansion.alpha, settings.expansion.count

    def expansion() -> Positions:
        near = queries.first(count)
        vectors = bench.query_vectors.astype(np.float32)
        expanded = alpha_query_expansion(vectors, bench.index_vectors, near.positions, near.similarity, alpha, count)
        return bench.search(expanded, limit).positions

    def augmentation() -> Positions:
        near = index.first(count)
        augmented = database_augmentation(bench.index_vectors, near.positions, near.similarity, alpha)
        return nearest(bench.query_vectors.astype(np.float32), augmented, limit, device=bench.device)[1]

    def diffusion() -> Positions:
        sources = diffusion_sources(queries, settings.diffusion)
        reach = bench.search_around(sources, settings.diffusion.truncation).positions
        return diffused_lists(queries, index, reach, limit, settings.diffusion)

    return {
        "alpha-QE": expansion,
        "DBA": augmentation,
        "diffusion": diffusion,
        "EGT": lambda: traversed_lists(queries, index, limit, settings.traversal),
        "k-reciprocal": lambda: reciprocal_lists(queries.first(settings.candidates), index, limit, settings.reciprocal),
    }


def _timed(function: Callable[..., _Result], *arguments: Any) -> tuple[_Result, float]:
    """Return what `function` returns, and the seconds that it took."""
    started = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - started


def comparison_summary(compared: pl.DataFrame) -> pl.DataFrame:
    """Return tables.RERANKING_COMPARISON as people read it: a row a method, mAP@100 by usage, intervals as text."""
    overall = compared.filter(usage="all")
    by_usage = compared.pivot("usage", index="method", values="map_at_100", maintain_order=True)
    text = pl.format("{} to {}", pl.col("low").round(2), pl.col("high").round(2))
    difference = pl.format(
        "{} ({} to {})", *(pl.col(name).round(2) for name in ("difference", "difference_low", "difference_high"))
    )
    told = overall.select("method", text.alias("interval"), difference.alias(f"to {OURS}"), "seconds")
    return by_usage.join(told, on="method", maintain_order="left")


def reranking_sweep(neighbours: pl.DataFrame, photos: Photos, limit: int) -> pl.DataFrame:
    """Return mAP@100 of sort-step + insert-step for every k and threshold (tables.RERANKING_SWEEP, percent).

    `neighbours` is tables.NEIGHBOURS; k goes as far as train neighbours are stored. Lists are sorted once a k,
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
            offsets, positions, _ = insert_step(lists.offsets, in_order, same, landmark, confidence, groups, insert)
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
