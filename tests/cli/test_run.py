"""`run` and `demo` on homes: what they store, how they end when interrupted, and what they refuse."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from landmark_dag.orchestration.in_process import prepare_home
from landmark_dag.settings.home import HomeSettings
from tests.cli.command import status
from tests.support.photos import write_photo_folder
from tests.support.processes import ROOT, home_environment, wait_until


def test_a_run_of_settings_only_tells_the_store_and_computes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LANDMARK_HOME", "DAGSTER_HOME", "LANDMARK_STORE"):
        monkeypatch.setenv(name, "")
    for split in ("train/tower", "index", "query"):
        (folder / "photos" / split).mkdir(parents=True)
        (folder / "photos" / split / "a.jpg").write_bytes(b"not looked at")
    (folder / "shared").mkdir()
    store = f"file://{folder}/shared"
    assert status(f"run --photos photos --home home --store {store} --settings-only --json") == 0
    assert json.loads(capsys.readouterr().out) == {"home": str(folder / "home"), "store": store}
    assert f'photos = "{folder}/photos"' in (folder / "shared/settings.toml").read_text()
    assert [path.name for path in (folder / "shared").iterdir()] == ["settings.toml"]


@pytest.fixture
def photos(folder: Path) -> Path:
    return write_photo_folder(folder / "photos")


def started(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the command as a terminal does: in a process group of its own that Ctrl-C interrupts."""
    command = [sys.executable, "-c", "from landmark_dag.cli.main import main; main()", *arguments]
    return subprocess.Popen(
        [*command, "--home", str(home)],
        cwd=ROOT,
        env=home_environment(home),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a test runner may ignore it
    )


def press_ctrl_c(process: subprocess.Popen[str]) -> tuple[str, list[str]]:
    """Interrupt the whole process group; return what was printed on stdout, and the lines on stderr."""
    os.killpg(process.pid, signal.SIGINT)
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # no child process is left
    return printed, [line for line in errors.splitlines() if line.strip()]


def test_ctrl_c_while_demo_renders_photos_is_one_line(folder: Path) -> None:
    home = folder / "home"
    process = started(home, "demo")
    wait_until(lambda: list(home.rglob("*.jpg")), "a rendered photo")
    printed, lines = press_ctrl_c(process)
    assert printed == ""
    assert "rendering photos" in lines[0] and lines[1:] == ["Interrupted."]


def test_ctrl_c_in_the_middle_of_a_step_is_one_line_and_leaves_nothing_behind(
    folder: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder / "home"
    monkeypatch.setenv("LANDMARK_HOME", str(home))
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    prepare_home(home, HomeSettings(str(photos), "demo"))
    with dg.DagsterInstance.get() as instance:
        # Every photo is kept, so that the run goes on to train: it must not end by itself before Ctrl-C.
        keep_all = ["--set", "keep_rule.min_verified=0"]
        process = started(home, "run", "--photos", str(photos), "--profile", "demo", "--json", *keep_all)
        storage = instance.event_log_storage
        wait_until(lambda: storage.get_concurrency_info("gpu").claimed_slots, "a GPU step")
        printed, lines = press_ctrl_c(process)
        assert printed == ""
        assert "train" in lines[0] and lines[1:] == ["Interrupted; run again to go on from what is stored."]
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.FAILURE]
        assert not storage.get_concurrency_info("gpu").claimed_slots


def test_a_bug_in_a_step_shows_its_traceback(photos: Path, folder: Path) -> None:
    code = (
        "import landmark_dag.photos.manifest as manifest\n"
        "manifest.build_manifest = lambda *arguments: {}['a bug']\n"
        "from landmark_dag.cli.main import main\n"
        f"main(['run', '--photos', {str(photos)!r}, '--home', {str(folder / 'home')!r}])"
    )
    environment = home_environment(folder / "home")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    lines = done.stderr.strip().splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback (most recent call last):" in lines
    assert lines[-2:] == [
        "KeyError: 'a bug'",
        "This is a bug in landmark-dag; please report it with the traceback above.",
    ]


def test_shards_that_name_none_of_a_split_are_refused_before_anything_is_stored(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("run --photos file:///photos --shards train/000-009,query/000-000 --home home") == 2
    assert capsys.readouterr().err == (
        "The shards to use name none of the split index; add one, such as index/000-001.\n"
    )
    assert not (folder / "home").exists()
