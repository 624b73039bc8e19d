"""A team's instance: webserver and daemon as two processes, on PostgreSQL, do the work of `dagster dev`."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import yaml

from landmark_dag.tables import VOTES, read_table
from tests.end_to_end.postgresql import postgresql_server
from tests.end_to_end.services import ROOT, Webserver, free_port, home_environment, running, wait_until
from tests.evaluation.homes import small_home

BIN = Path(sys.executable).parent
LAUNCH = """
mutation ($job: String!, $tags: [ExecutionTag!]!) {
  launchRun(executionParams: {
    selector: {repositoryLocationName: "landmark_dag", repositoryName: "__repository__", jobName: $job}
    executionMetadata: {tags: $tags}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""
STATUS = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"


@pytest.fixture(scope="module")
def postgresql() -> Iterator[dict[str, str]]:
    """The environment variables that lead to a running server."""
    with postgresql_server() as variables:
        yield variables


def test_the_settings_on_postgresql_differ_from_the_others_only_in_the_storage() -> None:
    sqlite, postgresql = (
        yaml.safe_load((ROOT / "landmark_dag" / name).read_text())
        for name in ("dagster.yaml", "dagster.postgresql.yaml")
    )
    storage = postgresql.pop("storage")
    assert postgresql == sqlite
    assert storage["postgres"]["postgres_db"]["password"] == {"env": "LANDMARK_POSTGRES_PASSWORD"}


def sort_photos(folder: Path) -> None:
    """Give the train photos a landmark's folder, and add a query: the home was made without either."""
    (folder / "train" / "a_landmark").mkdir()
    for photo in (folder / "train").glob("*.png"):
        photo.rename(photo.parent / "a_landmark" / photo.name)
    (folder / "query").mkdir()
    shutil.copy(next((folder / "index").iterdir()), folder / "query" / "query0.png")


def test_a_job_runs_through_webserver_and_daemon_on_postgresql(postgresql: dict[str, str], tmp_path: Path) -> None:
    home = small_home(tmp_path)
    sort_photos(tmp_path / "photos")
    (home / "dagster").mkdir()
    shutil.copy(ROOT / "landmark_dag" / "dagster.postgresql.yaml", home / "dagster" / "dagster.yaml")
    environment = home_environment(home, **postgresql)
    server = Webserver(f"http://127.0.0.1:{free_port()}", tmp_path / "webserver.log")
    workspace = ["-w", "workspace.yaml"]
    webserver = [str(BIN / "dagster-webserver"), *workspace, "--host", "127.0.0.1", "--port", server.url[-5:]]
    daemon = [str(BIN / "dagster-daemon"), "run", *workspace]
    with running(webserver, environment, server.log), running(daemon, environment, tmp_path / "daemon.log"):
        wait_until(server.answers, "the webserver to serve its code location")
        registered = '{ assetNodes(assetKeys: [{path: ["index", "photos"]}]) { partitionKeys } }'
        wait_until(lambda: server.ask(registered)["assetNodes"][0]["partitionKeys"], "the shard to be registered")
        tags = [{"key": "dagster/partition", "value": "0000"}]
        launched = server.ask(LAUNCH, job="index", tags=tags)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched

        def status() -> str:
            found = str(server.ask(STATUS, run=launched["run"]["runId"])["runOrError"]["status"])
            return found if found in ("SUCCESS", "FAILURE", "CANCELED") else ""

        assert wait_until(status, "the run to end", 200) == "SUCCESS"
    assert read_table(home / "store" / "index" / "votes" / "0000.parquet", VOTES).height == 8
    connection = psycopg2.connect(
        host=postgresql["LANDMARK_POSTGRES_HOST"],
        port=postgresql["LANDMARK_POSTGRES_PORT"],
        dbname=postgresql["LANDMARK_POSTGRES_DATABASE"],
        user=postgresql["LANDMARK_POSTGRES_USER"],
        password=postgresql["LANDMARK_POSTGRES_PASSWORD"],
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT status FROM runs")
        assert cursor.fetchall() == [("SUCCESS",)]
    connection.close()
