"""Dagster's dynamic partitions: the shards of each split, and the trials of tuning."""

from collections.abc import Mapping

import dagster as dg

from landmark_dag.photos.source import SPLITS

SHARDS: Mapping[str, dg.DynamicPartitionsDefinition] = {
    split: dg.DynamicPartitionsDefinition(name=f"{split}_shards") for split in SPLITS
}
"""Partitions definition of each split; the sensor `new_shards` and the command line add the shards of the source."""

TRIALS = dg.DynamicPartitionsDefinition(name="trials")
"""Partitions definition of the trials of tuning; the job `tuning_trials` adds them."""
