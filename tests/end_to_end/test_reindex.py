"""Re-indexing by the real daemon: it embeds new photos, completes a killed run, and computes nothing twice."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from landmark_dag.demo.rendering import render_photos
from landmark_dag.photos.folder import FolderSource
from landmark_dag.settings.demo import RenderingSettings
from landmark_dag.settings.home import changed_settings
from landmark_dag.storage.parquet_tables import read_table
from landmark_dag.storage.schemas import NEIGHBOURS, RANKING
from tests.end_to_end.test_pipeline import run
from tests.support.processes import ROOT, home_environment, program, running, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PHOTOS = RenderingSettings(landmarks=4, train_photos=48, index_photos=460, query_photos=8)
AT_FIRST, ARRIVING = 40, 12
TRANSCRIPT = ROOT / "test-artifacts" / "reindex.txt"


@dataclass
class Pass:
    """A run of the index job and the run of the query job that followed it."""

    embedded: str
    ranked: str
    seconds: list[float]


class Daemon:
    """A home that the daemon keeps current, and the runs of its instance."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        self.instance, self.folder, self.seen = instance, folder, set[str]()

    def finished(self, job: str) -> list[dg.DagsterRun]:
        runs = self.instance.get_runs(dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS]))
        return [run for run in reversed(runs) if run.run_id not in self.seen]

    def seconds(self, run: dg.DagsterRun) -> float:
        record = self.instance.get_run_record_by_id(run.run_id)
        assert record and record.start_time and record.end_time
        return record.end_time - record.start_time

    def next_pass(self, wanted: str = "") -> Pass:
        """Wait for an index run whose embedding step reports `wanted`, and for the query run after it."""

        def passed() -> Pass | None:
            for index in self.finished("index"):
                embedded = index.tags.get("landmark/index/embeddings", "")
                after = [
                    run
                    for run in self.finished("query")
                    if run.tags.get("dagster/run_key", "").startswith(index.run_id)
                ]
                if wanted in embedded and after:
                    self.seen |= {run.run_id for job in ("index", "query") for run in self.finished(job)}
                    return Pass(
                        embedded,
                        after[0].tags["landmark/inserted_ranking"],
                        [self.seconds(index), self.seconds(after[0])],
                    )
            return None

        return wait_until(passed, f"a pass with {wanted or 'anything'}", 400)

    def kill_while_embedding(self, unfinished: Path) -> str:
        """Kill the process of the run that embeds, two seconds into it, and return the run's id."""

        def embedding() -> tuple[str, int] | None:
            begun = dg.RunsFilter(job_name="index", statuses=[dg.DagsterRunStatus.STARTED])
            for started in self.instance.get_runs(begun):
                events = [log.dagster_event for log in self.instance.all_logs(started.run_id) if log.dagster_event]
                pids = {event.event_type_value: event.pid for event in events if event.step_key == "index__embeddings"}
                if "STEP_START" in pids and "STEP_SUCCESS" not in pids and shard_begun(self.folder):
                    return started.run_id, pids["STEP_START"]
            return None

        run_id, pid = wait_until(embedding, "a run that embeds", 200)
        time.sleep(2)
        os.kill(pid, signal.SIGKILL)
        assert not unfinished.exists()
        return run_id


def shard_begun(home: Path) -> bool:
    """Return whether the manifest of the last shard is stored: from then on its photos are embedded."""
    return (home / "store/index/photos/0003.parquet").exists()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, list[Path]]]:
    """Return a folder, the home of some of its photos, and the photos that arrive later."""
    folder = tmp_path_factory.mktemp("reindex")
    render_photos(folder / "all", PHOTOS)
    shutil.copytree(folder / "all", folder / "photos")
    later = sorted((folder / "photos/index").iterdir())[AT_FIRST:]
    for path in later:
        path.unlink()
    home = run(folder / "photos", folder / "home").home
    changed_settings(home, {"reindex.cron": "* * * * *", "reindex.scheduled": True}).write()
    yield folder, home, [folder / "all/index" / path.name for path in later]


def test_the_daemon_keeps_an_index_current_and_completes_a_killed_run(
    world: tuple[Path, Path, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, home, later = world
    lines: list[str] = []
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))

    def arrive(photos: list[Path]) -> str:
        for path in photos:
            shutil.copy(path, folder / "photos/index")
        return FolderSource(folder / "photos", 300, home / "shards").shards("index")[-1]

    def note(what: str, done: Pass) -> None:
        took = " + ".join(f"{seconds:.0f} s" for seconds in done.seconds)
        lines.append(f"{what}: index embeddings {done.embedded}; inserted ranking {done.ranked} ({took})")

    command = [program("dagster-daemon"), "run", "-w", str(ROOT / "workspace.yaml")]
    first_shard = home / "store/index/embeddings/0000.arrow"
    with (
        dg.DagsterInstance.from_config(str(home / "dagster")) as instance,
        running(command, home_environment(home), folder / "daemon.log"),
    ):
        daemon = Daemon(instance, home)
        unchanged = daemon.next_pass()
        note("nothing new", unchanged)
        assert unchanged.embedded.startswith("0 photos embedded") and unchanged.ranked.startswith("0 rows ranked")

        written = first_shard.stat().st_mtime_ns
        assert arrive(later[:ARRIVING]) == "0001"
        assert arrive(later[ARRIVING : 2 * ARRIVING]) == "0002"
        grown = daemon.next_pass(f"{2 * ARRIVING} photos embedded, computed 2 of 3")
        note("two new shards", grown)
        assert first_shard.stat().st_mtime_ns == written

        rest = later[2 * ARRIVING :]
        assert len(rest) > 300 and arrive(rest[:300]) == "0003"
        killed = daemon.kill_while_embedding(home / "store/index/embeddings/0003.arrow")
        lines.append(f"a third shard: the process of run {killed[:8]} is killed while it embeds")
        completed = daemon.next_pass("300 photos embedded, computed 1 of 4")
        note("after the kill", completed)
        assert instance.get_run_by_id(killed).status is dg.DagsterRunStatus.FAILURE

    for path in rest[300:]:
        (folder / "all/index" / path.name).unlink()
    whole = run(folder / "all", folder / "whole")
    for asset, table in {"knn_graph": NEIGHBOURS, "sorted_ranking": RANKING, "inserted_ranking": RANKING}.items():
        stored, expected = (read_table(place / f"store/{asset}/0000.parquet", table) for place in (home, whole.home))
        assert stored.drop("similarity").equals(expected.drop("similarity")), asset
        # Other shards make other batches, which may change the last bit of a float16.
        assert (stored["similarity"] - expected["similarity"]).abs().max() < 1e-4
        lines.append(f"{asset}: {stored.height} rows, equal to a run from nothing")
    TRANSCRIPT.parent.mkdir(exist_ok=True)
    TRANSCRIPT.write_text("\n".join(lines) + "\n")
    assert not list((home / "store").rglob("*.tmp"))
