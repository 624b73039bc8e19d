"""Retrieval: embeddings, the kNN graph, votes, and the sorted and inserted rankings."""

import functools
from pathlib import Path
from typing import Any

import dagster as dg

from assets.configs import (
    DataCheckConfig,
    EmbeddingConfig,
    InsertConfig,
    NeighbourConfig,
    TrainNeighbourConfig,
    VoteConfig,
)
from assets.metadata import Metadata, last_metadata, table_metadata
from assets.steps import GPU, OWNERS, Upstream, deps, every, every_shard, materialize_stored, on_retry, same
from landmark_dag.orchestration.executors import backfill_policy
from landmark_dag.orchestration.partitions import SHARDS
from landmark_dag.photos.source import SPLITS
from landmark_dag.settings.definition import hashed_fields
from landmark_dag.settings.reranking import RerankingSettings
from landmark_dag.storage.hashing import digest, folder_fingerprint
from landmark_dag.storage.parquet_tables import read_notes, read_table, write_table
from landmark_dag.storage.schemas import (
    CLEANED_DATASET,
    EMBEDDINGS,
    MANIFEST,
    NEIGHBOURS,
    RANKING,
    TRAIN_NEIGHBOURS,
    VOTES,
)
from resources.accelerator import Accelerator
from resources.store import Store

RECALL_QUERIES = 200
"""Queries of a shard whose exact neighbours are found beside the approximate ones."""


def _of(split: str) -> dict[str, Any]:
    """Return the arguments of an asset with one partition for each shard of `split`."""
    return {
        "partitions_def": SHARDS[split],
        "backfill_policy": backfill_policy(),
        "owners": OWNERS,
        "code_version": "1",
    }


def _embeddings(split: str) -> dg.AssetsDefinition:
    inputs = [same(f"{split}/photos"), Upstream("trained_model")]

    @dg.asset(
        key=[split, "embeddings"],
        deps=deps(inputs),
        group_name="embeddings",
        kinds={"pytorch", "arrow"},
        description=f"The embedding of every {split} photo by the trained model: unit norm, float16.",
        metadata=table_metadata(EMBEDDINGS),
        **_of(split),
        **GPU,
    )
    def embeddings(
        context: dg.AssetExecutionContext, config: EmbeddingConfig, store: Store, accelerator: Accelerator
    ) -> dg.MaterializeResult:
        from landmark_dag.photos.manifest import locations_of
        from landmark_dag.retrieval.embedding import embed_by_ensemble
        from landmark_dag.storage.embeddings import write_embeddings
        from landmark_dag.training.artifact import load_model

        settings, ensemble = on_retry(context, config.settings()), config.ensemble.settings()
        further = [Path(folder) for folder in ensemble.folders]
        device = accelerator.torch_device()

        def compute(shard: str, path: Path, version: str) -> Metadata:
            models = [load_model(folder, device) for folder in (store.model_folder(), *further)]
            locations = locations_of(store.read(f"{split}/photos", MANIFEST, shard))
            embedded = embed_by_ensemble(locations, models, ensemble.each_weight, settings, device)
            write_embeddings(path, embedded, version)
            return {
                "dagster/row_count": len(embedded.image_ids),
                "dimensions": embedded.vectors.shape[1],
                "model": embedded.model,
                "device": device,
            }

        return materialize_stored(
            context,
            store,
            compute,
            inputs=inputs,
            settings=[settings, ensemble] if further else [settings],
            source=lambda shard: digest([folder_fingerprint(folder) for folder in further]) if further else "",
            rows="photos embedded",
        )

    return embeddings


train_embeddings, index_embeddings, query_embeddings = (_embeddings(split) for split in SPLITS)


_KNN_GRAPH = [same("query/embeddings"), every("index/embeddings", "index")]


@dg.asset(
    deps=deps(_KNN_GRAPH),
    group_name="ranking",
    kinds={"parquet"},
    metadata=table_metadata(NEIGHBOURS),
    **_of("query"),
    **GPU,
)
def knn_graph(
    context: dg.AssetExecutionContext, config: NeighbourConfig, store: Store, accelerator: Accelerator
) -> dg.MaterializeResult:
    """The nearest index photos of every query, by inner product; exact unless the settings say otherwise.

    Of an exact graph only the neighbours in new index shards are searched, and merged into what is stored.
    """
    settings = config.settings()
    index_shards = every_shard(context, "index")

    @functools.cache
    def search(*shards: str) -> Any:
        from landmark_dag.retrieval.neighbour_search import NeighbourSearch

        index = store.read_embeddings("index/embeddings", shards)
        return NeighbourSearch(index, settings, accelerator.torch_device())

    def compute(shard: str, path: Path, version: str) -> Metadata:
        from landmark_dag.retrieval.neighbour_search import grown_graph, growth_notes, merged_shards
        from landmark_dag.storage.embeddings import sample

        queries = store.read_embeddings("query/embeddings", [shard])
        origin = digest([store.input_version("query/embeddings", shard), hashed_fields(settings)])
        versions = store.input_versions("index/embeddings", index_shards)
        kept = merged_shards(read_notes(path), origin, versions) if settings.grows else []
        new = [name for name in index_shards if name not in kept]
        if kept:
            store.check_distinct("index/embeddings", index_shards)
            graph = grown_graph(read_table(path, NEIGHBOURS), search(*new), queries, settings.neighbours)
        else:
            graph = search(*new).table(queries)
        longest = len(graph["rank"].unique())
        if longest < settings.neighbours:
            context.log.warning(
                f"The index holds {longest} photos: every list is that long, not {settings.neighbours}."
            )
        write_table(path, NEIGHBOURS, graph, version, growth_notes(origin, versions) if settings.grows else None)
        recall = {} if settings.search == "exact" else {"recall": search(*new).recall(sample(queries, RECALL_QUERIES))}
        return {
            "dagster/row_count": graph.height,
            "queries": len(queries.image_ids),
            "neighbours": settings.neighbours,
            "index shards searched": len(new),
            **recall,
        }

    return materialize_stored(context, store, compute, inputs=_KNN_GRAPH, settings=[settings])


@dg.asset_check(
    asset=knn_graph,
    name="recall",
    description=(
        f"Fails when an approximate search finds too few of the exact neighbours of {RECALL_QUERIES} queries of a "
        "shard. Raise effort, or choose another search. Exact search always passes. The share is in the check's config."
    ),
)
def graph_recall(context: dg.AssetCheckExecutionContext, config: DataCheckConfig) -> dg.AssetCheckResult:
    """Compare the recall that each shard's last materialization reported with the floor."""
    reported = {}
    for shard in every_shard(context, "query"):
        metadata = last_metadata(context.instance, knn_graph.key, shard)
        if "recall" in metadata:
            reported[shard] = float(metadata["recall"].value)
    worst = min(reported, key=reported.__getitem__, default="")
    return dg.AssetCheckResult(
        passed=all(recall >= config.smallest_recall for recall in reported.values()),
        metadata={"shards searched approximately": len(reported)}
        | ({"worst shard": worst, "recall": reported[worst]} if reported else {}),
    )


def _train_neighbours(split: str) -> dg.AssetsDefinition:
    inputs = [same(f"{split}/embeddings"), every("train/embeddings", "train"), Upstream("cleaned_dataset")]

    @dg.asset(
        key=[split, "train_neighbours"],
        deps=deps(inputs),
        group_name="ranking",
        kinds={"parquet"},
        description=f"The nearest cleaned train photos of every {split} photo, with their landmarks.",
        metadata=table_metadata(TRAIN_NEIGHBOURS),
        **_of(split),
        **GPU,
    )
    def train_neighbours(
        context: dg.AssetExecutionContext, config: TrainNeighbourConfig, store: Store, accelerator: Accelerator
    ) -> dg.MaterializeResult:
        settings = config.settings()

        @functools.cache
        def search() -> Any:
            from landmark_dag.retrieval.neighbour_search import TrainNeighbourSearch

            cleaned = store.read("cleaned_dataset", CLEANED_DATASET)
            voting = set(cleaned["image_id"])
            train = store.read_embeddings("train/embeddings", every_shard(context, "train"), voting)
            return TrainNeighbourSearch(train, cleaned, settings, accelerator.torch_device())

        def compute(shard: str, path: Path, version: str) -> Metadata:
            photos = store.read_embeddings(f"{split}/embeddings", [shard])
            table = search().table(photos)
            write_table(path, TRAIN_NEIGHBOURS, table, version)
            return {"dagster/row_count": table.height, "photos": len(photos.image_ids)}

        return materialize_stored(context, store, compute, inputs=inputs, settings=[settings])

    return train_neighbours


index_train_neighbours, query_train_neighbours = _train_neighbours("index"), _train_neighbours("query")


def _votes(split: str) -> dg.AssetsDefinition:
    inputs = [same(f"{split}/train_neighbours"), Upstream("cleaned_dataset")]

    @dg.asset(
        key=[split, "votes"],
        deps=deps(inputs),
        group_name="ranking",
        kinds={"numba", "parquet"},
        description=f"The landmark that the nearest cleaned train photos of every {split} photo vote for.",
        metadata=table_metadata(VOTES),
        **_of(split),
    )
    def votes(context: dg.AssetExecutionContext, config: VoteConfig, store: Store) -> dg.MaterializeResult:
        from landmark_dag.retrieval.votes import votes_of

        settings = config.settings()

        @functools.cache
        def train_photos() -> int:
            return store.read("cleaned_dataset", CLEANED_DATASET).height

        def compute(shard: str, path: Path, version: str) -> Metadata:
            table = votes_of(
                store.read(f"{split}/train_neighbours", TRAIN_NEIGHBOURS, shard), settings.k, train_photos()
            )
            write_table(path, VOTES, table, version)
            return {"dagster/row_count": table.height, "mean confidence": table["confidence"].mean()}

        return materialize_stored(context, store, compute, inputs=inputs, settings=[settings])

    return votes


index_votes, query_votes = _votes("index"), _votes("query")


_SORTED_RANKING = [same("knn_graph"), same("query/votes"), every("index/votes", "index")]


@dg.asset(
    deps=deps(_SORTED_RANKING),
    group_name="ranking",
    kinds={"numba", "parquet"},
    metadata=table_metadata(RANKING),
    **_of("query"),
)
def sorted_ranking(context: dg.AssetExecutionContext, store: Store) -> dg.MaterializeResult:
    """The sort-step: index photos with the query's landmark first, order otherwise unchanged."""
    from landmark_dag.retrieval.reranking import sort as science

    @functools.cache
    def index_votes() -> Any:
        return store.read_shards("index/votes", VOTES, every_shard(context, "index")).sort("image_id")

    def compute(shard: str, path: Path, version: str) -> Metadata:
        graph, votes = store.read("knn_graph", NEIGHBOURS, shard), store.read("query/votes", VOTES, shard)
        ranking = science.sorted_ranking(graph, votes, index_votes())
        write_table(path, RANKING, ranking, version)
        return {"dagster/row_count": ranking.height, **_reasons(ranking)}

    return materialize_stored(context, store, compute, inputs=_SORTED_RANKING)


_BY_VOTES = [same("sorted_ranking"), same("query/votes"), every("index/votes", "index")]
_BY_TRAIN_NEIGHBOURS = [
    same("sorted_ranking"),
    same("query/train_neighbours"),
    every("index/train_neighbours", "index"),
]


@dg.asset(
    deps=deps([*_BY_VOTES, *_BY_TRAIN_NEIGHBOURS[1:]]),
    group_name="ranking",
    kinds={"numba", "parquet"},
    metadata=table_metadata(RANKING),
    **_of("query"),
)
def inserted_ranking(context: dg.AssetExecutionContext, config: InsertConfig, store: Store) -> dg.MaterializeResult:
    """The insert-step: confident index photos of the query's landmark that kNN missed, after the positives.

    With another `method` the sorted ranking is re-ranked by a soft variant instead.
    """
    from landmark_dag.retrieval.reranking.inputs import RerankingInput
    from landmark_dag.retrieval.reranking.methods import label_aware

    settings, soft = config.settings(), config.soft.settings()
    method, by_votes = label_aware(settings.method)
    name, table = ("votes", VOTES) if by_votes else ("train_neighbours", TRAIN_NEIGHBOURS)

    kept: dict[Any, Any] = {}

    @functools.cache
    def of_index() -> Any:
        rows = store.read_shards(f"index/{name}", table, every_shard(context, "index"))
        return rows.sort("image_id") if by_votes else rows

    def compute(shard: str, path: Path, version: str) -> Metadata:
        lists = store.read("sorted_ranking", RANKING, shard)
        pair = store.read(f"query/{name}", table, shard), of_index()
        photos = RerankingInput(votes=pair) if by_votes else RerankingInput(train_neighbours=pair, kept=kept)
        ranking = method.rerank(lists, photos, RerankingSettings(insert=settings, soft=soft))
        write_table(path, RANKING, ranking, version)
        asked = {"method": settings.method, "limit": settings.limit}
        return {"dagster/row_count": ranking.height, **asked, **_reasons(ranking)}

    return materialize_stored(
        context,
        store,
        compute,
        inputs=_BY_VOTES if by_votes else _BY_TRAIN_NEIGHBOURS,
        settings=[settings] if settings.method == "insert" else [settings, soft],
        rows="rows ranked",
    )


def _reasons(ranking: Any) -> Metadata:
    """Return the number of rows with each reason."""
    return dict(ranking["reason"].value_counts().rows())
