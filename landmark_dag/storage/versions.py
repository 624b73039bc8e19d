"""The data version that a stored file carries: none where the file is damaged or another release's, so that it is
made again.
"""

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


def stored_version(path: Path) -> str | None:
    """Return the version that the file at `path` carries.

    None where there is no file, where it cannot be read, where it is a record of files that are gone, and where it
    is of another format than this release writes; its step then computes it again.
    """
    if not path.exists():
        return None
    try:
        content = _read(path)
    except (OSError, ValueError, pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    if path.suffix == ".json":
        if content.get("format") != int(TABLE_FORMAT):
            return None
        named = [path.parent / value for name, value in content.items() if name not in ("format", "version")]
        return content.get("version") if all(file.exists() for file in named) else None
    return content.get(VERSION_KEY) if content.get(FORMAT_KEY) == _format(path) else None


def not_readable(path: Path) -> InputError:
    """Return the error that says that the file at `path` is there but carries no version."""
    return InputError(f"{path} is damaged, or was written by another release; {RECOMPUTE}.")


def _read(path: Path) -> dict[str, Any]:
    """Return what a file says of itself; raises what its reader raises."""
    if path.suffix == ".json":
        return dict(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".arrow":
        with pa.memory_map(str(path)) as source:
            metadata = pa.ipc.open_file(source).schema.metadata or {}
        return {key.decode(): value.decode() for key, value in metadata.items()}
    return pl.read_parquet_metadata(path)


def _format(path: Path) -> str:
    """Return the format that this release writes at `path`."""
    if path.suffix == ".parquet":
        return TABLE_FORMAT
    return LOCAL_FEATURES_FORMAT if path.parent.name == "local_features" else EMBEDDINGS_FORMAT
