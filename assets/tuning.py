"""Tuning: trials of other training settings, one for each partition, and the table of their results."""

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from assets.configs import PROFILE, TrialConfig
from assets.metadata import Metadata, table_metadata
from assets.steps import GPU, OWNERS, Upstream, deps, every, every_shard, materialize_stored
from landmark_dag.orchestration.partitions import TRIALS
from landmark_dag.storage.hashing import digest
from landmark_dag.storage.schemas import CLEANED_DATASET, MANIFEST, TUNING_TRIALS
from resources.accelerator import Accelerator
from resources.store import Store

_COMMON: dict[str, Any] = {
    "group_name": "tuning",
    "owners": OWNERS,
    "code_version": "1",
    "metadata": table_metadata(TUNING_TRIALS),
}


_TRIAL = [Upstream("cleaned_dataset"), every("train/photos", "train")]


@dg.asset(
    key=["tuning", "trial"], deps=deps(_TRIAL), partitions_def=TRIALS, kinds={"pytorch", "parquet"}, **_COMMON, **GPU
)
def tuning_trial(
    context: dg.AssetExecutionContext, config: TrialConfig, store: Store, accelerator: Accelerator
) -> dg.MaterializeResult:
    """A model trained with the settings that its partition names, and scored on landmarks held out of training.

    The job tuning_trials registers the partitions; a backfill runs them.
    """
    settings = {
        "network": config.network.settings(),
        "training": config.training.settings(),
        "embedding": config.embedding.settings(),
        "tuning": config.tuning.settings(),
    }

    def compute(trial: str, path: Path, version: str) -> Metadata:
        from landmark_dag.evaluation.tuning import TrialSettings, run_trial
        from landmark_dag.storage.parquet_tables import write_table

        manifest = store.read_shards("train/photos", MANIFEST, every_shard(context, "train"))
        cleaned = store.read("cleaned_dataset", CLEANED_DATASET)
        folder = Path(store.root) / "models" / f"trial-{version}"
        device = accelerator.torch_device()
        started_from = TrialSettings(**settings)
        row = run_trial(trial, folder, manifest, cleaned, started_from, device=device, on_epoch=context.log.info)
        write_table(path, TUNING_TRIALS, row, version)
        shutil.rmtree(folder)
        return row.drop("settings").row(0, named=True)

    return materialize_stored(
        context, store, compute, inputs=_TRIAL, settings=list(settings.values()), source=lambda trial: trial
    )


@dg.asset(
    key=["tuning", "results"],
    deps=[dg.AssetDep(["tuning", "trial"], partition_mapping=dg.AllPartitionMapping())],
    kinds={"parquet"},
    **_COMMON,
)
def tuning_results(context: dg.AssetExecutionContext, store: Store) -> dg.MaterializeResult:
    """All materialized trials, the best first."""
    from landmark_dag.evaluation.tuning import best_first
    from landmark_dag.storage.parquet_tables import write_table

    registered = context.instance.get_dynamic_partitions(str(TRIALS.name))
    stored = store.stored("tuning/trial", registered)
    versions = dict.fromkeys(registered) | store.input_versions("tuning/trial", stored)

    def compute(shard: str, path: Path, version: str) -> Metadata:
        trials = best_first(store.read_shards("tuning/trial", TUNING_TRIALS, stored))
        write_table(path, TUNING_TRIALS, trials, version)
        shown = [dg.TableRecord(row) for row in trials.drop("settings").iter_rows(named=True)]
        table = {"trials": dg.MetadataValue.table(shown)} if shown else {}
        return {**table, "not materialized": len(registered) - len(stored)}

    return materialize_stored(context, store, compute, source=lambda shard: digest(versions))


class TuningTrialsConfig(dg.Config):
    """Which settings to try."""

    choices: dict[str, Any] = Field(description="names of network and training settings, with the values to try")
    random_draws: int = Field(default=0, description="trials drawn at random from the grid; 0: the whole grid")
    seed: int = Field(default=0, description="seed of the draws")


@dg.op
def register_trials(context: dg.OpExecutionContext, config: TuningTrialsConfig) -> None:
    """Register trials as partitions of tuning/trial; those registered before are kept."""
    from landmark_dag.training.tuning import grid, random_trials, settings_of

    choices, draws = config.choices, config.random_draws
    trials = random_trials(choices, draws, config.seed) if draws else grid(choices)
    for trial in trials:
        settings_of(trial, PROFILE.network, PROFILE.training)
    context.instance.add_dynamic_partitions(str(TRIALS.name), trials)
    context.log.info(f"Registered {len(trials)} trials; launch a backfill of tuning/trial to run them.")


@dg.job(description="Register trials of other settings, as partitions of tuning/trial; a backfill then runs them.")
def tuning_trials() -> None:
    """A grid, or random draws from it."""
    register_trials()
