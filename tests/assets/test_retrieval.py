"""Votes and rankings through Dagster: a changed setting re-does what depends on it, and nothing else."""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from assets import retrieval
from landmark_dag.retrieval.reranking.bridged import bridge_confidence, bridged_ranking
from landmark_dag.settings.reranking import InsertSettings, SoftSettings
from landmark_dag.settings.retrieval import VoteSettings
from landmark_dag.storage.schemas import CLEANED_DATASET, NEIGHBOURS, RANKING, TRAIN_NEIGHBOURS, VOTES
from tests.support.vectors import landmark_embeddings
from tests.support.worlds import World

INDEX_ASSETS = [retrieval.index_train_neighbours, retrieval.index_votes]
QUERY_ASSETS = [
    retrieval.query_train_neighbours,
    retrieval.query_votes,
    retrieval.knn_graph,
    retrieval.sorted_ranking,
    retrieval.inserted_ranking,
]


class Votes(World):
    """Embeddings of photos of three landmarks and a cleaned dataset, and runs of what follows from them."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        super().__init__(root, instance)
        for split, count in (("train", 24), ("index", 30), ("query", 6)):
            self.embed(split, landmark_embeddings(split, np.arange(count) % 3, 8))
            self.register(split, "0000")
        self.write("cleaned_dataset", CLEANED_DATASET, [(f"train{n:02}", n % 3, n % 3) for n in range(24)])

    def run(self, **configs: dict[str, Any]) -> set[str]:
        """Materialize votes and rankings with these configs by op; return which assets were computed.

        Those of the index are materialized if they are missing or if `configs` names one of them.
        """
        computed = set()
        for assets in (INDEX_ASSETS, QUERY_ASSETS):
            given = {asset.op.name: configs[asset.op.name] for asset in assets if asset.op.name in configs}
            if assets is INDEX_ASSETS and self.store.path("index/votes", "0000").exists() and not given:
                continue
            result = self.materialize(*assets, shard="0000", configs=given)
            for event in result.get_asset_materialization_events():
                if not event.materialization.metadata["unchanged"].value:
                    computed.add(event.materialization.asset_key.to_user_string())
        return computed


@pytest.fixture
def world(tmp_path: Path, instance: dg.DagsterInstance) -> Votes:
    return Votes(tmp_path, instance)


TRAIN_NEIGHBOURS_AND_GRAPH = {"index/train_neighbours", "query/train_neighbours", "knn_graph"}
EVERYTHING = TRAIN_NEIGHBOURS_AND_GRAPH | {"index/votes", "query/votes", "sorted_ranking", "inserted_ranking"}


def test_a_changed_k_threshold_or_limit_recomputes_only_what_depends_on_it(world: Votes) -> None:
    assert world.run() == EVERYTHING
    votes = {"index__votes": {"k": 5}, "query__votes": {"k": 5}}
    assert world.run(**votes) == EVERYTHING - TRAIN_NEIGHBOURS_AND_GRAPH
    voted = {"query__votes": {"k": 5}}
    assert world.run(**voted, inserted_ranking={"threshold": 1.2}) == {"inserted_ranking"}
    assert world.run(**voted, inserted_ranking={"threshold": 1.2, "limit": 4}) == {"inserted_ranking"}
    ranking = world.store.read("inserted_ranking", RANKING, "0000")
    assert ranking.group_by("query_id").len()["len"].to_list() == [4] * 6


def test_the_papers_values_are_the_defaults(world: Votes) -> None:
    world.run()
    given = {"k": 3}, {"threshold": 0.6, "limit": 100, "method": "insert"}
    assert world.run(index__votes=given[0], query__votes=given[0], inserted_ranking=given[1]) == set()
    assert (VoteSettings().k, InsertSettings().threshold, InsertSettings().limit) == (3, 0.6, 100)


def test_one_setting_puts_a_soft_variant_in_place_of_the_insert_step(world: Votes) -> None:
    world.run()
    assert world.run(inserted_ranking={"soft": {"bridge_bonus": 2.0}}) == set()
    assert world.run(inserted_ranking={"method": "bridged", "soft": {"bridge_bonus": 2.0}}) == {"inserted_ranking"}
    soft = SoftSettings(bridge_bonus=2.0)
    train_neighbours = [
        world.store.read(f"{split}/train_neighbours", TRAIN_NEIGHBOURS, "0000") for split in ("query", "index")
    ]
    graph = world.store.read("knn_graph", NEIGHBOURS, "0000")
    expected = bridged_ranking(graph, *(bridge_confidence(v, soft) for v in train_neighbours), InsertSettings(), soft)
    stored = world.store.read("inserted_ranking", RANKING, "0000")
    assert stored.equals(expected)


def test_votes_over_more_train_neighbours_than_are_stored_are_refused(world: Votes) -> None:
    world.run(index__train_neighbours={"count": 4})
    with pytest.raises(Exception, match="k is 5 but only 4 train photos are stored"):
        world.run(index__train_neighbours={"count": 4}, index__votes={"k": 5})
    votes = world.store.read("index/votes", VOTES, "0000")
    assert votes.height == 30
