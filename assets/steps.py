"""The engine of incremental steps: an asset declares its inputs, and only shards whose version changed are computed."""

import dataclasses
import functools
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import dagster as dg
import polars as pl

from assets.metadata import Metadata, last_metadata, rows_metadata
from landmark_dag.errors import InputError
from landmark_dag.orchestration.code_version import check_same_code_version
from landmark_dag.orchestration.jobs import last_shard_tag
from landmark_dag.orchestration.partitions import SHARDS
from landmark_dag.orchestration.retries import retry_wait
from landmark_dag.settings.definition import hashed_fields
from landmark_dag.storage.atomic import lock_beside
from landmark_dag.storage.hashing import digest
from resources.store import WHOLE, Store, output_name

# Dagster warns at every use that backfill policies are beta. They run many shards in one process.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)

OWNERS = ["team:landmarks"]

GPU: Mapping[str, Any] = {
    "pool": "gpu",
    "op_tags": {
        "dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}},
        "dagster-ray/config": {"num_gpus": 1},
    },
}
"""Arguments of an asset that computes on the accelerator: one slot of the pool, one GPU of a cluster."""

Compute = Callable[[str, Path, str], Metadata]
"""Computes one shard: takes its key, the path to write and the version to write there; returns what to report."""

StoredVersions = Callable[[str, tuple[str, ...]], dict[str, str]]
"""Returns the stored versions of an asset's shards, by shard."""

Settings = TypeVar("Settings")

_PREVIEWED_ROWS = 5


@dataclass(frozen=True)
class Upstream:
    """One stored input of an asset: the whole asset, the same shard of it, or every shard."""

    asset: str
    shards: Literal["whole", "same", "every"] = "whole"
    split: str = ""

    @property
    def dep(self) -> dg.AssetDep:
        """The input as Dagster's dependency."""
        mapping = {"whole": None, "same": dg.IdentityPartitionMapping(), "every": dg.AllPartitionMapping()}
        return dg.AssetDep(dg.AssetKey(self.asset.split("/")), partition_mapping=mapping[self.shards])

    def versions(
        self, context: dg.AssetExecutionContext, stored_versions: StoredVersions, shard: str
    ) -> dict[str, str]:
        """Return the versions of the input that the output `shard` depends on, by asset and shard."""
        if self.shards == "every":
            wanted = every_shard(context, self.split)
        else:
            wanted = [shard if self.shards == "same" else WHOLE]
        return {f"{self.asset}/{name}": version for name, version in stored_versions(self.asset, tuple(wanted)).items()}


def same(asset: str) -> Upstream:
    """Return the input that is the same shard of `asset`."""
    return Upstream(asset, "same")


def every(asset: str, split: str) -> Upstream:
    """Return the input that is every shard of `asset`, which has the partitions of `split`."""
    return Upstream(asset, "every", split)


def deps(inputs: Sequence[Upstream]) -> list[dg.AssetDep]:
    """Return the inputs as Dagster's dependencies."""
    return [upstream.dep for upstream in inputs]


def every_shard(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, split: str) -> list[str]:
    """Return the registered shards of `split`; if the run's tags name a last one, none after it."""
    shards = list(SHARDS[split].get_partition_keys(dynamic_partitions_store=context.instance))
    last = context.run.tags.get(last_shard_tag(split))
    return shards[: shards.index(last) + 1] if last in shards else shards


def materialize_stored(
    context: dg.AssetExecutionContext,
    store: Store,
    compute: Compute,
    *,
    inputs: Sequence[Upstream] = (),
    settings: Sequence[Any] = (),
    source: Callable[[str], str] = lambda shard: "",
    rows: str = "",
) -> dg.MaterializeResult:
    """Bring the stored output of every shard of this run up to date, and report what was done.

    The version of an output is the digest of the asset, its code version, the versions of its `inputs`, its
    `settings` (dataclasses, without what changes only speed) and the version of its `source` outside the store.
    If the store holds that version, nothing is computed. Otherwise `compute(shard, path, version)` writes `path`,
    with the version in it, and returns metadata. A run over several shards has one data version, the digest of
    theirs. With `rows`, such as "photos embedded", the run is tagged with the number of rows it computed.

    When memory runs out or storage does not answer, the step asks for a retry; what it has stored stays. Raises
    InputError if another run replaces an input while it is read; the output made of it is removed.
    """
    check_same_code_version()
    step = _Step(context, store, compute, inputs, settings, source)
    try:
        return step.materialize(rows)
    except Exception as error:
        wait = retry_wait(error, context.retry_number)
        if wait is None:
            raise
        context.log.warning(f"Retrying in {wait} s, after: {error}")
        raise dg.RetryRequested(max_retries=context.retry_number + 1, seconds_to_wait=wait) from error


@dataclass(frozen=True)
class _Step:
    """One execution of an asset's step; see `materialize_stored`."""

    context: dg.AssetExecutionContext
    store: Store
    compute: Compute
    inputs: Sequence[Upstream]
    settings: Sequence[Any]
    source: Callable[[str], str]

    @property
    def asset(self) -> str:
        return "/".join(self.context.asset_key.path)

    def materialize(self, rows: str) -> dg.MaterializeResult:
        """Update every shard of this run; report, log and tag what was done."""
        context = self.context
        shards = list(context.partition_keys) if context.assets_def.partitions_def else [WHOLE]
        stored_versions = functools.cache(self.store.input_versions)
        unit = rows.split(" ")[0] or "rows"
        updated = {shard: self._update(shard, stored_versions, unit) for shard in shards}
        computed = [metadata for metadata in updated.values() if not metadata["unchanged"]]
        done = f"computed {len(computed)} of {len(shards)}"
        context.log.info(f"{self.asset}: {done}; the rest is stored already.")
        if rows:
            count = sum(metadata["dagster/row_count"] for metadata in computed)
            context.instance.add_run_tags(context.run.run_id, {f"landmark/{self.asset}": f"{count} {rows}, {done}"})
        versions = {shard: metadata["version"] for shard, metadata in updated.items()}
        total = versions[shards[0]] if len(shards) == 1 else digest(versions)
        return dg.MaterializeResult(data_version=dg.DataVersion(total))

    def _update(self, shard: str, stored_versions: StoredVersions, unit: str) -> Metadata:
        """Compute `shard` unless its version is stored; report and return its metadata."""
        path = self.store.path(self.asset, shard)
        with lock_beside(path):  # of two runs on one shard the second waits, and finds it stored
            origin = self.source(shard)
            version = self._version(shard, origin, stored_versions)
            unchanged = self.store.version(path) == version
            if unchanged:  # the UI shows the last report: repeat what the shard's computation reported
                metadata = {**last_metadata(self.context.instance, self.context.asset_key, shard), "seconds": 0.0}
            else:
                metadata = self._computed(shard, path, version, unit)
                if self._version(shard, origin, self.store.input_versions) != version:
                    path.unlink(missing_ok=True)  # it may mix the old input with the new one
                    raise InputError(
                        f"Another run recomputed an input of {output_name(self.asset, shard)} while this run read it; "
                        "materialize it again."
                    )
                self.store.sync([path])
        metadata |= {"version": version, "unchanged": unchanged, "dagster/uri": str(path)}
        self.context.add_asset_metadata(metadata, asset_key=self.context.asset_key, partition_key=shard or None)
        return metadata

    def _version(self, shard: str, origin: str, stored_versions: StoredVersions) -> str:
        """Return the version that the output of `shard` has if it is made of the inputs' `stored_versions`."""
        return digest(
            {
                "asset": self.asset,
                "code": self.context.assets_def.code_versions_by_key[self.context.asset_key],
                "settings": [{type(item).__name__: hashed_fields(item)} for item in self.settings],
                "inputs": [upstream.versions(self.context, stored_versions, shard) for upstream in self.inputs],
                "source": origin,
            }
        )

    def _computed(self, shard: str, path: Path, version: str, unit: str) -> Metadata:
        """Compute `shard`; return its metadata with seconds, `unit` per second, stored bytes and first rows."""
        started = time.perf_counter()
        metadata = self.compute(shard, path, version)
        seconds = time.perf_counter() - started
        metadata |= {"seconds": round(seconds, 3), "stored bytes": path.stat().st_size}
        if "dagster/row_count" in metadata:
            metadata[f"{unit} per second"] = round(metadata["dagster/row_count"] / seconds, 3)
        if path.suffix == ".parquet":
            metadata["preview"] = rows_metadata(pl.scan_parquet(path).head(_PREVIEWED_ROWS).collect())
        return metadata


def on_retry(context: dg.AssetExecutionContext, settings: Settings) -> Settings:
    """Return `settings` (a dataclass with `batch_size`) with the batch halved once for every retry of this step."""
    batch_size = max(1, settings.batch_size >> context.retry_number)  # type: ignore[attr-defined]
    return dataclasses.replace(settings, batch_size=batch_size)  # type: ignore[type-var]
