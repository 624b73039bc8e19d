"""Five hours of ticks, one after the other without a wait: sensors and the schedule leave nothing behind."""

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from sqlalchemy.exc import IntegrityError

from landmark_dag import definitions
from landmark_dag.orchestration import in_process as pipeline
from landmark_dag.orchestration.reindexing import reindexing
from landmark_dag.orchestration.shards import new_shards, register_shards
from landmark_dag.settings.reindex import ReindexSettings
from resources.photo_source import PhotoSourceResource
from tests.support.photos import write_photo, write_photo_folder

HOURS = 5
TICKS = HOURS * 3600 // 30
"""The sensors look every 30 seconds."""


@pytest.fixture
def photos(tmp_path: Path) -> PhotoSourceResource:
    photos = write_photo_folder(tmp_path / "photos", 3)
    return PhotoSourceResource(photos=str(photos), photos_per_shard=2, home=str(tmp_path / "home"))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A real instance on disk, with the settings of dagster.yaml."""
    settings = yaml.safe_load(Path(pipeline.__file__).with_name("dagster.yaml").read_text())
    with dg.instance_for_test(temp_dir=str(tmp_path), overrides=settings) as instance:
        yield instance


def open_files() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("ticks", [20, pytest.param(TICKS, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_hours_of_ticks_on_unchanged_photos_leave_no_file_thread_handle_or_run(
    photos: PhotoSourceResource, instance: dg.DagsterInstance, tmp_path: Path, ticks: int
) -> None:
    (nightly,), (on_arrival,) = reindexing(ReindexSettings())
    register_shards(instance, photos.source())
    repository = definitions.defs().get_repository_def()
    cursor = None

    def tick() -> None:
        nonlocal cursor
        for sensor in (new_shards, on_arrival):
            with dg.build_sensor_context(
                instance=instance, cursor=cursor, resources={"photo_source": photos}, repository_def=repository
            ) as context:
                found = sensor.evaluate_tick(context)
                if sensor is on_arrival:
                    cursor = found.cursor or cursor
        with dg.build_schedule_context(instance=instance, resources={"photo_source": photos}) as context:
            assert nightly.evaluate_tick(context).run_requests

    for _ in range(3):
        tick()
    before = files(tmp_path), threading.active_count(), open_files()
    for _ in range(ticks):
        tick()
    assert (files(tmp_path), threading.active_count()) == before[:2]
    assert open_files() <= before[2] + 1  # one of pytest's own
    assert instance.get_runs_count() == 0


def test_a_new_photo_after_hours_of_ticks_gives_one_run_request(
    photos: PhotoSourceResource, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    _, (on_arrival,) = reindexing(ReindexSettings())
    requests, cursor = [], None
    for number in range(20):
        if number == 10:
            write_photo(tmp_path / "photos" / "index" / "late.jpg", 9)
        with dg.build_sensor_context(instance=instance, cursor=cursor, resources={"photo_source": photos}) as context:
            found = on_arrival.evaluate_tick(context)
        cursor = found.cursor or cursor
        requests += [number] * len(found.run_requests or ())
    assert requests == [0, 10]
    assert instance.get_dynamic_partitions("index_shards") == ["0000", "0001", "0002"]


def test_registering_shards_succeeds_when_another_run_registers_them_first(
    photos: PhotoSourceResource, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, beaten = instance.add_dynamic_partitions, set[str]()

    def after_another(name: str, keys: list[str]) -> None:
        """Fail as Dagster does if another run adds the same partitions between its look and its insert."""
        add(name, keys)
        if name not in beaten:
            beaten.add(name)
            raise IntegrityError("INSERT", keys, Exception("UNIQUE constraint failed"))

    monkeypatch.setattr(instance, "add_dynamic_partitions", after_another)
    listed = register_shards(instance, photos.source())
    assert sorted(instance.get_dynamic_partitions("index_shards")) == listed["index"] == ["0000", "0001"]
