"""What every step does: declare inputs once, skip what is stored, compute the rest, report what was done."""

import base64
import dataclasses
import functools
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import dagster as dg
import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.orchestration.code_version import check_same_code_version
from landmark_dag.orchestration.jobs import last_shard_tag
from landmark_dag.orchestration.partitions import SHARDS
from landmark_dag.orchestration.retries import retry_wait
from landmark_dag.settings.definition import hashed_fields
from landmark_dag.storage.files import alone
from landmark_dag.storage.tables import Table
from resources.store import WHOLE, Store, digest

# Dagster warns at every use that backfill policies are beta; they are what runs many shards in one process.
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

Metadata = dict[str, Any]
Compute = Callable[[str, Path, str], Metadata]
VersionsOf = Callable[[str, tuple[str, ...]], dict[str, str]]
Settings = TypeVar("Settings")

_PREVIEWED_ROWS, _LONGEST_CELL = 5, 80


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

    def versions(self, context: dg.AssetExecutionContext, versions_of: VersionsOf, shard: str) -> dict[str, str]:
        """Return the stored versions, which `versions_of` tells, that the output of `shard` depends on."""
        if self.shards == "every":
            wanted = every_shard(context, self.split)
        else:
            wanted = [shard if self.shards == "same" else WHOLE]
        return {f"{self.asset}/{name}": version for name, version in versions_of(self.asset, tuple(wanted)).items()}


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
    """Return the registered shards of `split`, up to the last that the run's tags name, if they do."""
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
    """Bring the stored output of every shard of this run up to date and report what was done.

    An output's version is the digest of the asset, its code version, the versions of its `inputs`, its
    `settings` (dataclasses, without what changes only speed) and the version of its `source` outside the store.
    Where the store already holds that version nothing is computed; elsewhere `compute(shard, path, version)`
    must write `path`, carrying the version, and return metadata. A run over several shards has one data version,
    the digest over theirs. With `rows`, such as "photos embedded", the run is tagged with how many it computed.

    When memory runs out or storage does not answer, the step is asked to be retried; what it stored stays. Raises
    InputError where another run replaced an input while it was read; what was made of it is dropped.
    """
    check_same_code_version()
    try:
        return _materialized(context, store, compute, inputs, settings, source, rows)
    except Exception as error:
        wait = retry_wait(error, context.retry_number)
        if wait is None:
            raise
        context.log.warning(f"Another try in {wait} s, after: {error}")
        raise dg.RetryRequested(max_retries=context.retry_number + 1, seconds_to_wait=wait) from error


def _materialized(
    context: dg.AssetExecutionContext,
    store: Store,
    compute: Compute,
    inputs: Sequence[Upstream],
    settings: Sequence[Any],
    source: Callable[[str], str],
    rows: str,
) -> dg.MaterializeResult:
    asset = "/".join(context.asset_key.path)
    shards = list(context.partition_keys) if context.assets_def.partitions_def else [WHOLE]
    versions: dict[str, str] = {}
    computed: list[Metadata] = []

    def version_of(shard: str, origin: str, versions_of: VersionsOf) -> str:
        return digest(
            {
                "asset": asset,
                "code": context.assets_def.code_versions_by_key[context.asset_key],
                "settings": [{type(item).__name__: hashed_fields(item)} for item in settings],
                "inputs": [upstream.versions(context, versions_of, shard) for upstream in inputs],
                "source": origin,
            }
        )

    versions_before = functools.cache(store.input_versions)
    for shard in shards:
        path = store.path(asset, shard)
        with alone(path):  # of two runs on one shard the second waits, and finds it stored
            origin = source(shard)
            versions[shard] = version = version_of(shard, origin, versions_before)
            unchanged = store.version(path) == version
            if unchanged:  # what was reported then is reported again, so that skipping hides nothing in the UI
                metadata = {**last_metadata(context.instance, context.asset_key, shard), "seconds": 0.0}
            else:
                metadata = _measured(compute, shard, path, version, rows.split(" ")[0] or "rows")
                if version_of(shard, origin, store.input_versions) != version:
                    path.unlink(missing_ok=True)  # it may be made of both
                    raise InputError(
                        f"What {asset}{f' of shard {shard}' if shard else ''} is made of was made anew by another run "
                        "meanwhile; materialize it again."
                    )
                store.sync([path])
                computed.append(metadata)
        metadata |= {"version": version, "unchanged": unchanged, "dagster/uri": str(path)}
        context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=shard or None)
    done = f"computed {len(computed)} of {len(shards)}"
    context.log.info(f"{asset}: {done}, the rest was stored already.")
    if rows:
        count = sum(metadata["dagster/row_count"] for metadata in computed)
        context.instance.add_run_tags(context.run.run_id, {f"landmark/{asset}": f"{count} {rows}, {done}"})
    total = next(iter(versions.values())) if len(versions) == 1 else digest(versions)
    return dg.MaterializeResult(data_version=dg.DataVersion(total))


def _measured(compute: Compute, shard: str, path: Path, version: str, unit: str) -> Metadata:
    """Compute a shard; return what it reports with its seconds, rows (called `unit`) a second, bytes, first rows."""
    started = time.perf_counter()
    metadata = compute(shard, path, version)
    seconds = time.perf_counter() - started
    metadata |= {"seconds": round(seconds, 3), "stored bytes": path.stat().st_size}
    if "dagster/row_count" in metadata:
        metadata[f"{unit} per second"] = round(metadata["dagster/row_count"] / seconds, 3)
    if path.suffix == ".parquet":
        metadata["preview"] = markdown_table(pl.scan_parquet(path).head(_PREVIEWED_ROWS).collect())
    return metadata


def on_retry(context: dg.AssetExecutionContext, settings: Settings) -> Settings:
    """Return `settings` (a dataclass with `batch_size`) with half the batch for every retry of this step."""
    batch_size = max(1, settings.batch_size >> context.retry_number)  # type: ignore[attr-defined]
    return dataclasses.replace(settings, batch_size=batch_size)  # type: ignore[type-var]


def markdown_table(frame: pl.DataFrame) -> dg.MetadataValue:
    """Return a table's rows as Markdown for the UI."""
    lines = ["| " + " | ".join(frame.columns) + " |", "|" + " --- |" * frame.width]
    for row in frame.iter_rows():
        cells = [
            f"{value:.2f}" if isinstance(value, float) else plain_text(str(value)[:_LONGEST_CELL]) for value in row
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return dg.MetadataValue.md("\n".join(lines))


def plain_text(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, in one line: names come from outside."""
    return " ".join(re.sub(r"([\\`<>|]|(?<=\])\()", r"\\\1", text).split())


def last_metadata(instance: dg.DagsterInstance, asset: dg.AssetKey, shard: str) -> Metadata:
    """Return what the last materialization of this shard reported; nothing when there was none."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset, asset_partitions=[shard] if shard else None), limit=1
    ).records
    last = records[0].asset_materialization if records else None
    return dict(last.metadata) if last else {}


def picture_metadata(png: bytes) -> dg.MetadataValue:
    """Return a picture as metadata that the UI shows in place."""
    return dg.MetadataValue.md(f"![picture](data:image/png;base64,{base64.b64encode(png).decode()})")


def table_metadata(table: Table) -> Metadata:
    """Return the definition metadata of an asset that stores `table`: its columns, for Dagster's catalogue."""
    columns = [
        dg.TableColumn(
            column.name,
            str(column.dtype),
            description=column.description,
            constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=table.key == (column.name,)),
        )
        for column in table.columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns=columns)}
