"""A setting in the home's file is what runs, scheduled jobs and searches use, in one process for several homes too."""

import json
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from landmark_dag.cli.main import main
from landmark_dag.definitions import defs
from landmark_dag.demo.rendering import render_photos
from landmark_dag.orchestration.jobs import whole_split_request
from landmark_dag.settings.demo import RenderingSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PHOTOS = RenderingSettings(landmarks=2, train_photos=12, index_photos=8, query_photos=2, long_side=64)
QUICK = ("training.epochs=1", "keep_rule.min_inliers=1", "keep_rule.min_verified=0")


def landmark_dag(*arguments: object) -> None:
    with pytest.raises(SystemExit) as left:
        main([*map(str, arguments)])
    assert not left.value.code


def longest(home: Path) -> int:
    """The longest list of the inserted ranking of `home`."""
    ranking = pl.read_parquet(home / "store/inserted_ranking/0000.parquet")
    return ranking.group_by("query_id").len()["len"].max()


def test_a_limit_in_the_file_is_that_of_runs_jobs_and_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LANDMARK_HOME", "DAGSTER_HOME", "LANDMARK_STORE"):
        monkeypatch.setenv(name, "")
    render_photos(tmp_path / "photos", PHOTOS)
    one, other = tmp_path / "one", tmp_path / "other"
    quick = [part for setting in QUICK for part in ("--set", setting)]
    run = ("run", "--photos", tmp_path / "photos", "--home")
    landmark_dag(*run, one, "--profile", "demo", *quick, "--set", "insert.limit=3")
    landmark_dag(*run, other, "--profile", "demo", *quick, "--set", "insert.limit=5")
    assert (longest(one), longest(other)) == (3, 5)

    landmark_dag("settings", "set", "insert.limit=4", "--home", one)
    monkeypatch.setenv("LANDMARK_HOME", str(one))
    with dg.DagsterInstance.from_config(str(one / "dagster")) as instance:
        job = defs().resolve_job_def("query")
        assert job.execute_in_process(instance=instance, tags=whole_split_request(instance, "query").tags).success
    assert (longest(one), longest(other)) == (4, 5)

    landmark_dag(*run, one)
    assert longest(one) == 4
    photo = next((tmp_path / "photos/query").iterdir())
    for home, limit in ((one, 4), (other, 5)):
        capsys.readouterr()
        landmark_dag("search", photo, "--home", home, "--json")
        assert len(json.loads(capsys.readouterr().out)["photos"][0]["results"]) == limit
