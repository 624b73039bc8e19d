"""A store and a Dagster instance, for tests that materialize single assets over what they write themselves."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from landmark_dag.orchestration.partitions import SHARDS
from landmark_dag.storage.embeddings import Embeddings, write_embeddings
from landmark_dag.storage.parquet_tables import write_table
from landmark_dag.storage.schemas import Table
from resources.accelerator import Accelerator
from resources.photo_source import PhotoSourceResource
from resources.store import Store

_QUIET = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}


class World:
    """An empty store, an instance without shards, and the resources that assets receive."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.root, self.instance = root, instance
        self.resources: dict[str, object] = {"accelerator": Accelerator(device="cpu")}
        self.share("")

    def share(self, location: str) -> None:
        """Share the store at a URL; with none it is a folder of this machine alone."""
        self.store = Store(root=str(self.root / "store"), shared=location)
        self.resources["store"] = self.store

    def take_photos_from(
        self, source: str | Path, photos_per_shard: int = 10, dataset: dict[str, Any] | None = None
    ) -> None:
        """Set the photo source: a folder of photos, or the URL of a dataset and its settings."""
        self.resources["photo_source"] = PhotoSourceResource(
            photos=str(source), photos_per_shard=photos_per_shard, dataset=dataset or {}, home=str(self.root)
        )

    def register(self, split: str, *shards: str) -> None:
        """Make `shards` partitions of the split."""
        self.instance.add_dynamic_partitions(SHARDS[split].name, list(shards))

    def write(
        self, asset: str, table: Table, rows: pl.DataFrame | Iterable[tuple], shard: str = "", version: str = "1"
    ) -> None:
        """Store a table as if `asset` had been materialized."""
        frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(list(rows), table.schema, orient="row")
        write_table(self.store.path(asset, shard), table, frame, version)

    def embed(self, split: str, embeddings: Embeddings, shard: str = "0000", version: str = "1") -> None:
        """Store embeddings as if those of the split had been materialized."""
        write_embeddings(self.store.path(f"{split}/embeddings", shard), embeddings, version)

    def materialize(
        self, *definitions: Any, shard: str | None = None, configs: dict[str, dict] | None = None, **options: Any
    ) -> dg.ExecuteInProcessResult:
        """Materialize assets and checks; `configs` are their configs by the name of the op."""
        return dg.materialize(
            list(definitions),
            instance=self.instance,
            resources=self.resources,
            partition_key=shard,
            run_config={"ops": {name: {"config": config} for name, config in (configs or {}).items()}, **_QUIET},
            **options,
        )

    def reported(self, asset: dg.AssetsDefinition, **options: Any) -> dict[str, Any]:
        """Materialize one asset; return its metadata."""
        return reported(self.materialize(asset, **options), asset)


def reported(result: dg.ExecuteInProcessResult, asset: dg.AssetsDefinition) -> dict[str, Any]:
    """Return the metadata of an asset that a run materialized once."""
    (event,) = result.asset_materializations_for_node(asset.op.name)
    return {name: value.value for name, value in event.metadata.items()}
