"""The data version in a stored file; a file that is damaged or from another release has none, so it is recomputed."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from landmark_dag.errors import InputError
from landmark_dag.storage.formats import (
    EMBEDDINGS_FORMAT,
    FORMAT_KEY,
    LOCAL_FEATURES_FORMAT,
    RECOMPUTE,
    TABLE_FORMAT,
    VERSION_KEY,
)
from landmark_dag.storage.polars_errors import POLARS_FAULTS


def stored_version(path: Path) -> str | None:
    """Return the data version of the file at `path`.

    None if there is no file, if it cannot be read, if it is a record that names a missing file, or if its format is
    not the one that this release writes. Its step then computes it again.
    """
    if not path.exists():
        return None
    try:
        content = _read(path)
    except (ValueError, pa.ArrowException, *POLARS_FAULTS):
        return None
    if path.suffix == ".json":
        if content.get("format") != int(TABLE_FORMAT):
            return None
        named = [path.parent / value for name, value in content.items() if name not in ("format", "version")]
        return content.get("version") if all(file.exists() for file in named) else None
    return content.get(VERSION_KEY) if content.get(FORMAT_KEY) == _format(path) else None


def damaged(path: Path) -> InputError:
    """Return the error for a file that exists but has no version."""
    return InputError(f"{path} is damaged, or was written by another release; {RECOMPUTE}.")


def _read(path: Path) -> dict[str, Any]:
    """Return the metadata of a file, or the whole of a JSON record; raises what its reader raises."""
    if path.suffix == ".json":
        return dict(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".arrow":
        with pa.memory_map(str(path)) as source:
            metadata = pa.ipc.open_file(source).schema.metadata or {}
        return {key.decode(): value.decode() for key, value in metadata.items()}
    return pl.read_parquet_metadata(path)


def _format(path: Path) -> str:
    """Return the format in which this release writes the file at `path`."""
    if path.suffix == ".parquet":
        return TABLE_FORMAT
    return LOCAL_FEATURES_FORMAT if path.parent.name == "local_features" else EMBEDDINGS_FORMAT
