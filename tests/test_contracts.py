"""The contracts of imports hold for a new module of any package."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_definitions import HEAVY

ROOT = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent
WITH_DAGSTER = {"cli", "orchestration"}
"""The packages of landmark_dag that may import Dagster."""

SCIENCE = sorted({path.parent.name for path in (ROOT / "landmark_dag").glob("*/__init__.py")} - WITH_DAGSTER)
LOADED = ("assets", "resources", "landmark_dag", *(f"landmark_dag/{name}" for name in ("cli", "settings", "storage")))
"""Folders whose modules are imported wherever Dagster loads the definitions, or the command starts."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("landmark_dag", "assets", "resources"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"}
    command = [TOOLS / "lint-imports", "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_new_module_of_science_that_imports_dagster_breaks_a_contract(copy: Path) -> None:
    for package in SCIENCE:
        (copy / "landmark_dag" / package / "new_module.py").write_text("import dagster\n")
    done = lint_imports(copy)
    assert done.returncode == 1, done.stderr
    for package in SCIENCE:
        assert f"landmark_dag.{package}.new_module -> dagster" in done.stdout


def test_a_new_package_that_no_contract_names_breaks_a_contract(copy: Path) -> None:
    (copy / "landmark_dag/new_package").mkdir()
    (copy / "landmark_dag/new_package/__init__.py").touch()
    done = lint_imports(copy)
    assert done.returncode == 1, done.stderr
    assert "landmark_dag.new_package" in done.stdout


@pytest.mark.parametrize("folder", LOADED)
def test_a_new_module_on_the_loading_path_that_imports_something_heavy_is_refused(folder: str) -> None:
    code = "".join(f"import {name}\n" for name in HEAVY)
    command = [TOOLS / "ruff", "check", "--select", "TID253", "--output-format", "json"]
    command += ["--stdin-filename", f"{folder}/new_module.py", "-"]
    done = subprocess.run(command, cwd=ROOT, input=code, capture_output=True, text=True)
    assert len(json.loads(done.stdout)) == len(HEAVY)
