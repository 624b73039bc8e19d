"""The data version that a stored file carries: none where the file is damaged or another release's, so that it is
made again.
"""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from landmark_dag.errors import InputError
from landmark_dag.tables import FORMAT_VERSION

_FORMAT_KEY, _VERSION_KEY = "landmark_dag.format", "landmark_dag.version"

BRING_UP_TO_DATE = "run `landmark-dag run` on the home again, which makes it anew"
"""What to do about a stored file that this release does not read."""


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
        if content.get("format") != FORMAT_VERSION:
            return None
        named = [path.parent / value for name, value in content.items() if name not in ("format", "version")]
        return content.get("version") if all(file.exists() for file in named) else None
    return content.get(_VERSION_KEY) if content.get(_FORMAT_KEY) == _format(path) else None


def not_readable(path: Path) -> InputError:
    """Return the error that says that the file at `path` is there but carries no version."""
    return InputError(f"{path} is damaged, or was written by another release; {BRING_UP_TO_DATE}.")


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
        return str(FORMAT_VERSION)
    if path.parent.name == "local_features":
        from landmark_dag.cleaning.local_features import FORMAT
    else:
        from landmark_dag.retrieval.embeddings import FORMAT
    return FORMAT.decode()
