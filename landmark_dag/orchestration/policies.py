"""Policies of the assets: conditions of declarative automation, and how fresh the rankings must be."""

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

from landmark_dag.orchestration.jobs import SPLIT_ASSETS
from landmark_dag.settings.reindex import ReindexSettings

_KEPT_CURRENT = SPLIT_ASSETS["index"] | SPLIT_ASSETS["query"]
"""What declarative automation keeps up to date. The model is left out: people decide when to train it."""

declarative_reindex = dg.AutomationConditionSensorDefinition(
    "declarative_reindex",
    target=_KEPT_CURRENT,
    description=(
        "The alternative to nightly_reindex: materializes a shard as soon as its inputs change, each asset in a run of "
        "its own. Photos are checked when their shard is new and at the time of nightly_reindex."
    ),
    default_status=dg.DefaultSensorStatus.STOPPED,
)

_RANKINGS = {dg.AssetKey("sorted_ranking"), dg.AssetKey("inserted_ranking")}
_STALE_AFTER, _FAILED_AFTER = timedelta(hours=26), timedelta(hours=50)
"""Time since the last materialization after which a ranking is stale (one night missed) and failed (two)."""


def with_policies(assets: Sequence[dg.AssetsDefinition], settings: ReindexSettings) -> list[dg.AssetsDefinition]:
    """Return `assets` with the conditions of declarative automation, and the rankings with a freshness policy."""
    photos = dg.AutomationCondition.on_missing() | dg.AutomationCondition.on_cron(settings.cron, settings.timezone)
    conditions = {dg.AssetKey([split, "photos"]): photos for split in ("index", "query")}
    kept_current = _KEPT_CURRENT.resolve(assets, allow_missing=True)
    freshness = dg.FreshnessPolicy.time_window(fail_window=_FAILED_AFTER, warn_window=_STALE_AFTER)

    def policies(spec: dg.AssetSpec) -> dg.AssetSpec:
        if spec.key in kept_current:
            condition = conditions.get(spec.key, dg.AutomationCondition.eager())
            spec = spec.replace_attributes(automation_condition=condition)
        return spec.replace_attributes(freshness_policy=freshness) if spec.key in _RANKINGS else spec

    return [definition.map_asset_specs(policies) for definition in assets]
