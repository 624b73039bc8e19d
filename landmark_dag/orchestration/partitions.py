"""The shards of each split, and the trials of tuning, as Dagster's dynamic partitions."""

from collections.abc import Mapping

import dagster as dg

from landmark_dag.photos.source import SPLITS

SHARDS: Mapping[str, dg.DynamicPartitionsDefinition] = {
    split: dg.DynamicPartitionsDefinition(name=f"{split}_shards") for split in SPLITS
}
"""Partitions definition of each split; the sensor and the command line add the shards a source lists."""

TRIALS = dg.DynamicPartitionsDefinition(name="trials")
"""Partitions definition of the trials of other settings; the job tuning_trials adds them."""


def last_shard_tag(split: str) -> str:
    """Return the tag of runs that names the last shard of `split` that they take."""
    return f"landmark/last_{split}_shard"
