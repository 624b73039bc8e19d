"""Five hours of the daemon's own ticks, under a clock of the test: nothing grows but what retention keeps."""

import datetime
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.scheduler.instigation import InstigatorType
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time, wait_for_futures
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import ScheduleIterationTimes, launch_scheduled_runs

from landmark_dag.orchestration import in_process as pipeline
from landmark_dag.settings.home import HomeSettings, write_home_settings
from tests.support.photos import write_photo_folder

EVENING = datetime.datetime(2026, 1, 1, 23, tzinfo=datetime.UTC)
"""When the clock starts; nightly_reindex is due four hours later."""

TICKS = 5 * 3600 // 30
LOG = logging.getLogger("ticks")


@dataclass
class Daemon:
    """The daemon's sensor and schedule iterations over a code server of its own, at times that the test sets."""

    context: WorkspaceProcessContext
    executor: ThreadPoolExecutor
    futures: dict[str, Future[object]] = field(default_factory=dict)
    times: dict[str, ScheduleIterationTimes] = field(default_factory=dict)

    def tick(self, now: datetime.datetime) -> None:
        with freeze_time(now):
            for _ in execute_sensor_iteration(self.context, LOG, self.executor, None, sensor_tick_futures=self.futures):
                pass
            wait_for_futures(self.futures)
            for _ in launch_scheduled_runs(
                self.context, LOG, now, self.times, self.executor, scheduler_run_futures=self.futures
            ):
                pass
            wait_for_futures(self.futures)

    @property
    def ticks(self) -> int:
        """Return how many ticks the instance holds."""
        instance = self.context.instance
        states = instance.all_instigator_state()
        return sum(len(instance.get_ticks(state.instigator_origin_id, state.selector_id)) for state in states)


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    photos = write_photo_folder(tmp_path / "photos", 3)
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    for folder in (home, temporary, tmp_path / "dagster"):
        folder.mkdir()
    switched_on = {"reindex.scheduled": True, "reindex.on_arrival": True}
    write_home_settings(home, HomeSettings(str(photos), values=switched_on))
    monkeypatch.setenv("LANDMARK_HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    overrides = yaml.safe_load(Path(pipeline.__file__).with_name("dagster.yaml").read_text())
    target = ModuleTarget("landmark_dag.definitions", None, str(Path.cwd()), "landmark_dag")
    with (
        dg.instance_for_test(temp_dir=str(tmp_path / "dagster"), overrides=overrides) as instance,
        create_test_daemon_workspace_context(target, instance) as context,
        ThreadPoolExecutor(2) as executor,
    ):
        yield Daemon(context, executor)
    monkeypatch.undo()
    tempfile.tempdir = None


def held(folder: Path) -> dict[str, int]:
    """Count what must not grow: open files and threads of this process and of the code server, and files."""
    found = {"files": sum(path.is_file() for path in folder.rglob("*"))}
    for name, process in {"daemon": os.getpid(), "code server": code_server()}.items():
        found[f"open files of the {name}"] = len(list(Path(f"/proc/{process}/fd").iterdir()))
        found[f"threads of the {name}"] = len(list(Path(f"/proc/{process}/task").iterdir()))
    return found


def code_server() -> int:
    """Return the process id of the one child of this process that serves the code."""
    children = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"landmark_dag.definitions" in path.read_bytes()
        and int(path.with_name("stat").read_text().rsplit(")", 1)[1].split()[1]) == os.getpid()
    ]
    assert len(children) == 1, children
    return children[0]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_five_hours_of_daemon_ticks_leave_the_nightly_run_and_the_ticks_that_retention_keeps(
    daemon: Daemon, tmp_path: Path
) -> None:
    instance = daemon.context.instance
    clock = EVENING
    for _ in range(20):
        daemon.tick(clock := clock + datetime.timedelta(seconds=30))
    arrivals = instance.get_runs_count()
    assert arrivals == 1  # the photos that were there at first
    before = held(tmp_path)
    for _ in range(TICKS):
        daemon.tick(clock := clock + datetime.timedelta(seconds=30))
    after = held(tmp_path)
    assert {name: after[name] for name in before if after[name] > before[name] + 2} == {}
    assert threading.active_count() < 20
    nightly = instance.get_runs()[: instance.get_runs_count() - arrivals]
    assert [run.tags.get("dagster/schedule_name") for run in nightly] == ["nightly_reindex"]
    kept = daemon.ticks
    assert kept > 2 * TICKS
    clock += datetime.timedelta(days=8)
    for _ in range(3):
        daemon.tick(clock := clock + datetime.timedelta(seconds=30))
    assert daemon.ticks < 30 < kept
    assert instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
