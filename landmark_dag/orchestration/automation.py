"""What runs by itself: the jobs of the splits, the schedule and sensors of re-indexing, and the assets' policies."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta

import dagster as dg
from sqlalchemy.exc import IntegrityError

from landmark_dag.errors import InputError
from landmark_dag.orchestration.partitions import SHARDS, last_shard_tag
from landmark_dag.photos.source import SPLITS, PhotoSource
from landmark_dag.settings.reindex import ReindexSettings
from resources.photo_source import PhotoSourceResource

SPLIT_ASSETS: Mapping[str, dg.AssetSelection] = {
    "train": dg.AssetSelection.groups("cleaning", "training") | dg.AssetSelection.key_prefixes("train"),
    "index": dg.AssetSelection.key_prefixes("index"),
    "query": dg.AssetSelection.key_prefixes("query")
    | (dg.AssetSelection.groups("evaluation") - dg.AssetSelection.assets("reranking_comparison"))
    | dg.AssetSelection.assets("knn_graph", "sorted_ranking", "inserted_ranking"),
}
"""What each split's job materializes. A run has the shards of one split, so the splits are jobs of their own.

The comparison of ways to re-rank is left to those who ask for it: it searches the whole index for every index photo.
"""

SPLIT_TAG, THEN_TAG = "landmark/split", "landmark/then"
"""Tags of a run: the split whose shards it has, and the split whose job starts when it succeeds."""

_NEXT = {"train": "index", "index": "query", "query": ""}

JOBS = [
    dg.define_asset_job(
        split,
        selection=SPLIT_ASSETS[split],
        description=description,
        run_tags={SPLIT_TAG: split, THEN_TAG: _NEXT[split]},
    )
    for split, description in {
        "train": "First: clean the train photos, train the model, embed them. When it succeeds, index starts.",
        "index": "Re-index: embed the index photos and vote for their landmarks. When it succeeds, query starts.",
        "query": "Last: embed the queries, rank the index for each, and evaluate.",
    }.items()
]


def whole_split(
    instance: dg.DagsterInstance, split: str, run_key: str | None = None, before: Mapping[str, str] | None = None
) -> dg.RunRequest:
    """Return the request of a run of the split's job over all registered shards of it.

    The run takes no shard of any split that is registered later, for what is made of it would be missing; of the splits
    before this one it takes those that the run before it took, whose tags are `before`.
    """
    shards = {name: instance.get_dynamic_partitions(f"{name}_shards") for name in SPLITS}
    last = {last_shard_tag(name): keys[-1] for name, keys in shards.items() if keys}
    earlier = {last_shard_tag(name) for name in SPLITS[: SPLITS.index(split)]}
    last |= {tag: value for tag, value in (before or {}).items() if tag in earlier}
    return dg.RunRequest(
        run_key=run_key,
        job_name=split,
        tags={
            "dagster/asset_partition_range_start": shards[split][0],
            "dagster/asset_partition_range_end": shards[split][-1],
            **last,
        },
    )


def unregistered(instance: dg.DagsterInstance, split: str, shards: list[str]) -> list[str]:
    """Return those of the source's `shards` that are not partitions of the split yet, in order."""
    known = set(instance.get_dynamic_partitions(f"{split}_shards"))
    return [shard for shard in shards if shard not in known]


def register_shards(instance: dg.DagsterInstance, source: PhotoSource) -> dict[str, list[str]]:
    """Register the shards that the source lists, none of which is ever removed; return them all by split.

    Raises InputError when the photos are not as they must be.
    """
    listed = {split: source.shards(split) for split in SPLITS}
    for split, shards in listed.items():
        try:
            instance.add_dynamic_partitions(f"{split}_shards", unregistered(instance, split, shards))
        except IntegrityError:  # another run has registered some of them since they were looked up
            instance.add_dynamic_partitions(f"{split}_shards", unregistered(instance, split, shards))
    return listed


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers the shards that the photo source lists; starts no run.",
)
def new_shards(
    context: dg.SensorEvaluationContext, photo_source: PhotoSourceResource
) -> dg.SensorResult | dg.SkipReason:
    """Register the shards that the photo source lists; none is ever removed."""
    try:
        source = photo_source.source()
        requests = [
            SHARDS[split].build_add_request(new)
            for split in SPLITS
            if (new := unregistered(context.instance, split, source.shards(split)))
        ]
    except InputError as error:
        return dg.SkipReason(str(error))
    if not requests:
        return dg.SkipReason("The source lists no new shard.")
    return dg.SensorResult(dynamic_partitions_requests=requests)


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
    split = run.tags.get(THEN_TAG, _NEXT.get(run.job_name, ""))  # who launches by GraphQL need not know of tags
    if not split:
        return dg.SkipReason(f"Nothing follows the job {run.job_name} of run {run.run_id}.")
    if not context.instance.get_dynamic_partitions(f"{split}_shards"):
        return dg.SkipReason(f"There is no {split} shard yet.")
    return whole_split(context.instance, split, run_key=f"{run.run_id} {split}", before=run.tags)


def _reindex(instance: dg.DagsterInstance, source: PhotoSource) -> dg.RunRequest:
    register_shards(instance, source)
    return whole_split(instance, "index")


def reindexing(settings: ReindexSettings) -> tuple[list[dg.ScheduleDefinition], list[dg.SensorDefinition]]:
    """Return the schedules and sensors that bring the index up to date, as a home's settings say.

    Each registers new shards and starts the index job over every shard; steps compute only what changed, and the query
    job follows. Raises InputError for a cron line that Dagster cannot read.
    """

    def nightly_reindex(
        context: dg.ScheduleEvaluationContext, photo_source: PhotoSourceResource
    ) -> dg.RunRequest | dg.SkipReason:
        """Bring the index up to date, night by night."""
        try:
            return _reindex(context.instance, photo_source.source())
        except InputError as error:
            return dg.SkipReason(str(error))

    def reindex_on_arrival(
        context: dg.SensorEvaluationContext, photo_source: PhotoSourceResource
    ) -> dg.SensorResult | dg.SkipReason:
        """Bring the index up to date when the photo source lists other shards than before."""
        try:
            source = photo_source.source()
            seen = json.dumps(register_shards(context.instance, source))
        except InputError as error:
            return dg.SkipReason(str(error))
        if seen == context.cursor:
            return dg.SkipReason("The source lists no new shard.")
        return dg.SensorResult(run_requests=[whole_split(context.instance, "index")], cursor=seen)

    index = next(job for job in JOBS if job.name == "index")
    try:
        schedule = dg.schedule(
            job=index,
            cron_schedule=settings.cron,
            execution_timezone=settings.timezone,
            description=nightly_reindex.__doc__,
            default_status=dg.DefaultScheduleStatus.RUNNING if settings.scheduled else dg.DefaultScheduleStatus.STOPPED,
        )(nightly_reindex)
    except dg.DagsterInvalidDefinitionError as error:
        raise InputError(
            f"Settings of re-indexing: {settings.cron!r} is no cron line; write one such as '0 3 * * *'."
        ) from error
    sensor = dg.sensor(
        job=index,
        minimum_interval_seconds=30,
        description=reindex_on_arrival.__doc__,
        default_status=dg.DefaultSensorStatus.RUNNING if settings.on_arrival else dg.DefaultSensorStatus.STOPPED,
    )(reindex_on_arrival)
    return [schedule], [sensor]


_KEPT_CURRENT = SPLIT_ASSETS["index"] | SPLIT_ASSETS["query"]
"""What declarative automation brings up to date: never the model, which people train when they decide to."""

declarative_reindex = dg.AutomationConditionSensorDefinition(
    "declarative_reindex",
    target=_KEPT_CURRENT,
    description=(
        "The alternative to nightly_reindex: materializes a shard as soon as what it is made of changed, each asset in "
        "a run of its own. Photos are looked at when their shard is new and at the time of nightly_reindex."
    ),
    default_status=dg.DefaultSensorStatus.STOPPED,
)

_RANKINGS = {dg.AssetKey("sorted_ranking"), dg.AssetKey("inserted_ranking")}
_STALE_AFTER, _FAILED_AFTER = timedelta(hours=26), timedelta(hours=50)
"""Hours after which a ranking that was not looked at is stale, and has failed: one night missed, and two."""


def with_policies(assets: Sequence[dg.AssetsDefinition], settings: ReindexSettings) -> list[dg.AssetsDefinition]:
    """Return `assets` with the conditions of declarative automation, and the rankings with their freshness."""
    photos = dg.AutomationCondition.on_missing() | dg.AutomationCondition.on_cron(settings.cron, settings.timezone)
    conditions = {dg.AssetKey([split, "photos"]): photos for split in ("index", "query")}
    kept_current = _KEPT_CURRENT.resolve(assets, allow_missing=True)
    freshness = dg.FreshnessPolicy.time_window(fail_window=_FAILED_AFTER, warn_window=_STALE_AFTER)

    def policies(spec: dg.AssetSpec) -> dg.AssetSpec:
        if spec.key in kept_current:
            spec = spec.replace_attributes(
                automation_condition=conditions.get(spec.key, dg.AutomationCondition.eager())
            )
        return spec.replace_attributes(freshness_policy=freshness) if spec.key in _RANKINGS else spec

    return [definition.map_asset_specs(policies) for definition in assets]
