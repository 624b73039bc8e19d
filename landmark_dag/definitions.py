"""Everything Dagster loads, wired once: assets, jobs, schedule, sensors, and the resources of this home."""

import os
import warnings
from collections.abc import Sequence
from types import ModuleType

import dagster as dg

import assets.checks
import assets.cleaning
import assets.evaluation
import assets.photos
import assets.retrieval
import assets.training
import assets.tuning
from landmark_dag.orchestration.automation import (
    JOBS,
    declarative_reindex,
    following_split,
    new_shards,
    reindexing,
    with_policies,
)
from landmark_dag.orchestration.executors import step_executor
from landmark_dag.orchestration.partitions import SHARDS
from landmark_dag.settings.home import active_profile, home_folder, read_home_settings
from landmark_dag.storage.secrets import without_secrets
from resources.accelerator import Accelerator
from resources.photo_source import PhotoSourceResource
from resources.store import home_store


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions for the home folder of this process (LANDMARK_HOME)."""
    home = home_folder()
    settings = read_home_settings(home)
    schedules, sensors = reindexing(settings.reindex)
    stages = [assets.photos, assets.cleaning, assets.training, assets.tuning, assets.retrieval, assets.evaluation]
    return dg.Definitions(
        assets=with_policies(_catalogued(stages), settings.reindex),
        asset_checks=dg.load_asset_checks_from_modules([*stages, assets.checks]),
        jobs=[*JOBS, assets.tuning.tuning_trials],
        schedules=schedules,
        sensors=[new_shards, following_split, declarative_reindex, *sensors],
        executor=step_executor(),
        resources={
            "store": home_store(home),
            "photo_source": PhotoSourceResource(
                photos=without_secrets(os.environ.get("LANDMARK_PHOTOS") or settings.photos),
                photos_per_shard=active_profile().photos_per_shard,
                dataset=dict(settings.dataset),
                home=str(home),
            ),
            "accelerator": Accelerator(device=os.environ.get("LANDMARK_DEVICE", "auto")),
        },
    )


def _catalogued(stages: Sequence[ModuleType]) -> Sequence[dg.AssetsDefinition]:
    """Return the assets of `stages` with a link to their source and the tags that the catalogue selects them by."""
    loaded = dg.load_assets_from_modules(stages)
    tagged = [_tagged(asset) for asset in loaded if isinstance(asset, dg.AssetsDefinition)]
    with warnings.catch_warnings():  # Dagster warns that links to source are beta; without them only the links go
        warnings.simplefilter("ignore", dg.BetaWarning)
        linked = dg.with_source_code_references(tagged)
    return [asset for asset in linked if isinstance(asset, dg.AssetsDefinition)]


def _tagged(asset: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """Return `asset` with its split, where it has the shards of one, and what it computes on, as tags."""
    splits = {shards.name: split for split, shards in SHARDS.items()}
    split = splits.get(getattr(asset.partitions_def, "name", None))
    tags = {"runs_on": "accelerator" if asset.op.pool == "gpu" else "processor"} | ({"split": split} if split else {})
    return asset.map_asset_specs(lambda spec: spec.merge_attributes(tags=tags))
