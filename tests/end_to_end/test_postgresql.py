"""A team's instance on PostgreSQL: code server, webserver and daemon, each a process of its own, re-index."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import yaml

from landmark_dag.storage.parquet_tables import read_table
from landmark_dag.storage.schemas import RANKING
from tests.end_to_end.postgresql import connect, postgresql_server
from tests.support.homes import small_home
from tests.support.processes import ROOT, Webserver, free_port, home_environment, program, running, wait_until

LAUNCH = """
mutation ($job: String!, $tags: [ExecutionTag!]!) {
  launchRun(executionParams: {
    selector: {repositoryLocationName: "landmark_dag", repositoryName: "__repository__", jobName: $job}
    executionMetadata: {tags: $tags}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""
RUNS = "{ runsOrError { ... on Runs { results { jobName status } } } }"
SHARDS = '{ assetNodes(assetKeys: [{path: ["query", "photos"]}]) { partitionKeys } }'


@pytest.fixture(scope="module")
def postgresql() -> Iterator[dict[str, str]]:
    """The environment variables that lead to a running server."""
    with postgresql_server() as variables:
        yield variables


def test_the_settings_for_postgresql_differ_only_in_the_storage() -> None:
    sqlite, postgresql = (
        yaml.safe_load((ROOT / "landmark_dag/orchestration" / name).read_text())
        for name in ("dagster.yaml", "dagster.postgresql.yaml")
    )
    storage = postgresql.pop("storage")
    assert postgresql == sqlite
    assert storage["postgres"]["postgres_db"]["password"] == {"env": "LANDMARK_POSTGRES_PASSWORD"}


def sort_photos(folder: Path) -> None:
    """Move the train photos to the folder of a landmark, and add a query: the small home has neither."""
    (folder / "train" / "a_landmark").mkdir()
    for photo in (folder / "train").glob("*.png"):
        photo.rename(photo.parent / "a_landmark" / photo.name)
    (folder / "query").mkdir()
    shutil.copy(next((folder / "index").iterdir()), folder / "query" / "query0.png")


@pytest.mark.timeout(900)  # six processes start; on a busy machine each takes its time
def test_a_reindex_runs_through_webserver_and_daemon_on_postgresql(postgresql: dict[str, str], tmp_path: Path) -> None:
    home = small_home(tmp_path)
    sort_photos(tmp_path / "photos")
    (home / "dagster").mkdir()
    shutil.copy(ROOT / "landmark_dag/orchestration/dagster.postgresql.yaml", home / "dagster" / "dagster.yaml")
    environment = home_environment(home, **postgresql)
    server = Webserver(f"http://127.0.0.1:{free_port()}", tmp_path / "webserver.log")
    port, code_port = server.url.split(":")[-1], str(free_port())
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text((ROOT / "workspace.server.yaml").read_text().replace("4266", code_port))
    code_server = [program("dagster"), "code-server", "start", "-m", "landmark_dag.definitions", "-h", "127.0.0.1"]
    code_log = tmp_path / "code_server.log"
    with running([*code_server, "-p", code_port], environment, code_log), ExitStack() as others:
        wait_until(lambda: "Started Dagster code server" in code_log.read_text(), "the code server", 200)
        serve = [program("dagster-webserver"), "-w", str(workspace), "-h", "127.0.0.1", "-p", port]
        others.enter_context(running(serve, environment, server.log))
        daemon = [program("dagster-daemon"), "run", "-w", str(workspace)]
        others.enter_context(running(daemon, environment, tmp_path / "daemon.log"))
        wait_until(server.answers, "the webserver to serve its code location", 200)
        wait_until(lambda: server.ask(SHARDS)["assetNodes"][0]["partitionKeys"], "the shards to be registered", 200)
        tags = [{"key": f"dagster/asset_partition_range_{end}", "value": "0000"} for end in ("start", "end")]
        launched = server.ask(LAUNCH, job="index", tags=tags)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched

        def ended() -> list[dict[str, str]]:
            runs = server.ask(RUNS)["runsOrError"]["results"]
            over = all(run["status"] in ("SUCCESS", "FAILURE") for run in runs)
            return runs if over and (len(runs) == 2 or runs[0]["status"] == "FAILURE") else []

        runs = wait_until(ended, "the jobs index and query", 500)
    assert runs == [{"jobName": job, "status": "SUCCESS"} for job in ("query", "index")]
    ranking = read_table(home / "store" / "inserted_ranking" / "0000.parquet", RANKING)
    assert ranking["query_id"].unique().to_list() == ["query0"] and ranking.height == 8
    with closing(connect(postgresql)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT status FROM runs")
        assert cursor.fetchall() == [("SUCCESS",)] * 2
