"""Checks of stored outputs: each reads tables, calls `landmark_dag.evaluation.data_checks`, and shows the problems."""

from collections.abc import Callable, Mapping, Sequence

import dagster as dg
import polars as pl

from assets.configs import PROFILE, DataCheckConfig
from assets.evaluation import retrieval_metrics
from assets.metadata import last_metadata
from assets.retrieval import inserted_ranking, knn_graph, sorted_ranking
from assets.steps import every_shard
from landmark_dag.evaluation.data_checks import (
    embedding_problems,
    graph_problems,
    label_problems,
    queries_also_elsewhere,
    ranking_problems,
    regression_problems,
    step_problems,
    vote_problems,
)
from landmark_dag.photos.source import SPLITS
from landmark_dag.storage.hashing import digest
from landmark_dag.storage.schemas import (
    CLEANED_DATASET,
    LABELS,
    MANIFEST,
    NEIGHBOURS,
    RANKING,
    RETRIEVAL_METRICS,
    VOTES,
)
from resources.store import Store

_SHOWN = 20
"""Sentences that a check shows at most."""

Problems = Callable[[dg.AssetCheckExecutionContext, Store], list[str]]
"""Returns a sentence for every problem found."""

ShardProblems = Callable[[str], Sequence[str]]
"""Returns a sentence for every problem found in one shard."""


def _check(
    asset: dg.AssetsDefinition | dg.AssetKey,
    name: str,
    description: str,
    problems: Problems,
    *,
    blocking: bool = False,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetChecksDefinition:
    """Return the check `name` of `asset`, which passes when `problems` finds none."""

    @dg.asset_check(asset=asset, name=name, description=description, blocking=blocking)
    def check(context: dg.AssetCheckExecutionContext, store: Store) -> dg.AssetCheckResult:
        return _result(problems(context, store), severity)

    return check


def _result(
    problems: Sequence[str], severity: dg.AssetCheckSeverity, metadata: Mapping[str, str | float] | None = None
) -> dg.AssetCheckResult:
    """Return the result of a check that found `problems`; it shows the first of them."""
    text = "\n".join(problems[:_SHOWN]) or "nothing"
    shown = {"problems": len(problems), "what": text, **(metadata or {})}
    return dg.AssetCheckResult(passed=not problems, severity=severity, metadata=shown)


def _stored(context: dg.AssetCheckExecutionContext, store: Store, asset: str, split: str) -> list[str]:
    """Return the shards of `split` that belong to the run and in which `asset` is stored."""
    return store.stored(asset, every_shard(context, split))


def _shard_by_shard(
    asset: str, split: str, problems: Callable[[dg.AssetCheckExecutionContext, Store], ShardProblems]
) -> Problems:
    """Return a function that finds the problems of every stored shard of `asset`, and names the shard in each.

    `problems` reads what all shards are compared with, once, and returns the function that checks one shard.
    """

    def of_all(context: dg.AssetCheckExecutionContext, store: Store) -> list[str]:
        of_shard = problems(context, store)
        return [
            f"Shard {shard}: {sentence}"
            for shard in _stored(context, store, asset, split)
            for sentence in of_shard(shard)
        ]

    return of_all


def _manifests(context: dg.AssetCheckExecutionContext, store: Store, split: str) -> list[str]:
    return _stored(context, store, f"{split}/photos", split)


def _duplicates(context: dg.AssetCheckExecutionContext, store: Store) -> list[str]:
    manifests = {
        split: store.read_shards(f"{split}/photos", MANIFEST, _manifests(context, store, split)) for split in SPLITS
    }
    return [
        f"Query {query_id} is also in {split}, as {image_id}."
        for query_id, split, image_id in queries_also_elsewhere(manifests).iter_rows()
    ]


query_photos_are_only_queries = _check(
    dg.AssetKey(["query", "photos"]),
    "only_queries",
    "Warns of queries with the same bytes as a train or index photo: they find themselves, which makes the metrics too "
    "high. Remove one of the two.",
    _duplicates,
    severity=dg.AssetCheckSeverity.WARN,
)


def _labels(context: dg.AssetCheckExecutionContext, store: Store) -> list[str]:
    photos = store.read_shards("train/photos", MANIFEST, _manifests(context, store, "train"))
    return label_problems(store.read("train/labels", LABELS), photos)


train_labels_fit_photos = _check(
    dg.AssetKey(["train", "labels"]),
    "fit_photos",
    "Warns of train photos without a label and of names that several landmarks share. Correct the labels at their "
    "source.",
    _labels,
    severity=dg.AssetCheckSeverity.WARN,
)


def _embeddings(split: str) -> dg.AssetChecksDefinition:
    def problems(context: dg.AssetCheckExecutionContext, store: Store) -> ShardProblems:
        from landmark_dag.storage.embeddings import read_embeddings

        model = last_metadata(context.instance, dg.AssetKey("trained_model"), "").get("model")

        def of_shard(shard: str) -> list[str]:
            embeddings = read_embeddings(store.path(f"{split}/embeddings", shard))
            expected = str(model.value) if model else embeddings.model
            named = expected if expected in embeddings.model else embeddings.model
            manifest = store.read(f"{split}/photos", MANIFEST, shard)
            return embedding_problems(embeddings.image_ids, embeddings.vectors, named, manifest, expected)

        return of_shard

    return _check(
        dg.AssetKey([split, "embeddings"]),
        "sound",
        "Every readable photo has one embedding, finite, of length 1, by the current model. Materialize the shards "
        "that the problems name.",
        _shard_by_shard(f"{split}/embeddings", split, problems),
        blocking=True,
    )


train_embeddings_sound, index_embeddings_sound, query_embeddings_sound = (_embeddings(split) for split in SPLITS)


def _reported(context: dg.AssetCheckExecutionContext, asset: str, shard: str, name: str, otherwise: int | str) -> str:
    """Return what the last materialization of a shard reported under `name`; `otherwise` if it did not."""
    metadata = last_metadata(context.instance, dg.AssetKey(asset), shard)
    return str(metadata[name].value) if name in metadata else str(otherwise)


def _ids(context: dg.AssetCheckExecutionContext, store: Store, asset: str, split: str) -> pl.Series:
    """Return the ids of the photos of `split` in the shards in which `asset` is stored."""
    shards = _stored(context, store, asset, split)
    return store.read_shards(f"{split}/photos", MANIFEST, shards)["image_id"]


def _graph(context: dg.AssetCheckExecutionContext, store: Store) -> ShardProblems:
    index_ids = _ids(context, store, "index/embeddings", "index")

    def of_shard(shard: str) -> list[str]:
        neighbours = int(_reported(context, "knn_graph", shard, "neighbours", PROFILE.neighbours.neighbours))
        query_ids = store.read("query/photos", MANIFEST, shard)["image_id"]
        return graph_problems(store.read("knn_graph", NEIGHBOURS, shard), query_ids, index_ids, neighbours)

    return of_shard


knn_graph_sound = _check(
    knn_graph,
    "sound",
    "Every query has a list of known index photos, once each, nearest first, of the length in the settings. "
    "Materialize the shards that the problems name.",
    _shard_by_shard("knn_graph", "query", _graph),
    blocking=True,
)


def _votes(split: str) -> dg.AssetChecksDefinition:
    def problems(context: dg.AssetCheckExecutionContext, store: Store) -> ShardProblems:
        landmark_ids = store.read("cleaned_dataset", CLEANED_DATASET)["landmark_id"].unique()

        def of_shard(shard: str) -> list[str]:
            image_ids = store.read(f"{split}/photos", MANIFEST, shard)["image_id"]
            return vote_problems(store.read(f"{split}/votes", VOTES, shard), image_ids, landmark_ids)

        return of_shard

    return _check(
        dg.AssetKey([split, "votes"]),
        "sound",
        "Every photo votes once, for a landmark of the cleaned dataset, with a confidence between -1 and 1. "
        "Materialize the shards that the problems name.",
        _shard_by_shard(f"{split}/votes", split, problems),
        blocking=True,
    )


index_votes_sound, query_votes_sound = _votes("index"), _votes("query")


def _ranking(asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    name = asset.key.to_user_string()

    def problems(context: dg.AssetCheckExecutionContext, store: Store) -> ShardProblems:
        index_ids = _ids(context, store, "index/embeddings", "index")

        def of_shard(shard: str) -> list[str]:
            return ranking_problems(
                store.read(name, RANKING, shard),
                store.read("query/photos", MANIFEST, shard)["image_id"],
                index_ids,
                int(_reported(context, name, shard, "limit", PROFILE.neighbours.neighbours)),
                _reported(context, name, shard, "method", "insert") == "insert",
            )

        return of_shard

    return _check(
        asset,
        "sound",
        "Every query has a list of known index photos, once each, no longer than the limit, inserted photos after "
        "those of the query's landmark. Materialize the shards that the problems name.",
        _shard_by_shard(name, "query", problems),
        blocking=True,
    )


sorted_ranking_sound, inserted_ranking_sound = _ranking(sorted_ranking), _ranking(inserted_ranking)


def _overall(store: Store) -> dict[str, float]:
    """Return mAP@100 of all queries (percent), by step."""
    metrics = store.read("retrieval_metrics", RETRIEVAL_METRICS).filter(usage="all")
    return dict(metrics.select("step", "map_at_100").iter_rows())


@dg.asset_check(
    asset=retrieval_metrics,
    name="steps_gain",
    description=(
        "Warns when sorting or inserting loses mAP@100. Few queries, or the votes of a weak model, can cause it: look "
        "at the gallery's losses and at the votes. The margin is in the check's config."
    ),
)
def metrics_steps_gain(
    context: dg.AssetCheckExecutionContext, config: DataCheckConfig, store: Store
) -> dg.AssetCheckResult:
    """Compare mAP@100 of each step with that of the step before."""
    return _result(step_problems(_overall(store), config.settings()), dg.AssetCheckSeverity.WARN)


_NO_WORSE = "no_worse_than_before"


@dg.asset_check(
    asset=retrieval_metrics,
    name=_NO_WORSE,
    blocking=True,
    description=(
        "No step may lose more than a margin of mAP@100 compared with the last run on the same photos that passed. "
        "Look at the model and the cleaned dataset; submissions and gallery stay unchanged until this passes. The "
        "margin is in the check's config."
    ),
)
def metrics_no_worse_than_before(
    context: dg.AssetCheckExecutionContext, config: DataCheckConfig, store: Store
) -> dg.AssetCheckResult:
    """Compare mAP@100 with that of the last run that passed."""
    photos = {
        f"{split}/{shard}": store.version(store.path(f"{split}/photos", shard))
        for split in ("index", "query")
        for shard in _manifests(context, store, split)
    }
    values = _overall(store)
    last_good = _last_good(context.instance, digest(photos))
    return _result(
        regression_problems(values, last_good, config.settings()),
        dg.AssetCheckSeverity.ERROR,
        {"photos": digest(photos), **values},
    )


def _last_good(instance: dg.DagsterInstance, photos: str) -> dict[str, float]:
    """Return mAP@100, by step, of the last time that this check passed on the photos with the digest `photos`."""
    key = dg.AssetCheckKey(retrieval_metrics.key, _NO_WORSE)
    for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=100):
        event = record.event.dagster_event if record.event else None
        if event and event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            if evaluation.passed and evaluation.metadata["photos"].value == photos:
                values = evaluation.metadata.items()
                return {step: value.value or 0.0 for step, value in values if isinstance(value, dg.FloatMetadataValue)}
    return {}
