"""Runs the whole pipeline in this process: registers the shards, then runs the jobs train, index and query."""

import contextlib
import logging
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import dagster as dg
from filelock import FileLock, Timeout

from landmark_dag.errors import InputError
from landmark_dag.orchestration.jobs import JOBS, THEN_TAG, whole_split_request
from landmark_dag.orchestration.shards import register_shards
from landmark_dag.settings.home import HomeSettings, home_folder, merged_settings
from landmark_dag.storage.atomic import replacing
from landmark_dag.storage.schemas import CLEANED_DATASET, LABELS, RETRIEVAL_METRICS
from resources.photo_source import PhotoSourceResource, photo_source
from resources.store import home_store


class Watcher(Protocol):
    """Receives the progress of a pipeline."""

    def begin(self, steps: int) -> None:
        """The pipeline starts; it has so many steps."""

    def step(self, asset: str, state: str) -> None:
        """The step of `asset` has started, succeeded or failed."""

    def warn(self, message: str) -> None:
        """A step warns of something."""


_STATES = {
    dg.DagsterEventType.STEP_START: "started",
    dg.DagsterEventType.STEP_SUCCESS: "succeeded",
    dg.DagsterEventType.STEP_FAILURE: "failed",
}
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_BY_COMMAND = {"landmark/launched_by": "landmark-dag run", "dagster/max_retries": "0"}
"""Tags of the runs that this module executes; the daemon does not retry them."""


def prepare_home(home: Path, settings: HomeSettings) -> None:
    """Make `home` a home folder with these settings, and set LANDMARK_HOME and DAGSTER_HOME of this process to it.

    What `settings` leave empty stays as the home has it. Raises InputError if the home holds the results of other
    photos, a setting is not allowed, or the photo source refuses its photos; nothing is written then.
    """
    change = merged_settings(home, settings)
    merged, profile = change.settings, change.settings.resolved_profile()
    photo_source(merged.photos, profile.photos_per_shard, merged.dataset, home).check()
    change.write()
    instance = home / "dagster"
    instance.mkdir(exist_ok=True)
    if not (instance / "dagster.yaml").exists():
        with replacing(instance / "dagster.yaml") as path:
            shutil.copy(Path(__file__).with_name("dagster.yaml"), path)
    os.environ["LANDMARK_HOME"] = str(home)
    os.environ["DAGSTER_HOME"] = str(instance)


def run_pipeline(definitions: dg.Definitions, watcher: Watcher) -> None:
    """Materialize all of `definitions` for this process's home folder. Stored results are not computed again.

    Raises the exception of the first step that fails; results of the steps before it stay stored. Raises InputError if
    a blocking check fails or another process runs the pipeline on this home, and KeyboardInterrupt after Ctrl-C.
    """
    photos = (definitions.resources or {})["photo_source"]
    assert isinstance(photos, PhotoSourceResource)
    jobs = [definitions.resolve_job_def(job.name) for job in JOBS]
    try:
        lock = FileLock(home_folder() / "run.lock").acquire(timeout=0)
    except Timeout:
        raise InputError(f"Another run works on {home_folder()}; wait for its end, or choose another --home.") from None
    with lock, dg.DagsterInstance.get() as instance:
        watcher.begin(sum(len(job.nodes) for job in jobs))
        _end_killed_runs(instance)
        _warn_of_taken_slots(instance, watcher)
        register_shards(instance, photos.source())
        for job in jobs:
            _run(job, instance, watcher)


def _end_killed_runs(instance: dg.DagsterInstance) -> None:
    """Mark unfinished runs of this command as failed, and free their slots of pools.

    The process of such a run was killed: it held the lock that this process holds now. Nothing else frees its slots.
    """
    unfinished = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags=_BY_COMMAND)
    for run in instance.get_runs(unfinished):
        instance.report_run_failed(run, "The process of this run was killed.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _warn_of_taken_slots(instance: dg.DagsterInstance, watcher: Watcher) -> None:
    """Warn of the runs that hold a GPU slot, since this run waits for them."""
    for slot in instance.event_log_storage.get_concurrency_info("gpu").claimed_slots:
        watcher.warn(
            f"Run {slot.run_id} holds a slot of the pool gpu, and this run waits for it; if that run is dead, "
            "terminate it in the UI."
        )


def _run(job: dg.JobDefinition, instance: dg.DagsterInstance, watcher: Watcher) -> None:
    """Run a split's job over all shards of the split. Its tag tells the sensor to start no other job after it."""
    run_id = str(uuid.uuid4())
    failed_checks: list[str] = []
    instance.add_event_listener(run_id, _listener(watcher, failed_checks))
    try:
        with _printed_to_logs_only():
            job.execute_in_process(
                run_config=_QUIET,
                instance=instance,
                run_id=run_id,
                tags={**whole_split_request(instance, job.name).tags, **_BY_COMMAND, THEN_TAG: ""},
            )
    except dg.DagsterExecutionInterruptedError:
        raise KeyboardInterrupt("Interrupted; run again to go on from what is stored.") from None
    except dg.DagsterError as error:
        if failed_checks:
            raise InputError(" ".join(failed_checks)) from error
        raise


def _listener(watcher: Watcher, failed_checks: list[str]) -> Callable[[dg.EventLogEntry], None]:
    """Return what reports a run's events to `watcher`, and collects what failed blocking checks found."""

    def listen(event: dg.EventLogEntry) -> None:
        if event.dagster_event is None:
            # After Ctrl-C, Dagster warns of what it interrupted.
            interrupted = isinstance(sys.exc_info()[1], dg.DagsterExecutionInterruptedError)
            if int(event.level) >= logging.WARNING and not interrupted:
                watcher.warn(event.user_message)
        elif event.dagster_event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.dagster_event.asset_check_evaluation_data
            if not check.passed:
                (failed_checks.append if check.blocking else watcher.warn)(_finding(check))
        elif (state := _STATES.get(event.dagster_event.event_type)) and event.dagster_event.step_key:
            watcher.step(event.dagster_event.step_key.replace("__", "/"), state)

    return listen


@contextlib.contextmanager
def _printed_to_logs_only() -> Iterator[None]:
    """Send what steps print to Dagster's logs of the run only, not to the terminal.

    Dagster mirrors its logs to this process's stdout and stderr through child processes, and after Ctrl-C each of them
    prints a traceback.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with Path(os.devnull).open("wb") as null, contextlib.ExitStack() as restored:
        for standard in (1, 2):
            original = os.dup(standard)
            restored.callback(os.close, original)
            restored.callback(os.dup2, original, standard)
            os.dup2(null.fileno(), standard)
        restored.callback(sys.stdout.flush)
        restored.callback(sys.stderr.flush)
        yield


def _finding(check: dg.AssetCheckEvaluation) -> str:
    """Return in one line what a failed check found."""
    shown = {name: value.value for name, value in check.metadata.items()}
    what = shown.get("what") or ", ".join(f"{name} {value}" for name, value in shown.items())
    line = " ".join(str(what).splitlines())
    return f"{check.asset_key.to_user_string()} fails its check {check.check_name}: {line}"


def summary(seconds: float) -> dict[str, Any]:
    """Return the main results of this process's home, as `run --json` prints them.

    mAP@100 is in percent over all queries that count, None without a ground truth.
    """
    home = home_folder()
    store = home_store(home)
    metrics = store.read("retrieval_metrics", RETRIEVAL_METRICS)
    overall = dict(metrics.filter(usage="all").select("step", "map_at_100").iter_rows())
    return {
        "map_at_100": {step: overall.get(step) for step in ("knn", "sorted", "inserted")},
        "cleaning": {
            "photos": store.read("train/labels", LABELS).height,
            "kept": store.read("cleaned_dataset", CLEANED_DATASET).height,
        },
        "home": str(home),
        "gallery": str(store.path("gallery").with_suffix(".html")),
        "seconds": round(seconds, 1),
    }
