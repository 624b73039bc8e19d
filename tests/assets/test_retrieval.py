"""Votes and rankings through Dagster: a changed setting re-does what depends on it, and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from assets import retrieval
from landmark_dag.retrieval.reranking.soft import bridged_ranking, method_votes
from landmark_dag.settings.reranking import InsertSettings, SoftSettings
from landmark_dag.settings.retrieval import VoteSettings
from landmark_dag.storage.embeddings import Embeddings, write_embeddings
from landmark_dag.storage.parquet_tables import read_table, write_table
from landmark_dag.storage.schemas import CLEANED_DATASET, NEIGHBOURS, RANKING, TRAIN_NEIGHBOURS, VOTES
from resources.accelerator import Accelerator
from resources.store import Store

INDEX_ASSETS = [retrieval.index_train_neighbours, retrieval.index_votes]
QUERY_ASSETS = [
    retrieval.query_train_neighbours,
    retrieval.query_votes,
    retrieval.knn_graph,
    retrieval.sorted_ranking,
    retrieval.inserted_ranking,
]


def embeddings(split: str, count: int) -> Embeddings:
    rng = np.random.default_rng(len(split) + count)
    vectors = np.random.default_rng(0).normal(size=(3, 8))[np.arange(count) % 3] + rng.normal(size=(count, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Embeddings([f"{split}{n:02}" for n in range(count)], vectors.astype(np.float16), "m")


class World:
    """A store with embeddings and a cleaned dataset, and runs of what follows from them."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.store, self.instance = Store(root=str(root)), instance
        for split, count in (("train", 24), ("index", 30), ("query", 6)):
            write_embeddings(self.store.path(f"{split}/embeddings", "0000"), embeddings(split, count), split)
            instance.add_dynamic_partitions(f"{split}_shards", ["0000"])
        rows = [(f"train{n:02}", n % 3, n % 3) for n in range(24)]
        cleaned = pl.DataFrame(rows, schema=CLEANED_DATASET.schema, orient="row")
        write_table(self.store.path("cleaned_dataset"), CLEANED_DATASET, cleaned, "1")

    def run(self, **configs: dict[str, Any]) -> set[str]:
        """Materialize votes and rankings with these configs by op; return which assets were computed.

        What belongs to the index is materialized where it is missing or its config is given.
        """
        computed = set()
        ops = {name: {"config": config} for name, config in configs.items()}
        for assets in (INDEX_ASSETS, QUERY_ASSETS):
            names = {asset.node_def.name for asset in assets}
            if assets is INDEX_ASSETS and self.store.path("index/votes", "0000").exists() and not names & set(ops):
                continue
            result = dg.materialize(
                assets,
                instance=self.instance,
                resources={"store": self.store, "accelerator": Accelerator(device="cpu")},
                run_config={"ops": {name: op for name, op in ops.items() if name in names}},
                partition_key="0000",
            )
            for event in result.get_asset_materialization_events():
                if not event.materialization.metadata["unchanged"].value:
                    computed.add(event.materialization.asset_key.to_user_string())
        return computed


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with dg.instance_for_test() as instance:
        yield World(tmp_path, instance)


TRAIN_NEIGHBOURS_AND_GRAPH = {"index/train_neighbours", "query/train_neighbours", "knn_graph"}
EVERYTHING = TRAIN_NEIGHBOURS_AND_GRAPH | {"index/votes", "query/votes", "sorted_ranking", "inserted_ranking"}


def test_k_threshold_and_limit_re_do_only_what_depends_on_them(world: World) -> None:
    assert world.run() == EVERYTHING
    votes = {"index__votes": {"k": 5}, "query__votes": {"k": 5}}
    assert world.run(**votes) == EVERYTHING - TRAIN_NEIGHBOURS_AND_GRAPH
    voted = {"query__votes": {"k": 5}}
    assert world.run(**voted, inserted_ranking={"threshold": 1.2}) == {"inserted_ranking"}
    assert world.run(**voted, inserted_ranking={"threshold": 1.2, "limit": 4}) == {"inserted_ranking"}
    ranking = read_table(world.store.path("inserted_ranking", "0000"), RANKING)
    assert ranking.group_by("query_id").len()["len"].to_list() == [4] * 6


def test_the_papers_values_are_the_defaults(world: World) -> None:
    world.run()
    given = {"k": 3}, {"threshold": 0.6, "limit": 100, "method": "insert"}
    assert world.run(index__votes=given[0], query__votes=given[0], inserted_ranking=given[1]) == set()
    assert (VoteSettings().k, InsertSettings().threshold, InsertSettings().limit) == (3, 0.6, 100)


def test_a_soft_variant_is_one_setting_away(world: World) -> None:
    world.run()
    assert world.run(inserted_ranking={"soft": {"bridge_bonus": 2.0}}) == set()
    assert world.run(inserted_ranking={"method": "bridged", "soft": {"bridge_bonus": 2.0}}) == {"inserted_ranking"}
    soft = SoftSettings(bridge_bonus=2.0)
    train_neighbours = [
        read_table(world.store.path(f"{split}/train_neighbours", "0000"), TRAIN_NEIGHBOURS)
        for split in ("query", "index")
    ]
    graph = read_table(world.store.path("knn_graph", "0000"), NEIGHBOURS)
    expected = bridged_ranking(
        graph, *(method_votes("bridged", v, soft) for v in train_neighbours), InsertSettings(), soft
    )
    stored = read_table(world.store.path("inserted_ranking", "0000"), RANKING)
    assert stored.equals(expected)


def test_more_train_neighbours_than_are_stored_are_asked_for_by_name(world: World) -> None:
    world.run(index__train_neighbours={"count": 4})
    with pytest.raises(Exception, match="5 train photos shall vote but 4 are stored"):
        world.run(index__train_neighbours={"count": 4}, index__votes={"k": 5})
    votes = read_table(world.store.path("index/votes", "0000"), VOTES)
    assert votes.height == 30
