"""What declarative automation keeps up to date, and which assets must be fresh."""

from collections.abc import Iterator

import dagster as dg
import pytest

from landmark_dag.definitions import defs
from landmark_dag.orchestration.partitions import SHARDS
from landmark_dag.orchestration.policies import declarative_reindex, with_policies
from landmark_dag.settings.reindex import ReindexSettings


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def test_the_rankings_alone_have_a_freshness_policy_and_only_index_and_query_assets_a_condition() -> None:
    graph = defs().resolve_asset_graph()
    nodes = {key.to_user_string(): graph.get(key) for key in graph.materializable_asset_keys}
    assert {name for name, node in nodes.items() if node.freshness_policy} == {"sorted_ranking", "inserted_ranking"}
    conditioned = {name for name, node in nodes.items() if node.automation_condition}
    assert {"index/photos", "index/embeddings", "query/votes", "knn_graph", "gallery"} <= conditioned
    assert not conditioned & {"train/photos", "cleaned_dataset", "trained_model", "reranking_comparison"}
    assert declarative_reindex.default_status is dg.DefaultSensorStatus.STOPPED


def tiny_graph() -> list[dg.AssetsDefinition]:
    """Assets with the keys that policies name, and no work to do."""

    @dg.asset(key=["index", "photos"], partitions_def=SHARDS["index"])
    def photos() -> None: ...

    @dg.asset(key=["index", "embeddings"], deps=[photos], partitions_def=SHARDS["index"])
    def embeddings() -> None: ...

    @dg.asset(
        deps=[dg.AssetDep(embeddings, partition_mapping=dg.AllPartitionMapping())], partitions_def=SHARDS["query"]
    )
    def knn_graph() -> None: ...

    return with_policies([photos, embeddings, knn_graph], ReindexSettings())


def requested(definitions: dg.Definitions, instance: dg.DagsterInstance, cursor: object) -> tuple[set[str], object]:
    result = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
    names = {
        f"{key.to_user_string()} {partition}"
        for key in definitions.resolve_asset_graph().get_all_asset_keys()
        for partition in result.get_requested_partitions(key)
    }
    return names, result.cursor


def test_declared_conditions_carry_a_new_shard_through_the_graph_once(instance: dg.DagsterInstance) -> None:
    graph = tiny_graph()
    definitions = dg.Definitions(assets=graph)
    for split, shards in {"index": ["0000"], "query": ["0000"]}.items():
        instance.add_dynamic_partitions(f"{split}_shards", shards)
        for asset in graph:
            if asset.partitions_def.name == f"{split}_shards":
                dg.materialize([*graph], instance=instance, partition_key="0000", selection=[asset])
    _, cursor = requested(definitions, instance, None)
    instance.add_dynamic_partitions("index_shards", ["0001"])
    names, cursor = requested(definitions, instance, cursor)
    assert names == {"index/photos 0001", "index/embeddings 0001"}
    dg.materialize([*graph], instance=instance, partition_key="0001", selection=[graph[0], graph[1]])
    names, cursor = requested(definitions, instance, cursor)
    assert names == {"knn_graph 0000"}
    dg.materialize([*graph], instance=instance, partition_key="0000", selection=[graph[2]])
    assert requested(definitions, instance, cursor)[0] == set()
