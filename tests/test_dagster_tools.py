"""Dagster's own command `dg` on this project: it ends well, and writes where the project keeps its assets."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DG = Path(sys.executable).with_name("dg")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An activated virtual environment, and a Dagster instance with telemetry off."""
    instance = tmp_path_factory.mktemp("instance")
    shutil.copy(ROOT / "landmark_dag/orchestration/dagster.yaml", instance)
    return os.environ | {"VIRTUAL_ENV": str(ROOT / ".venv"), "DAGSTER_HOME": str(instance)}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, which `dg` may write into."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in ("landmark_dag", "assets", "resources"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def dg(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    """Run `dg` in `folder` on its packages; return what it prints on stdout, after checking that nothing is wrong."""
    environment = environment | {"PYTHONPATH": str(folder)}
    done = subprocess.run([DG, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


PRINTED = {
    "check defs": "All definitions loaded successfully.",
    "check yaml": "All component YAML validated successfully.",
    "check toml": "All TOML configuration files are valid.",
    "list defs": "inserted_ranking",
    "list component-tree": "",
}


@pytest.mark.parametrize("arguments", PRINTED)
def test_a_command_that_reads_the_project_ends_well(environment: dict[str, str], arguments: str) -> None:
    assert PRINTED[arguments] in dg(ROOT, environment, *arguments.split())


def test_a_scaffolded_asset_is_written_into_assets_and_loaded(environment: dict[str, str], copy: Path) -> None:
    before = set(copy.rglob("*.py"))
    dg(copy, environment, "scaffold", "defs", "dagster.asset", "new_step.py")
    assert set(copy.rglob("*.py")) - before == {copy / "assets/new_step.py"}
    listed = json.loads(dg(copy, environment, "list", "defs", "--json"))
    assert "new_step" in {asset["asset_key"] for asset in listed["assets"]}
