"""Everything that Dagster loads: assets, checks, jobs, schedule, sensors, and the resources of this home."""

import importlib
import os
import sys
import warnings
from collections.abc import Sequence

import dagster as dg

import assets
import assets.configs
import assets.tuning
from landmark_dag.orchestration.executors import step_executor
from landmark_dag.orchestration.jobs import JOBS
from landmark_dag.orchestration.partitions import SHARDS
from landmark_dag.orchestration.policies import declarative_reindex, with_policies
from landmark_dag.orchestration.reindexing import following_split, reindexing
from landmark_dag.orchestration.shards import new_shards
from landmark_dag.settings.home import home_folder, read_home_settings
from landmark_dag.settings.profiles import Profile
from landmark_dag.storage.secrets import without_secrets
from resources.accelerator import Accelerator
from resources.photo_source import PhotoSourceResource
from resources.store import home_store


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions for the home folder of this process (LANDMARK_HOME)."""
    home = home_folder()
    settings = read_home_settings(home)
    profile = settings.resolved_profile()
    _import_assets(profile)
    schedules, sensors = reindexing(profile.reindex)
    return dg.Definitions(
        assets=with_policies(_catalogued_assets(), profile.reindex),
        asset_checks=dg.load_asset_checks_from_package_module(assets),
        jobs=[*JOBS, assets.tuning.tuning_trials],
        schedules=schedules,
        sensors=[new_shards, following_split, declarative_reindex, *sensors],
        executor=step_executor(),
        resources={
            "store": home_store(home),
            "photo_source": PhotoSourceResource(
                photos=without_secrets(os.environ.get("LANDMARK_PHOTOS") or settings.photos),
                photos_per_shard=profile.photos_per_shard,
                dataset=settings.dataset,
                home=str(home),
            ),
            "accelerator": Accelerator(device=os.environ.get("LANDMARK_DEVICE", "auto")),
        },
    )


def _import_assets(profile: Profile) -> None:
    """Import the assets again if this process imported them for a home with other settings than `profile`.

    The configs of assets take their defaults from the home's settings when they are imported.
    """
    if profile != assets.configs.PROFILE:
        for name in [name for name in sys.modules if name.startswith("assets.")]:
            del sys.modules[name]
        importlib.import_module("assets.tuning")


def _catalogued_assets() -> Sequence[dg.AssetsDefinition]:
    """Return all assets with a link to their source and the tags that the catalogue selects them by."""
    loaded = dg.load_assets_from_package_module(assets)
    tagged = [_tagged(asset) for asset in loaded if isinstance(asset, dg.AssetsDefinition)]
    with warnings.catch_warnings():  # Dagster warns that links to source are beta
        warnings.simplefilter("ignore", dg.BetaWarning)
        linked = dg.with_source_code_references(tagged)
    return [asset for asset in linked if isinstance(asset, dg.AssetsDefinition)]


def _tagged(asset: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """Return `asset` with two tags: the split whose shards it has, if any, and what it computes on."""
    splits = {shards.name: split for split, shards in SHARDS.items()}
    split = splits.get(getattr(asset.partitions_def, "name", None))
    tags = {"runs_on": "accelerator" if asset.op.pool == "gpu" else "processor"} | ({"split": split} if split else {})
    return asset.map_asset_specs(lambda spec: spec.merge_attributes(tags=tags))
