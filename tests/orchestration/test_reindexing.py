"""What starts the runs of re-indexing, and what follows a run."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.schedule_definition import ScheduleExecutionData

from landmark_dag.definitions import defs
from landmark_dag.errors import InputError
from landmark_dag.orchestration.reindexing import following_split, reindexing
from landmark_dag.photos.source import SPLITS
from landmark_dag.settings.reindex import ReindexSettings
from resources.photo_source import PhotoSourceResource
from tests.photos.samples import write_photo


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


@pytest.mark.parametrize("missing", ["index", "query"])
def test_a_split_without_shards_starts_no_run_and_says_why(instance: dg.DagsterInstance, missing: str) -> None:
    before = {"index": "train", "query": "index"}[missing]
    job = defs().resolve_job_def(before)
    context = dg.build_run_status_sensor_context(
        sensor_name="following_split",
        dagster_event=dg.DagsterEvent("PIPELINE_SUCCESS", before),
        dagster_instance=instance,
        dagster_run=instance.create_run_for_job(job, tags=job.run_tags),
    )
    skipped = following_split(context)
    assert isinstance(skipped, dg.SkipReason) and f"There are no {missing} shards" in skipped.skip_message
