"""Evaluation: the official metrics, the submission and the gallery."""

from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from assets.configs import ComparisonConfig, RecognitionConfig
from assets.metadata import Metadata, last_metadata, picture_metadata, rows_metadata, table_metadata
from assets.steps import GPU, OWNERS, Upstream, deps, every, every_shard, materialize_stored
from landmark_dag.errors import InputError
from landmark_dag.storage.hashing import fingerprint
from landmark_dag.storage.parquet_tables import write_table
from landmark_dag.storage.schemas import (
    LABELS,
    MANIFEST,
    NEIGHBOURS,
    RANKING,
    RECOGNITION_METRICS,
    RERANKING_COMPARISON,
    RERANKING_SWEEP,
    RETRIEVAL_METRICS,
    TRAIN_NEIGHBOURS,
    VOTES,
)
from resources.accelerator import Accelerator
from resources.photo_source import PhotoSourceResource
from resources.store import Store

_COMMON: dict[str, Any] = {"group_name": "evaluation", "owners": OWNERS, "code_version": "1"}
_SECOND: dict[str, Any] = {**_COMMON, "code_version": "2"}
_ON_GPU: dict[str, Any] = {**_COMMON, **GPU}

_LISTS = [every(asset, "query") for asset in ("knn_graph", "sorted_ranking", "inserted_ranking")]


def _rankings(context: dg.AssetExecutionContext, store: Store) -> dict[str, Any]:
    """Return the lists of all queries after each step."""
    shards = every_shard(context, "query")
    return {
        "knn": store.read_shards("knn_graph", NEIGHBOURS, shards),
        "sorted": store.read_shards("sorted_ranking", RANKING, shards),
        "inserted": store.read_shards("inserted_ranking", RANKING, shards),
    }


def _file_version(path: Path | None) -> str:
    return fingerprint(path.read_bytes()) if path else "none"


def _pictures(pictures: dict[str, bytes]) -> Metadata:
    """Return PNG pictures by caption as metadata."""
    return {caption: picture_metadata(png) for caption, png in pictures.items()}


def _landmark_numbers(photo_source: PhotoSourceResource, store: Store) -> dict[str, int] | None:
    """Return the landmarks' numbers by name where ground truth and submissions name them, else None."""
    from landmark_dag.evaluation.ground_truth import landmark_numbers

    return landmark_numbers(store.read("train/labels", LABELS)) if photo_source.names_landmarks() else None


@dg.asset(deps=deps(_LISTS), kinds={"parquet"}, metadata=table_metadata(RETRIEVAL_METRICS), **_SECOND)
def retrieval_metrics(
    context: dg.AssetExecutionContext, photo_source: PhotoSourceResource, store: Store
) -> dg.MaterializeResult:
    """mAP@100 after kNN, sort-step and insert-step; empty where there is no ground truth."""
    from landmark_dag.evaluation import retrieval_metrics as science
    from landmark_dag.evaluation.aggregation import metrics_summary
    from landmark_dag.evaluation.ground_truth import read_retrieval_ground_truth
    from landmark_dag.reports.result_plots import retrieval_pictures

    solution = photo_source.source().retrieval_ground_truth()

    def compute(shard: str, path: Path, version: str) -> Metadata:
        if solution is None:
            write_table(path, RETRIEVAL_METRICS, RETRIEVAL_METRICS.empty(), version)
            return {"skipped": "the photos have no retrieval ground truth"}
        lists, truth = _rankings(context, store), read_retrieval_ground_truth(solution)
        metrics = science.retrieval_metrics(lists, truth)
        write_table(path, RETRIEVAL_METRICS, metrics, version)
        overall = {
            f"{row['step']} mAP@100": row["map_at_100"] for row in metrics.rows(named=True) if row["usage"] == "all"
        }
        return {
            "metrics": rows_metadata(metrics_summary(metrics)),
            **overall,
            **_pictures(retrieval_pictures(lists, truth)),
        }

    return materialize_stored(context, store, compute, inputs=_LISTS, source=lambda shard: _file_version(solution))


_COMPARISON = [
    every("query/embeddings", "query"),
    every("index/embeddings", "index"),
    every("knn_graph", "query"),
    every("query/train_neighbours", "query"),
    every("index/train_neighbours", "index"),
]


@dg.asset(deps=deps(_COMPARISON), kinds={"scipy", "parquet"}, metadata=table_metadata(RERANKING_COMPARISON), **_ON_GPU)
def reranking_comparison(
    context: dg.AssetExecutionContext,
    config: ComparisonConfig,
    photo_source: PhotoSourceResource,
    store: Store,
    accelerator: Accelerator,
) -> dg.MaterializeResult:
    """Re-ranking, its soft variants and the baselines side by side; empty where there is no ground truth.

    The sweep over k and threshold is stored beside it and shown as a heat map.
    """
    from landmark_dag.evaluation import comparison as science
    from landmark_dag.evaluation.ground_truth import read_retrieval_ground_truth
    from landmark_dag.reports.plots import sweep_heat_map

    settings = config.settings()
    solution = photo_source.source().retrieval_ground_truth()

    def compute(shard: str, path: Path, version: str) -> Metadata:
        if solution is None:
            write_table(path, RERANKING_COMPARISON, RERANKING_COMPARISON.empty(), version)
            return {"skipped": "the photos have no retrieval ground truth"}
        queries, index = every_shard(context, "query"), every_shard(context, "index")
        photos = science.Photos(
            store.read_embeddings("query/embeddings", queries),
            store.read_embeddings("index/embeddings", index),
            store.read_shards("query/train_neighbours", TRAIN_NEIGHBOURS, queries),
            store.read_shards("index/train_neighbours", TRAIN_NEIGHBOURS, index),
            read_retrieval_ground_truth(solution),
        )
        compared = science.reranking_comparison(photos, settings, accelerator.torch_device())
        graph = store.read_shards("knn_graph", NEIGHBOURS, queries)
        swept = science.reranking_sweep(graph, photos, settings.insert.limit)
        store.write("reranking_sweep", RERANKING_SWEEP, swept, version)
        write_table(path, RERANKING_COMPARISON, compared, version)
        return {
            "comparison": rows_metadata(science.comparison_summary(compared)),
            "mAP@100 by k and threshold": picture_metadata(sweep_heat_map(swept)),
            "dagster/row_count": compared.height,
        }

    return materialize_stored(
        context, store, compute, inputs=_COMPARISON, settings=[settings], source=lambda shard: _file_version(solution)
    )


_RECOGNITION = [every("query/train_neighbours", "query")]
_VERIFIED_RECOGNITION = [*_RECOGNITION, every("query/photos", "query"), every("train/local_features", "train")]


@dg.asset(deps=deps(_VERIFIED_RECOGNITION), kinds={"numba", "parquet"}, metadata=table_metadata(VOTES), **_ON_GPU)
def recognition(
    context: dg.AssetExecutionContext, config: RecognitionConfig, store: Store, accelerator: Accelerator
) -> dg.MaterializeResult:
    """The landmark and score of every query: votes, with `verified` raised by inliers, without distractors."""
    from landmark_dag.retrieval import recognition as science

    scoring = config.scoring.settings()
    features, verification = config.features.settings(), config.verification.settings()

    def compute(shard: str, path: Path, version: str) -> Metadata:
        queries = every_shard(context, "query")
        train_neighbours = store.read_shards("query/train_neighbours", TRAIN_NEIGHBOURS, queries)
        inliers = None
        if scoring.verified:
            from landmark_dag.matching.feature_files import read_local_features
            from landmark_dag.matching.feature_kinds import extract_features
            from landmark_dag.matching.features import JoinedFeatures
            from landmark_dag.matching.rootsift import photos_rootsift
            from landmark_dag.photos.manifest import locations_of

            train = every_shard(context, "train")
            _check_rootsift(context.instance, train)
            photos = locations_of(store.read_shards("query/photos", MANIFEST, queries))
            shards = [store.path("train/local_features", name) for name in train]
            inliers = science.train_neighbour_inliers(
                train_neighbours,
                scoring.k,
                JoinedFeatures(list(extract_features(photos, partial(photos_rootsift, settings=features)))),
                JoinedFeatures([read_local_features(shard) for shard in shards]),
                verification,
                accelerator.torch_device(),
            )
        table = science.recognised(train_neighbours, scoring, inliers)
        write_table(path, VOTES, table, version)
        return {"dagster/row_count": table.height, "demoted": int((table["confidence"] <= -1).sum())}

    return materialize_stored(
        context,
        store,
        compute,
        inputs=_VERIFIED_RECOGNITION if scoring.verified else _RECOGNITION,
        settings=[scoring, features, verification] if scoring.verified else [scoring],
    )


def _check_rootsift(instance: dg.DagsterInstance, shards: list[str]) -> None:
    """Raise InputError, naming the shard, where train photos have other local features than queries are given."""
    for shard in shards:
        kind = last_metadata(instance, dg.AssetKey(["train", "local_features"]), shard).get("kind")
        if kind and kind.value != "rootsift":
            raise InputError(
                f"Verified recognition compares RootSIFT, and train/local_features of shard {shard} are {kind.value}; "
                "materialize train/local_features with kind rootsift, or set verified to false."
            )


_RECOGNITION_METRICS = [Upstream("recognition"), Upstream("train/labels")]


@dg.asset(deps=deps(_RECOGNITION_METRICS), kinds={"parquet"}, metadata=table_metadata(RECOGNITION_METRICS), **_SECOND)
def recognition_metrics(
    context: dg.AssetExecutionContext, photo_source: PhotoSourceResource, store: Store
) -> dg.MaterializeResult:
    """µAP of the queries' landmarks; empty where there is no ground truth."""
    from landmark_dag.evaluation import recognition_metrics as science
    from landmark_dag.evaluation.aggregation import metrics_summary
    from landmark_dag.evaluation.ground_truth import read_recognition_ground_truth
    from landmark_dag.reports.result_plots import vote_pictures

    solution = photo_source.source().recognition_ground_truth()

    def compute(shard: str, path: Path, version: str) -> Metadata:
        if solution is None:
            write_table(path, RECOGNITION_METRICS, RECOGNITION_METRICS.empty(), version)
            return {"skipped": "the photos have no recognition ground truth"}
        votes = store.read("recognition", VOTES)
        truth = read_recognition_ground_truth(solution, _landmark_numbers(photo_source, store))
        metrics = science.recognition_metrics(votes, truth)
        write_table(path, RECOGNITION_METRICS, metrics, version)
        return {"metrics": rows_metadata(metrics_summary(metrics)), **_pictures(vote_pictures(votes, truth))}

    return materialize_stored(
        context, store, compute, inputs=_RECOGNITION_METRICS, source=lambda shard: _file_version(solution)
    )


_AFTER_METRICS = [Upstream("retrieval_metrics")]
"""What submissions and gallery wait for, without reading it: a failed check of the metrics keeps the former ones."""

_SUBMISSION = [every("inserted_ranking", "query"), Upstream("recognition"), Upstream("train/labels")]


@dg.asset(deps=deps([*_SUBMISSION, *_AFTER_METRICS]), kinds={"csv"}, **_SECOND)
def submission(
    context: dg.AssetExecutionContext, photo_source: PhotoSourceResource, store: Store
) -> dg.MaterializeResult:
    """The inserted ranking and the recognised landmarks as the challenge's CSVs: `id,images` and `id,landmarks`.

    Leaves them out, and says so, if an id cannot be written to such a file: one with a space, a comma or a quote.
    """
    from landmark_dag.evaluation.submission import write_recognition_submission, write_retrieval_submission

    def compute(shard: str, path: Path, version: str) -> Metadata:
        ranking = store.read_shards("inserted_ranking", RANKING, every_shard(context, "query"))
        numbers = _landmark_numbers(photo_source, store)
        names = None if numbers is None else {number: name for name, number in numbers.items()}
        retrieval, recognition = path.with_suffix(".csv"), path.with_name("recognition_submission.csv")
        try:
            write_retrieval_submission(retrieval, ranking)
            write_recognition_submission(recognition, store.read("recognition", VOTES), names)
        except InputError as error:
            for former in (retrieval, recognition):
                former.unlink(missing_ok=True)
            store.write_record(path, version, {})
            return {"skipped": str(error)}
        store.write_record(path, version, {"file": retrieval.name, "recognition": recognition.name})
        return {
            "file": dg.MetadataValue.path(retrieval),
            "recognition": dg.MetadataValue.path(recognition),
            "queries": ranking["query_id"].n_unique(),
        }

    return materialize_stored(context, store, compute, inputs=_SUBMISSION)


_GALLERY = [
    *_LISTS,
    every("query/votes", "query"),
    Upstream("train/labels"),
    every("query/photos", "query"),
    every("index/photos", "index"),
]


@dg.asset(deps=deps([*_GALLERY, *_AFTER_METRICS]), kinds={"html"}, **_SECOND)
def gallery(context: dg.AssetExecutionContext, photo_source: PhotoSourceResource, store: Store) -> dg.MaterializeResult:
    """One HTML page: every query with its lists after kNN, sort-step and insert-step, and plots of the results."""
    from landmark_dag.evaluation.ground_truth import read_recognition_ground_truth, read_retrieval_ground_truth
    from landmark_dag.reports import gallery as science
    from landmark_dag.reports.result_plots import retrieval_pictures, vote_pictures

    source = photo_source.source()
    solutions = source.retrieval_ground_truth(), source.recognition_ground_truth()

    def compute(shard: str, path: Path, version: str) -> Metadata:
        lists = _rankings(context, store)
        votes = store.read_shards("query/votes", VOTES, every_shard(context, "query"))
        truth = read_retrieval_ground_truth(solutions[0]) if solutions[0] else None
        built = science.build_gallery(
            lists,
            votes,
            dict(store.read("train/labels", LABELS).select("landmark_id", "landmark").unique().iter_rows()),
            store.read_shards("query/photos", MANIFEST, every_shard(context, "query")),
            store.read_shards("index/photos", MANIFEST, every_shard(context, "index")),
            truth,
        )
        pictures = retrieval_pictures(lists, truth) if truth else {}
        if solutions[1]:
            shown = read_recognition_ground_truth(solutions[1], _landmark_numbers(photo_source, store))
            pictures |= vote_pictures(votes, shown)
        target = path.with_suffix(".html")
        size = science.render_gallery(target, built, pictures=pictures)
        store.write_record(path, version, {"file": target.name})
        sheet = picture_metadata(science.contact_sheet(built, limit=100_000))
        return {
            "page": dg.MetadataValue.path(target),
            "bytes": size,
            "queries": built.query_count,
            "sheet": sheet,
            **_pictures(pictures),
        }

    versions = " ".join(_file_version(solution) for solution in solutions)
    return materialize_stored(context, store, compute, inputs=_GALLERY, source=lambda shard: versions)
