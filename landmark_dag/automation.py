"""The jobs of the pipeline, one for each split, and the sensor that registers new shards."""

from collections.abc import Mapping

import dagster as dg

from landmark_dag.errors import InputError
from landmark_dag.partitions import SHARDS
from landmark_dag.photos.source import SPLITS
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

JOBS = [
    dg.define_asset_job(
        split,
        selection=SPLIT_ASSETS[split],
        description=description,
    )
    for split, description in {
        "train": "First: clean the train photos, train the model, embed them.",
        "index": "Second: embed the index photos and vote for their landmarks.",
        "query": "Third: embed the queries, rank the index for each, and evaluate.",
    }.items()
]


@dg.sensor(minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
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


def unregistered(instance: dg.DagsterInstance, split: str, shards: list[str]) -> list[str]:
    """Return those of the source's `shards` that are not partitions of the split yet, in order."""
    known = set(instance.get_dynamic_partitions(f"{split}_shards"))
    return [shard for shard in shards if shard not in known]
