"""GPU slots: with the real daemon, queue and step processes, two GPU assets run at once only if there are two slots."""

import shutil
import subprocess
from pathlib import Path

import dagster as dg
import pytest
import yaml

from tests.support.processes import ROOT, home_environment, program, running, wait_until


def met(home: Path, jobs: str, patience: float) -> list[bool]:
    """Let the daemon run the jobs; return for every asset whether another ran at the same time."""
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        before = {run.run_id for run in instance.get_runs()}
        (home / "patience").write_text(str(patience))
        (home / "jobs").write_text(jobs)

        def finished() -> list[dg.DagsterRun]:
            runs = [run for run in instance.get_runs() if run.run_id not in before]
            return runs if len(runs) == len(jobs.split()) and all(run.is_finished for run in runs) else []

        runs = wait_until(finished, f"the runs of {jobs}", 150)
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
        events = [log.asset_materialization for run in runs for log in instance.all_logs(run.run_id)]
        return [bool(event.metadata["met"].value) for event in events if event]


def test_gpu_assets_run_one_at_a_time_until_the_instance_has_a_second_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("dagster", "running"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / "landmark_dag/orchestration/dagster.yaml", tmp_path / "dagster")
    location = {"python_file": {"relative_path": str(Path(__file__).with_name("gpu_location.py"))}}
    (tmp_path / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [location]}))
    environment = home_environment(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", environment["DAGSTER_HOME"])
    command = [program("dagster-daemon"), "run", "-w", str(tmp_path / "workspace.yaml")]
    (tmp_path / "jobs").write_text("")
    with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]):
        pass  # makes the tables: two processes that do so at once disturb each other
    with running(command, environment, tmp_path / "daemon.log"):
        assert met(tmp_path, "two_in_one_run one_beside", patience=1) == [False, False, False]
        more = [program("dagster"), "instance", "concurrency", "set", "gpu", "2"]
        subprocess.run(more, env=environment, check=True, capture_output=True)
        assert met(tmp_path, "two_in_one_run", patience=60) == [True, True]
