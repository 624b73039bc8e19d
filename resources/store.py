"""The store resource: where tables, embeddings, local features, models and pages lie, and their versions."""

import hashlib
import json
from collections.abc import Container, Iterable, Mapping
from pathlib import Path

import dagster as dg
import polars as pl
from pydantic import Field

from landmark_dag.errors import InputError
from landmark_dag.files import replacing
from landmark_dag.retrieval.embeddings import Embeddings, concatenate, read_embeddings
from landmark_dag.stored_version import not_readable, stored_version
from landmark_dag.tables import Table, read_table

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

    A partitioned asset is a folder of files, one a shard: Parquet tables, or Arrow for vectors and features.
    What is neither (a model's folder, a page, a submission) has a JSON record that names it and its version;
    the record is written last, so it never names what is not there.
    """

    root: str = Field(description="folder that holds every table, embedding, model and page")

    def path(self, asset: str, shard: str = WHOLE) -> Path:
        """Return the file of `shard` of the asset whose key, joined by /, is `asset`."""
        name = f"{asset}/{shard}" if shard else asset
        return Path(self.root) / f"{name}{_SUFFIXES.get(asset.split('/')[-1], '.parquet')}"

    def read(self, asset: str, table: Table, shard: str = WHOLE) -> pl.DataFrame:
        """Return a stored table; raises InputError when it is not materialized."""
        path = self.path(asset, shard)
        if not path.exists():
            raise InputError(_not_materialized(asset, shard))
        return read_table(path, table)

    def read_shards(self, asset: str, table: Table, shards: Iterable[str]) -> pl.DataFrame:
        """Return the stored tables of all `shards`, one below the other; raises InputError for a missing one."""
        return pl.concat([table.empty(), *(self.read(asset, table, shard) for shard in shards)])

    def write_record(self, path: Path, version: str, content: Mapping[str, str]) -> None:
        """Write the JSON record of an output that is no table: its version and what else names it."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({"version": version, **content}, indent=2) + "\n", encoding="utf-8")

    def read_record(self, asset: str) -> dict[str, str]:
        """Return the JSON record of `asset`; raises InputError when it is not materialized."""
        path = self.path(asset)
        if not path.exists():
            raise InputError(_not_materialized(asset, WHOLE))
        return json.loads(path.read_text(encoding="utf-8"))

    def read_embeddings(self, asset: str, shards: Iterable[str], only: Container[str] | None = None) -> Embeddings:
        """Return the embeddings of `shards`, or `only` those photos of theirs, joined and sorted by image id.

        Raises InputError, naming the shards, for a missing one and for two that one model did not make.
        """
        for shard in (shards := list(shards)):
            self.input_version(asset, shard)
        read = {shard: read_embeddings(self.path(asset, shard)) for shard in shards}
        kinds = {shard: (one.model, one.vectors.shape[1]) for shard, one in read.items()}
        for shard in shards[1:]:
            if kinds[shard] != kinds[shards[0]]:
                (model, dimensions), (other, others) = kinds[shards[0]], kinds[shard]
                raise InputError(
                    f"{asset} of shard {shards[0]} was made by model {model} ({dimensions} dimensions), of shard "
                    f"{shard} by {other} ({others}); materialize {asset} of all shards with one model."
                )
        return concatenate(list(read.values()), only)

    def check_distinct(self, asset: str, shards: Iterable[str]) -> None:
        """Raise InputError, naming the photo, when one stands in the embeddings of two of `shards`."""
        seen: set[str] = set()
        for shard in shards:
            ids = read_embeddings(self.path(asset, shard)).image_ids
            twice = next((image_id for image_id in ids if image_id in seen), None)
            if twice is not None:
                raise InputError(f"Photo {twice} stands in two shards of {asset}; keep one of the two.")
            seen.update(ids)

    def model_folder(self) -> Path:
        """Return the folder of the trained model; raises InputError when it is not materialized."""
        return Path(self.root) / self.read_record("trained_model")["folder"]

    def version(self, path: Path) -> str | None:
        """Return the data version that the file at `path` carries; see stored_version."""
        return stored_version(path)

    def input_version(self, asset: str, shard: str = WHOLE) -> str:
        """Return the version of an input; raises InputError, naming asset and shard, when it is not there."""
        version = self.version(path := self.path(asset, shard))
        if version is None:
            raise not_readable(path) if path.exists() else InputError(_not_materialized(asset, shard))
        return version


def digest(content: object) -> str:
    """Return the 32-digit version of `content`: whatever JSON can write, and text of the rest."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _not_materialized(asset: str, shard: str) -> str:
    return f"{asset}{f' of shard {shard}' if shard else ''} is not materialized yet; materialize it first."
