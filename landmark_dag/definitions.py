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
from landmark_dag.automation import JOBS, new_shards
from landmark_dag.settings import active_profile, home_folder, read_home_settings
from resources.accelerator import Accelerator
from resources.photo_source import PhotoSourceResource
from resources.store import home_store


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions for the home folder of this process (LANDMARK_HOME)."""
    home = home_folder()
    stages = [assets.photos, assets.cleaning, assets.training, assets.tuning, assets.retrieval, assets.evaluation]
    return dg.Definitions(
        assets=dg.load_assets_from_modules(stages),
        asset_checks=dg.load_asset_checks_from_modules([*stages, assets.checks]),
        jobs=[*JOBS, assets.tuning.tuning_trials],
        sensors=[new_shards],
        executor=dg.multiprocess_executor.configured({"max_concurrent": 2}),
        resources={
            "store": home_store(home),
            "photo_source": PhotoSourceResource(
                photos=os.environ.get("LANDMARK_PHOTOS") or read_home_settings(home).photos,
                photos_per_shard=active_profile().photos_per_shard,
                dataset=dict(read_home_settings(home).dataset),
                home=str(home),
            ),
            "accelerator": Accelerator(device=os.environ.get("LANDMARK_DEVICE", "auto")),
        },
    )
