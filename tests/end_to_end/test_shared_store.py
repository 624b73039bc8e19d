"""The whole graph with its results in a bucket: a second machine finds all of them, and searches."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from landmark_dag.demo.rendering import render_photos
from tests.end_to_end.test_pipeline import SMALL
from tests.support.processes import landmark_dag
from tests.support.s3_server import BUCKET, SECRET, ask_for_credentials, s3_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

STORE = f"s3://{BUCKET}/results"


def printed(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_second_machine_continues_from_the_results_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render_photos(tmp_path / "photos", SMALL)

    def run(home: str) -> subprocess.CompletedProcess[str]:
        where = ("--photos", tmp_path / "photos", "--home", tmp_path / home, "--store", STORE)
        return landmark_dag("run", *where, "--profile", "demo", "--json")

    with s3_server(monkeypatch) as address:
        ask_for_credentials(address, True)
        refused = run("first")
        assert refused.returncode == 2 and "refuses this machine's credentials" in refused.stderr
        assert refused.stderr.count("\n") == 1 and SECRET not in refused.stderr
        ask_for_credentials(address, False)

        first = printed(run("first"))
        models = {path.name for path in (tmp_path / "first").rglob("models/*")}
        second = printed(run("second"))
        assert second["map_at_100"] == first["map_at_100"] and second["cleaning"] == first["cleaning"]
        assert {path.name for path in (tmp_path / "second").rglob("models/*")} == models
        assert not (tmp_path / "first/store").exists()
        assert Path(second["gallery"]).read_bytes() == Path(first["gallery"]).read_bytes()

        photo = next((tmp_path / "photos/query").iterdir())
        search = ("search", photo, "--top", "3", "--json")
        third = printed(landmark_dag(*search, "--home", tmp_path / "third", LANDMARK_STORE=STORE))
        assert third == printed(landmark_dag(*search, "--home", tmp_path / "first"))

    for name in ("first", "second"):
        written = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        assert not [path for path in written if SECRET.encode() in path.read_bytes()]
