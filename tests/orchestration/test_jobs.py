"""The request of a run over all shards of a split."""

from collections.abc import Iterator

import dagster as dg
import pytest

from landmark_dag.errors import InputError
from landmark_dag.orchestration.jobs import whole_split_request
from landmark_dag.photos.source import SPLITS


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def test_a_whole_split_is_one_run_over_its_registered_shards(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("index_shards", ["0000", "0001", "0002"])
    request = whole_split_request(instance, "index", run_key="once")
    assert (request.job_name, request.run_key) == ("index", "once")
    assert request.tags == {
        "dagster/asset_partition_range_start": "0000",
        "dagster/asset_partition_range_end": "0002",
        "landmark/last_index_shard": "0002",
    }


def test_a_run_takes_of_the_splits_before_its_own_what_the_run_before_it_took(instance: dg.DagsterInstance) -> None:
    for split in SPLITS:
        instance.add_dynamic_partitions(f"{split}_shards", ["0000"])
    before = whole_split_request(instance, "index").tags
    for split in SPLITS:
        instance.add_dynamic_partitions(f"{split}_shards", ["0001"])
    tags = whole_split_request(instance, "query", before=before).tags
    last = {name: value for name, value in tags.items() if name.startswith("landmark/last_")}
    assert last == {
        "landmark/last_train_shard": "0000",
        "landmark/last_index_shard": "0000",
        "landmark/last_query_shard": "0001",
    }


def test_a_split_without_shards_is_refused_in_one_sentence(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("train_shards", ["0000"])
    with pytest.raises(InputError, match="There are no index shards; add index photos, or name index shards in"):
        whole_split_request(instance, "index")
