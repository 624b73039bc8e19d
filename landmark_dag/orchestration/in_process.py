"""Running the whole pipeline in this process: register the shards, then the jobs train, index and query."""

import logging
import os
import shutil
import uuid
from pathlib import Path
from typing import Any, Protocol

import dagster as dg
from filelock import FileLock, Timeout

from landmark_dag.errors import InputError
from landmark_dag.settings.home import HomeSettings, home_folder, write_home_settings
from landmark_dag.storage.atomic import replacing
from resources.photo_source import PhotoSourceResource, photo_source


class Watcher(Protocol):
    """What hears of a pipeline's progress."""

    def begin(self, steps: int) -> None:
        """The pipeline starts; it has so many steps."""

    def step(self, asset: str, state: str) -> None:
        """The step of `asset` is now started, succeeded or failed."""

    def warn(self, message: str) -> None:
        """A step warns of something."""


_STATES = {
    dg.DagsterEventType.STEP_START: "started",
    dg.DagsterEventType.STEP_SUCCESS: "succeeded",
    dg.DagsterEventType.STEP_FAILURE: "failed",
}
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_BY_COMMAND = {"landmark/launched_by": "landmark-dag run", "dagster/max_retries": "0"}
"""Tags of the runs that this module executes in its own process: no daemon is to take them up."""


def prepare_home(home: Path, settings: HomeSettings) -> None:
    """Make `home` a home folder with these settings, and this process's LANDMARK_HOME and DAGSTER_HOME.

    Raises InputError when it already holds the results of other photos, or the photos are not as they must be.
    """
    profile = settings.resolved_profile()
    photo_source(settings.photos, profile.photos_per_shard, dict(settings.dataset), home).check()
    write_home_settings(home, settings)
    instance = home / "dagster"
    instance.mkdir(exist_ok=True)
    if not (instance / "dagster.yaml").exists():
        with replacing(instance / "dagster.yaml") as path:
            shutil.copy(Path(__file__).with_name("dagster.yaml"), path)
    os.environ["LANDMARK_HOME"] = str(home)
    os.environ["DAGSTER_HOME"] = str(instance)
    if settings.store:
        os.environ["LANDMARK_STORE"] = settings.store


def run_pipeline(definitions: dg.Definitions, watcher: Watcher) -> None:
    """Materialize all of `definitions` for this process's home folder; what is stored already is not computed again.

    Raises what the first failing step raised, wrapped by Dagster; steps that succeeded stay stored. Raises InputError
    while another process does the same.
    """
    try:
        alone = FileLock(home_folder() / "run.lock").acquire(timeout=0)
    except Timeout:
        raise InputError(f"Another run works on {home_folder()}; wait for its end, or choose another --home.") from None
    with alone:
        _run_jobs(definitions, watcher)


def _run_jobs(definitions: dg.Definitions, watcher: Watcher) -> None:
    """Register the source's shards and run the jobs one after the other, in the only process that does."""
    from landmark_dag.orchestration.automation import JOBS, register_shards

    photo_source = (definitions.resources or {})["photo_source"]
    assert isinstance(photo_source, PhotoSourceResource)
    jobs = [definitions.resolve_job_def(job.name) for job in JOBS]
    watcher.begin(sum(len(job.nodes) for job in jobs))
    with dg.DagsterInstance.get() as instance:
        _end_killed_runs(instance)
        _warn_of_taken_slots(instance, watcher)
        register_shards(instance, photo_source.source())
        for job in jobs:
            _run(job, instance, watcher)


def _end_killed_runs(instance: dg.DagsterInstance) -> None:
    """Mark former runs of this command as failed that never came to an end, and free the slots of pools they took.

    Their process was killed: it held the lock that this one holds. Their slots would be taken for ever.
    """
    unfinished = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags=_BY_COMMAND)
    for run in instance.get_runs(unfinished):
        instance.report_run_failed(run, "The process of this run was killed.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _warn_of_taken_slots(instance: dg.DagsterInstance, watcher: Watcher) -> None:
    """Tell of the runs that hold a GPU slot: this one waits for them, and nothing else says so."""
    for slot in instance.event_log_storage.get_concurrency_info("gpu").claimed_slots:
        watcher.warn(
            f"Run {slot.run_id} holds a slot of the pool gpu, and this run waits for it; if that run is dead, "
            "terminate it in the UI."
        )


def _run(job: dg.JobDefinition, instance: dg.DagsterInstance, watcher: Watcher) -> None:
    """Run a split's job over all of the split's shards; no daemon is to start the next split's after it."""
    from landmark_dag.orchestration.automation import THEN_TAG, whole_split

    run_id = str(uuid.uuid4())
    blocking: list[str] = []

    def listen(event: dg.EventLogEntry) -> None:
        if event.dagster_event is None:
            if int(event.level) >= logging.WARNING:
                watcher.warn(event.user_message)
        elif event.dagster_event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.dagster_event.asset_check_evaluation_data
            if not check.passed:
                (blocking.append if check.blocking else watcher.warn)(_finding(check))
        elif (state := _STATES.get(event.dagster_event.event_type)) and event.dagster_event.step_key:
            watcher.step(event.dagster_event.step_key.replace("__", "/"), state)

    instance.add_event_listener(run_id, listen)
    try:
        job.execute_in_process(
            run_config=_QUIET,
            instance=instance,
            run_id=run_id,
            tags={**whole_split(instance, job.name).tags, **_BY_COMMAND, THEN_TAG: ""},
        )
    except dg.DagsterError as error:
        if blocking:
            raise InputError(" ".join(blocking)) from error
        raise


def _finding(check: dg.AssetCheckEvaluation) -> str:
    """Return what a failed check found, in one line."""
    shown = {name: value.value for name, value in check.metadata.items()}
    what = shown.get("what") or ", ".join(f"{name} {value}" for name, value in shown.items())
    line = " ".join(str(what).splitlines())
    return f"{check.asset_key.to_user_string()} fails its check {check.check_name}: {line}"


def summary(seconds: float) -> dict[str, Any]:
    """Return what the stored results of this process's home say, as `run --json` prints it.

    mAP@100 is in percent over all queries that count, null where there is no ground truth.
    """
    from landmark_dag.storage.schemas import CLEANED_DATASET, LABELS, RETRIEVAL_METRICS
    from resources.store import home_store

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
