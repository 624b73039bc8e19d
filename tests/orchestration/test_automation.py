"""Automation: what registers shards, what starts runs, and what each asset waits for."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.schedule_definition import ScheduleExecutionData

from landmark_dag.definitions import defs
from landmark_dag.errors import InputError
from landmark_dag.orchestration.automation import (
    declarative_reindex,
    following_split,
    reindexing,
    whole_split,
    with_policies,
)
from landmark_dag.photos.source import SPLITS
from landmark_dag.settings.reindex import ReindexSettings
from resources.photo_source import PhotoSourceResource
from tests.support.photos import write_photo


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("train/tower/t1", "index/i1", "index/i2", "index/i3", "query/q1"):
        write_photo(tmp_path / "photos" / f"{name}.jpg")
    return tmp_path / "photos"


def source(photos: Path) -> PhotoSourceResource:
    return PhotoSourceResource(photos=str(photos), photos_per_shard=2, home=str(photos.parent / "home"))


def nightly(instance: dg.DagsterInstance, photos: Path) -> ScheduleExecutionData:
    schedules, _ = reindexing(ReindexSettings())
    night = datetime(2026, 1, 1, 3)
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=night, resources={"photo_source": source(photos)}
    ) as context:
        return schedules[0].evaluate_tick(context)


def arrival(instance: dg.DagsterInstance, photos: Path, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
    _, sensors = reindexing(ReindexSettings())
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"photo_source": source(photos)}
    ) as context:
        return sensors[0](context)


def test_the_schedule_registers_new_shards_and_starts_the_index_job_over_all(
    instance: dg.DagsterInstance, photos: Path
) -> None:
    (request,) = nightly(instance, photos).run_requests
    assert request.job_name in ("index", None)
    assert request.tags["dagster/asset_partition_range_start"] == "0000"
    assert request.tags["dagster/asset_partition_range_end"] == "0001"
    write_photo(photos / "index/late.jpg")
    (request,) = nightly(instance, photos).run_requests
    assert request.tags["dagster/asset_partition_range_end"] == "0002"
    assert instance.get_dynamic_partitions("query_shards") == ["0000"]


def test_photos_that_are_not_as_they_must_be_are_told_and_start_nothing(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    skipped = nightly(instance, tmp_path / "nowhere")
    assert not skipped.run_requests and "There is no photo folder" in skipped.skip_message
    told = arrival(instance, tmp_path / "nowhere")
    assert isinstance(told, dg.SkipReason) and "There is no photo folder" in told.skip_message


def test_the_sensor_starts_a_run_only_when_other_shards_are_listed(instance: dg.DagsterInstance, photos: Path) -> None:
    first = arrival(instance, photos)
    assert isinstance(first, dg.SensorResult) and len(first.run_requests) == 1
    assert isinstance(arrival(instance, photos, first.cursor), dg.SkipReason)
    write_photo(photos / "index/late.jpg")
    second = arrival(instance, photos, first.cursor)
    assert isinstance(second, dg.SensorResult)
    assert second.run_requests[0].tags["dagster/asset_partition_range_end"] == "0002"


@pytest.mark.parametrize("tagged", [True, False], ids=["by its tags", "launched without tags"])
def test_each_split_follows_the_one_before_it(instance: dg.DagsterInstance, tagged: bool) -> None:
    definitions, following = defs(), {}
    for split in SPLITS:
        instance.add_dynamic_partitions(f"{split}_shards", ["0000", "0001"])
    for split in SPLITS:
        job = definitions.resolve_job_def(split)
        context = dg.build_run_status_sensor_context(
            sensor_name="following_split",
            dagster_event=dg.DagsterEvent("PIPELINE_SUCCESS", split),
            dagster_instance=instance,
            dagster_run=instance.create_run_for_job(job, tags=job.run_tags if tagged else {}),
        )
        result = following_split(context)
        following[split] = result.job_name if isinstance(result, dg.RunRequest) else None
    assert following == {"train": "index", "index": "query", "query": None}


def test_a_home_switches_schedule_and_sensor_on_and_sets_the_time() -> None:
    off_schedules, off_sensors = reindexing(ReindexSettings())
    assert off_schedules[0].default_status is dg.DefaultScheduleStatus.STOPPED
    assert off_sensors[0].default_status is dg.DefaultSensorStatus.STOPPED
    settings = ReindexSettings("30 4 * * 1", "Europe/Paris", scheduled=True, on_arrival=True)
    schedules, sensors = reindexing(settings)
    assert (schedules[0].cron_schedule, schedules[0].execution_timezone) == ("30 4 * * 1", "Europe/Paris")
    assert schedules[0].default_status is dg.DefaultScheduleStatus.RUNNING
    assert sensors[0].default_status is dg.DefaultSensorStatus.RUNNING


def test_a_cron_line_that_is_none_is_named() -> None:
    with pytest.raises(InputError, match="'every night' is no cron line; write one such as"):
        reindexing(ReindexSettings(cron="every night"))


def test_the_rankings_alone_have_a_freshness_policy_and_only_index_and_query_assets_a_condition() -> None:
    graph = defs().resolve_asset_graph()
    nodes = {key.to_user_string(): graph.get(key) for key in graph.materializable_asset_keys}
    assert {name for name, node in nodes.items() if node.freshness_policy} == {"sorted_ranking", "inserted_ranking"}
    conditioned = {name for name, node in nodes.items() if node.automation_condition}
    assert {"index/photos", "index/embeddings", "query/votes", "knn_graph", "gallery"} <= conditioned
    assert not conditioned & {"train/photos", "cleaned_dataset", "trained_model", "reranking_comparison"}
    assert declarative_reindex.default_status is dg.DefaultSensorStatus.STOPPED


def tiny_graph() -> list[dg.AssetsDefinition]:
    """Assets of the names that policies are given by, without work."""
    from landmark_dag.orchestration.partitions import SHARDS

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


def test_a_whole_split_is_one_run_over_its_registered_shards(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("index_shards", ["0000", "0001", "0002"])
    request = whole_split(instance, "index", run_key="once")
    assert (request.job_name, request.run_key) == ("index", "once")
    assert request.tags == {
        "dagster/asset_partition_range_start": "0000",
        "dagster/asset_partition_range_end": "0002",
        "landmark/last_index_shard": "0002",
    }


def test_a_run_takes_of_the_splits_before_its_own_what_the_run_before_it_took(instance: dg.DagsterInstance) -> None:
    for split in SPLITS:
        instance.add_dynamic_partitions(f"{split}_shards", ["0000"])
    before = whole_split(instance, "index").tags
    for split in SPLITS:
        instance.add_dynamic_partitions(f"{split}_shards", ["0001"])
    tags = whole_split(instance, "query", before=before).tags
    last = {name: value for name, value in tags.items() if name.startswith("landmark/last_")}
    assert last == {
        "landmark/last_train_shard": "0000",
        "landmark/last_index_shard": "0000",
        "landmark/last_query_shard": "0001",
    }
