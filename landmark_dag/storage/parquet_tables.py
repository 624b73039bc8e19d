"""The Parquet files of stored tables, each with its data version and notes in its metadata."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.storage.atomic import replacing
from landmark_dag.storage.formats import FORMAT_KEY, NOTE_PREFIX, RECOMPUTE, TABLE_FORMAT, VERSION_KEY
from landmark_dag.storage.polars_errors import POLARS_FAULTS, problem_of
from landmark_dag.storage.schemas import Table, refuse_repeats


def write_table(
    path: Path, table: Table, frame: pl.DataFrame, version: str, notes: Mapping[str, str] | None = None
) -> None:
    """Write `frame` as Parquet to `path`, whole or not at all; `version` and `notes` go to the file's metadata.

    Raises InputError when the columns of the frame are not those of `table`, or two rows have the same key; `path`
    is then unchanged.
    """
    origin = f"The table {table.name} for {path}"
    frame = table.conform(frame, origin)
    if table.key:
        refuse_repeats(origin, frame, table.key)
    metadata = {FORMAT_KEY: TABLE_FORMAT, VERSION_KEY: version}
    metadata |= {NOTE_PREFIX + name: text for name, text in (notes or {}).items()}
    with replacing(path) as temporary:
        frame.write_parquet(temporary, metadata=metadata)


def read_table(path: Path, table: Table) -> pl.DataFrame:
    """Read a file of `write_table`; raises InputError, naming the file, when it is missing or another table."""
    try:
        metadata = pl.read_parquet_metadata(path)
        frame = pl.read_parquet(path)
    except POLARS_FAULTS as error:
        raise InputError(f"{path} cannot be read as the table {table.name}: {problem_of(error)}") from error
    if metadata.get(FORMAT_KEY) != TABLE_FORMAT:
        raise InputError(
            f"{path} has format {metadata.get(FORMAT_KEY)}, this release reads format {TABLE_FORMAT}; {RECOMPUTE}."
        )
    return table.conform(frame, str(path))


def read_notes(path: Path) -> dict[str, str]:
    """Return the notes of a file of `write_table`; an empty dictionary where there is no file."""
    if not path.exists():
        return {}
    metadata = pl.read_parquet_metadata(path)
    return {name.removeprefix(NOTE_PREFIX): text for name, text in metadata.items() if name.startswith(NOTE_PREFIX)}
