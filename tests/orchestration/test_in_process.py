"""Running the pipeline in one process: a home has one run at a time, and a killed one keeps no slot."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from filelock import FileLock

from landmark_dag.orchestration import in_process as pipeline
from landmark_dag.orchestration.in_process import prepare_home
from landmark_dag.settings.home import HomeSettings
from tests.end_to_end.services import home_environment, wait_until
from tests.evaluation.homes import six_photos_a_split


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return six_photos_a_split(tmp_path / "photos")


def started(photos: Path, home: Path) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("landmark-dag")), "run", "--photos", str(photos)]
    command += ["--home", str(home), "--profile", "demo"]
    return subprocess.Popen(command, env=home_environment(home), text=True, stderr=subprocess.PIPE)


def test_a_disk_that_fills_up_leaves_no_half_instance_settings(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    for name in ("LANDMARK_HOME", "DAGSTER_HOME"):
        monkeypatch.setenv(name, "")  # prepare_home sets them

    def full(source: Path, target: Path) -> None:
        target.write_text(source.read_text()[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy", full)
        with pytest.raises(OSError, match="No space left"):
            prepare_home(home, HomeSettings(str(photos), "demo"))
    prepare_home(home, HomeSettings(str(photos), "demo"))
    whole = Path(pipeline.__file__).with_name("dagster.yaml").read_text()
    assert (home / "dagster" / "dagster.yaml").read_text() == whole


def test_a_second_run_on_one_home_is_refused_in_one_sentence(photos: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with FileLock(home / "run.lock"):
        refused = started(photos, home)
        _, printed = refused.communicate()
    assert refused.returncode == 2
    assert f"Another run works on {home}; wait for its end, or choose another --home." in printed
    assert "Traceback" not in printed


def test_a_run_that_was_killed_on_the_gpu_fails_and_the_next_one_takes_its_slot(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one gets as far as these photos lead: cleaning keeps none of them."""
    home = tmp_path / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    monkeypatch.setenv("LANDMARK_HOME", str(home))
    prepare_home(home, HomeSettings(str(photos), "demo"))
    with dg.DagsterInstance.get() as instance:  # made here first: two processes at it get in each other's way
        killed = started(photos, home)
        storage = instance.event_log_storage
        wait_until(lambda: storage.get_concurrency_info("gpu").claimed_slots, "a GPU step")
        os.kill(killed.pid, 9)
        killed.communicate()
        assert storage.get_concurrency_info("gpu").claimed_slots
        following = started(photos, home)
        _, printed = following.communicate(timeout=240)
        assert "No photo is left to train on" in printed
        assert [run.status.value for run in instance.get_runs()] == ["FAILURE", "FAILURE"]
        assert not storage.get_concurrency_info("gpu").claimed_slots
