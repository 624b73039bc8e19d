"""Everything Dagster loads, wired once: assets, jobs, the sensor, and the resources of this home."""

import os

import dagster as dg

import assets.checks
import assets.cleaning
import assets.evaluation
import assets.photos
import assets.retrieval
import assets.training
import assets.tuning
from landmark_dag.automation import (
    JOBS,
    declarative_reindex,
    following_split,
    new_shards,
    reindexing,
    with_policies,
)
from landmark_dag.secrets import without_secrets
from landmark_dag.settings import active_profile, home_folder, read_home_settings
from resources.accelerator import Accelerator
from resources.photo_source import PhotoSourceResource
from resources.store import Store


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions for the home folder of this process (LANDMARK_HOME)."""
    home = home_folder()
    settings = read_home_settings(home)
    schedules, sensors = reindexing(settings.reindex)
    stages = [assets.photos, assets.cleaning, assets.training, assets.tuning, assets.retrieval, assets.evaluation]
    loaded = [asset for asset in dg.load_assets_from_modules(stages) if isinstance(asset, dg.AssetsDefinition)]
    return dg.Definitions(
        assets=with_policies(loaded, settings.reindex),
        asset_checks=dg.load_asset_checks_from_modules([*stages, assets.checks]),
        jobs=[*JOBS, assets.tuning.tuning_trials],
        schedules=schedules,
        sensors=[new_shards, following_split, declarative_reindex, *sensors],
        # A run's steps follow one another, so that processes of their own would only cost 3 s of imports each.
        executor=dg.in_process_executor,
        resources={
            "store": Store(root=str(home / "store")),
            "photo_source": PhotoSourceResource(
                photos=without_secrets(os.environ.get("LANDMARK_PHOTOS") or settings.photos),
                photos_per_shard=active_profile().photos_per_shard,
                dataset=dict(settings.dataset),
                home=str(home),
            ),
            "accelerator": Accelerator(device=os.environ.get("LANDMARK_DEVICE", "auto")),
        },
    )
