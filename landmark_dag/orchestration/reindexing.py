"""Re-indexing: the schedule and the sensor that start the job `index`, and the sensor that starts the next split."""

import json

import dagster as dg

from landmark_dag.errors import InputError
from landmark_dag.orchestration.jobs import JOBS, NEXT_SPLIT, THEN_TAG, whole_split_request
from landmark_dag.orchestration.shards import register_shards
from landmark_dag.settings.reindex import ReindexSettings
from resources.photo_source import PhotoSourceResource


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=JOBS,
    request_jobs=JOBS,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts the index job when the train job has succeeded, and the query job when the index job has.",
)
def following_split(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
    """Start the index job when the train job has succeeded, and the query job when the index job has."""
    run = context.dagster_run
    split = run.tags.get(THEN_TAG, NEXT_SPLIT.get(run.job_name, ""))  # runs launched through GraphQL may lack the tag
    if not split:
        return dg.SkipReason(f"Nothing follows the job {run.job_name} of run {run.run_id}.")
    try:
        return whole_split_request(context.instance, split, run_key=f"{run.run_id} {split}", before=run.tags)
    except InputError as error:
        return dg.SkipReason(str(error))


def reindexing(settings: ReindexSettings) -> tuple[list[dg.ScheduleDefinition], list[dg.SensorDefinition]]:
    """Return the schedule and the sensor that bring the index up to date, switched on or off by the home's settings.

    Each registers new shards and starts the index job over every shard. Steps compute only what changed; the query job
    follows.
    """
    index = next(job for job in JOBS if job.name == "index")
    schedule = dg.schedule(
        job=index,
        cron_schedule=settings.cron,
        execution_timezone=settings.timezone,
        description=nightly_reindex.__doc__,
        default_status=dg.DefaultScheduleStatus.RUNNING if settings.scheduled else dg.DefaultScheduleStatus.STOPPED,
    )(nightly_reindex)
    sensor = dg.sensor(
        job=index,
        minimum_interval_seconds=30,
        description=reindex_on_arrival.__doc__,
        default_status=dg.DefaultSensorStatus.RUNNING if settings.on_arrival else dg.DefaultSensorStatus.STOPPED,
    )(reindex_on_arrival)
    return [schedule], [sensor]


def nightly_reindex(
    context: dg.ScheduleEvaluationContext, photo_source: PhotoSourceResource
) -> dg.RunRequest | dg.SkipReason:
    """Bring the index up to date every night."""
    try:
        register_shards(context.instance, photo_source.source())
        return whole_split_request(context.instance, "index")
    except InputError as error:
        return dg.SkipReason(str(error))


def reindex_on_arrival(
    context: dg.SensorEvaluationContext, photo_source: PhotoSourceResource
) -> dg.SensorResult | dg.SkipReason:
    """Bring the index up to date when the list of shards of the photo source changes."""
    try:
        seen = json.dumps(register_shards(context.instance, photo_source.source()))
        if seen == context.cursor:
            return dg.SkipReason("The source lists no new shard.")
        return dg.SensorResult(run_requests=[whole_split_request(context.instance, "index")], cursor=seen)
    except InputError as error:
        return dg.SkipReason(str(error))
