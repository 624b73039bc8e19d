"""Where steps run: the environment says, the definitions do not change, and a wrong word is told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from landmark_dag.definitions import defs
from landmark_dag.errors import InputError
from landmark_dag.orchestration.code_version import check_same_code_version, installed_code_version
from landmark_dag.orchestration.executors import backfill_policy, step_executor

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("word", "name"), [("", "in_process"), ("local", "in_process"), ("ray", "ray")])
def test_the_environment_chooses_the_executor(word: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDMARK_EXECUTOR", word)
    assert step_executor().name == name


def test_kubernetes_is_chosen_by_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDMARK_EXECUTOR", "k8s")
    assert step_executor().name == "k8s"


def test_an_unknown_executor_is_refused_with_the_names_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDMARK_EXECUTOR", "slurm")
    with pytest.raises(InputError, match="LANDMARK_EXECUTOR is 'slurm'; choose one of local, ray, k8s"):
        step_executor()


@pytest.mark.parametrize(("word", "package"), [("ray", "dagster_ray"), ("k8s", "dagster_k8s")])
def test_what_is_not_installed_is_told_with_the_remedy(word: str, package: str) -> None:
    hidden = f"import sys; sys.modules[{package!r}] = None"
    code = f"{hidden}\nfrom landmark_dag.orchestration.executors import step_executor\nstep_executor()"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "LANDMARK_EXECUTOR": word},
        capture_output=True,
        text=True,
    )
    assert f"LANDMARK_EXECUTOR is {word}, and {package} is not installed; install landmark-dag[{word}]." in run.stderr


def test_a_backfill_is_one_run_here_and_a_run_a_shard_on_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backfill_policy() == dg.BackfillPolicy.single_run()
    monkeypatch.setenv("LANDMARK_EXECUTOR", "ray")
    assert backfill_policy() == dg.BackfillPolicy.multi_run(1)
    monkeypatch.setenv("LANDMARK_SHARDS_PER_RUN", "5")
    assert backfill_policy() == dg.BackfillPolicy.multi_run(5)
    monkeypatch.setenv("LANDMARK_SHARDS_PER_RUN", "none")
    with pytest.raises(InputError, match="LANDMARK_SHARDS_PER_RUN is 'none'; it must be a whole number from 1"):
        backfill_policy()


def test_a_ray_step_is_told_where_things_lie_and_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDMARK_EXECUTOR", "ray")
    monkeypatch.setenv("LANDMARK_STORE", "s3://bucket/home")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    config = step_executor().apply_config_mapping({"config": {}}).value["config"]
    assert "LANDMARK_STORE=s3://bucket/home" in config["ray"]["env_vars"]
    assert f"LANDMARK_CODE={installed_code_version()}" in config["ray"]["env_vars"]
    assert "num_gpus" not in config["ray"] or config["ray"]["num_gpus"] is None
    assert "a-secret" not in json.dumps(config)


def test_work_on_the_accelerator_alone_asks_ray_for_a_gpu() -> None:
    from dagster_ray.configs import RayExecutionConfig

    graph = defs().resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        op_tags = graph.get(key).assets_def.op.tags
        asked = RayExecutionConfig.from_tags(dict(op_tags)).num_gpus
        assert asked == (1 if "gpu" in graph.get(key).pools else None), key


def test_a_step_that_runs_the_code_of_its_launcher_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    check_same_code_version()
    monkeypatch.setenv("LANDMARK_CODE", installed_code_version())
    check_same_code_version()


def test_a_step_that_runs_other_code_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDMARK_CODE", "0.0.9 (abcdef)")
    with pytest.raises(InputError) as refused:
        check_same_code_version()
    assert "launched by code 0.0.9 (abcdef)" in str(refused.value)
    assert f"runs {installed_code_version()} in {ROOT}; install the same release" in str(refused.value)


def test_one_changed_line_is_other_code(tmp_path: Path) -> None:
    for package in ("landmark_dag", "assets", "resources"):
        (tmp_path / package).mkdir()
    (tmp_path / "landmark_dag/orchestration").mkdir()
    for name in ("__init__", "errors", "orchestration/__init__", "orchestration/code_version"):
        (tmp_path / f"landmark_dag/{name}.py").write_text((ROOT / f"landmark_dag/{name}.py").read_text())

    def code() -> str:
        command = [
            sys.executable,
            "-c",
            "from landmark_dag.orchestration.code_version import *; print(installed_code_version())",
        ]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    (tmp_path / "assets/a.py").write_text("x = 1\n")
    before = code()
    assert code() == before
    (tmp_path / "assets/a.py").write_text("x = 2\n")
    assert code() != before
