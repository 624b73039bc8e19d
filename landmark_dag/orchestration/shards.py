"""Registering the shards of the photo source as partitions: at the start of a run, and by a sensor."""

import dagster as dg
from sqlalchemy.exc import IntegrityError

from landmark_dag.errors import InputError
from landmark_dag.orchestration.partitions import SHARDS
from landmark_dag.photos.source import SPLITS, PhotoSource
from resources.photo_source import PhotoSourceResource


def register_shards(instance: dg.DagsterInstance, source: PhotoSource) -> dict[str, list[str]]:
    """Register the shards that the source lists, and return them by split. Registered shards are never removed.

    Raises InputError if the source refuses its photos.
    """
    listed = {split: source.shards(split) for split in SPLITS}
    for split, shards in listed.items():
        try:
            instance.add_dynamic_partitions(f"{split}_shards", _unregistered(instance, split, shards))
        except IntegrityError:  # another run registered some of them in the meantime
            instance.add_dynamic_partitions(f"{split}_shards", _unregistered(instance, split, shards))
    return listed


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers the shards that the photo source lists; starts no run.",
)
def new_shards(
    context: dg.SensorEvaluationContext, photo_source: PhotoSourceResource
) -> dg.SensorResult | dg.SkipReason:
    """Register the shards that the photo source lists. Registered shards are never removed."""
    try:
        source = photo_source.source()
        requests = [
            SHARDS[split].build_add_request(new)
            for split in SPLITS
            if (new := _unregistered(context.instance, split, source.shards(split)))
        ]
    except InputError as error:
        return dg.SkipReason(str(error))
    if not requests:
        return dg.SkipReason("The source lists no new shard.")
    return dg.SensorResult(dynamic_partitions_requests=requests)


def _unregistered(instance: dg.DagsterInstance, split: str, shards: list[str]) -> list[str]:
    """Return those of `shards` that are not partitions of the split yet, in order."""
    known = set(instance.get_dynamic_partitions(f"{split}_shards"))
    return [shard for shard in shards if shard not in known]
