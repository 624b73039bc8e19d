"""The store resource: the files of tables, embeddings, local features, models and pages, and their versions."""

import json
from collections.abc import Container, Iterable, Mapping
from pathlib import Path

import dagster as dg
import polars as pl
from pydantic import Field

from landmark_dag.errors import InputError
from landmark_dag.settings.home import shared_location, store_folder
from landmark_dag.storage.atomic import replacing
from landmark_dag.storage.embeddings import Embeddings, concatenate, read_embeddings
from landmark_dag.storage.formats import TABLE_FORMAT
from landmark_dag.storage.parquet_tables import read_table, write_table
from landmark_dag.storage.schemas import Table
from landmark_dag.storage.shared_location import SharedLocation
from landmark_dag.storage.versions import damaged, stored_version

WHOLE = ""
"""The one shard of an asset that is not partitioned."""

_SUFFIXES = {
    "embeddings": ".arrow",
    "bootstrap_embeddings": ".arrow",
    "local_features": ".arrow",
    "trained_model": ".json",
    "submission": ".json",
    "gallery": ".json",
}


class Store(dg.ConfigurableResource):
    """Files of the pipeline under one root, each carrying its data version.

    A partitioned asset is a folder with one file for each shard: a Parquet table, or an Arrow file of vectors or
    features. An output of another kind (a model's folder, a page, a submission) has a JSON record with its version
    and the names of its files. The record is written last, so it never names files that are missing.

    With a shared location the files under the root are this machine's copies of the shared files. Every method that
    reads files first copies those that differ, and `sync` shares those that were written.
    """

    root: str = Field(description="folder of every table, embedding, model and page, or of their copies")
    shared: str = Field(default="", description="URL where several machines share the files; empty: not shared")

    def path(self, asset: str, shard: str = WHOLE) -> Path:
        """Return the file of `shard` of the asset whose key, joined by /, is `asset`."""
        name = f"{asset}/{shard}" if shard else asset
        return Path(self.root) / f"{name}{_SUFFIXES.get(asset.split('/')[-1], '.parquet')}"

    def read(self, asset: str, table: Table, shard: str = WHOLE) -> pl.DataFrame:
        """Return a stored table; raises InputError when it is not materialized."""
        return read_table(self._present(asset, [shard])[shard], table)

    def read_shards(self, asset: str, table: Table, shards: Iterable[str]) -> pl.DataFrame:
        """Return the stored tables of all `shards`, concatenated; raises InputError for a missing one."""
        paths = self._present(asset, shards).values()
        return pl.concat([table.empty(), *(read_table(path, table) for path in paths)])

    def write(self, asset: str, table: Table, frame: pl.DataFrame, version: str, shard: str = WHOLE) -> None:
        """Write a table that a step stores beside its output, and share it."""
        write_table(self.path(asset, shard), table, frame, version)
        self.sync([self.path(asset, shard)])

    def write_record(self, path: Path, version: str, content: Mapping[str, str]) -> None:
        """Write the JSON record of an output that is not a table: its version and `content`, which names its files."""
        with replacing(path) as temporary:
            temporary.write_text(
                json.dumps({"format": int(TABLE_FORMAT), "version": version, **content}, indent=2) + "\n",
                encoding="utf-8",
            )

    def read_record(self, asset: str) -> dict[str, str]:
        """Return the JSON record of `asset`; raises InputError when it is not materialized."""
        return json.loads(self._present(asset, [WHOLE])[WHOLE].read_text(encoding="utf-8"))

    def read_embeddings(self, asset: str, shards: Iterable[str], only: Container[str] | None = None) -> Embeddings:
        """Return the embeddings of `shards`, or of `only` those of their photos, sorted by image id.

        Raises InputError, naming the shards, for a missing one and for two of different models.
        """
        shards = list(self.input_versions(asset, shards))
        read = {shard: read_embeddings(self.path(asset, shard)) for shard in shards}
        kinds = {shard: (one.model, one.vectors.shape[1]) for shard, one in read.items()}
        for shard in shards[1:]:
            if kinds[shard] != kinds[shards[0]]:
                (model, dimensions), (other, others) = kinds[shards[0]], kinds[shard]
                raise InputError(
                    f"{output_name(asset, shards[0])} is by model {model} ({dimensions} dimensions), of shard "
                    f"{shard} by {other} ({others}); materialize {asset} of all shards with one model."
                )
        return concatenate(list(read.values()), only)

    def check_distinct(self, asset: str, shards: Iterable[str]) -> None:
        """Raise InputError, naming the photo, when two of `shards` hold embeddings of the same photo."""
        seen: set[str] = set()
        for shard in shards:
            ids = read_embeddings(self.path(asset, shard)).image_ids
            twice = next((image_id for image_id in ids if image_id in seen), None)
            if twice is not None:
                raise InputError(f"Photo {twice} is in two shards of {asset}; keep one of the two.")
            seen.update(ids)

    def model_folder(self) -> Path:
        """Return the folder of the trained model; raises InputError when it is not materialized."""
        return Path(self.root) / self.read_record("trained_model")["folder"]

    def stored(self, asset: str, shards: Iterable[str]) -> list[str]:
        """Return the `shards` that are stored."""
        paths = {shard: self.path(asset, shard) for shard in shards}
        self.sync(paths.values())
        return [shard for shard, path in paths.items() if path.exists()]

    def version(self, path: Path) -> str | None:
        """Return the data version of the file at `path`; see `stored_version`."""
        self.sync([path])
        return stored_version(path)

    def input_version(self, asset: str, shard: str = WHOLE) -> str:
        """Return the version of an input; raises InputError, naming asset and shard, when it is not stored."""
        return self.input_versions(asset, [shard])[shard]

    def input_versions(self, asset: str, shards: Iterable[str]) -> dict[str, str]:
        """Return the versions of several shards of an input, by shard; raises InputError for a missing one."""
        versions = {}
        for shard, path in self._present(asset, shards).items():
            if (version := stored_version(path)) is None:
                raise damaged(path)
            versions[shard] = version
        return versions

    def _present(self, asset: str, shards: Iterable[str]) -> dict[str, Path]:
        """Return the files of `shards`, by shard; raises InputError for a missing one."""
        paths = {shard: self.path(asset, shard) for shard in shards}
        self.sync(paths.values())
        for shard, path in paths.items():
            if not path.exists():
                raise InputError(f"{output_name(asset, shard)} is not materialized yet; materialize it first.")
        return paths

    def sync(self, paths: Iterable[Path]) -> None:
        """Make files under the root equal to the shared files; a record follows the files that it names.

        Does nothing without a shared location; else see `SharedLocation.sync`.
        """
        if not self.shared:
            return
        location = SharedLocation(self.shared, Path(self.root))
        paths = list(paths)
        records = [path for path in paths if path.suffix == ".json"]
        for record in records:  # this machine's record: the files that it names are shared before it
            _sync_named(location, record)
        location.sync(str(path.relative_to(self.root)) for path in paths)
        for record in records:
            _sync_named(location, record)


def output_name(asset: str, shard: str) -> str:
    """Return how messages name the output `shard` of `asset`."""
    return f"{asset} of shard {shard}" if shard else asset


def home_store(home: Path) -> Store:
    """Return the store of a home's results."""
    location = shared_location(home)
    return Store(root=str(store_folder(home)), shared=location.url if location else "")


def _sync_named(location: SharedLocation, record: Path) -> None:
    """Sync what a record names: all files of a folder, or files beside it."""
    if not record.exists():
        return
    for name, value in json.loads(record.read_text(encoding="utf-8")).items():
        if name == "folder":
            location.sync_folder(value)
        elif name not in ("format", "version"):
            location.sync([value])
