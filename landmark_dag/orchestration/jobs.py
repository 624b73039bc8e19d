"""The jobs `train`, `index` and `query`, and the request of a run over all shards of a split."""

from collections.abc import Mapping

import dagster as dg

from landmark_dag.errors import InputError
from landmark_dag.photos.source import SPLITS

SPLIT_ASSETS: Mapping[str, dg.AssetSelection] = {
    "train": dg.AssetSelection.groups("cleaning", "training") | dg.AssetSelection.key_prefixes("train"),
    "index": dg.AssetSelection.key_prefixes("index"),
    "query": dg.AssetSelection.key_prefixes("query")
    | (dg.AssetSelection.groups("evaluation") - dg.AssetSelection.assets("reranking_comparison"))
    | dg.AssetSelection.assets("knn_graph", "sorted_ranking", "inserted_ranking"),
}
"""What the job of each split materializes. A run covers the shards of one split, so each split has its own job.

`reranking_comparison` is in no job, because it searches the whole index for every index photo.
"""

SPLIT_TAG, THEN_TAG = "landmark/split", "landmark/then"
"""Tags of a run: its split, and the split whose job starts when the run succeeds."""

NEXT_SPLIT: Mapping[str, str] = {"train": "index", "index": "query", "query": ""}
"""The split whose job starts when the job of a split succeeds."""

JOBS = [
    dg.define_asset_job(
        split,
        selection=SPLIT_ASSETS[split],
        description=description,
        run_tags={SPLIT_TAG: split, THEN_TAG: NEXT_SPLIT[split]},
    )
    for split, description in {
        "train": "First: clean the train photos, train the model, embed them. When it succeeds, index starts.",
        "index": "Re-index: embed the index photos and vote for their landmarks. When it succeeds, query starts.",
        "query": "Last: embed the queries, rank the index for each, and evaluate.",
    }.items()
]
"""The job of each split, in the order in which they run."""


def last_shard_tag(split: str) -> str:
    """Return the tag that holds the last shard of `split` that a run reads."""
    return f"landmark/last_{split}_shard"


def whole_split_request(
    instance: dg.DagsterInstance, split: str, run_key: str | None = None, before: Mapping[str, str] | None = None
) -> dg.RunRequest:
    """Return the request of a run of the split's job over all registered shards of the split.

    Shards that are registered after the request are left to the next run, in every split: their upstream results may be
    missing. `before` holds the tags of the run that this one follows; both read the same shards of the earlier splits.
    Raises InputError if the split has no shards.
    """
    shards = {name: instance.get_dynamic_partitions(f"{name}_shards") for name in SPLITS}
    if not shards[split]:
        raise InputError(f"There are no {split} shards; add {split} photos, or name {split} shards in --shards.")
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
