"""Reading and writing users' tables: CSV or Parquet by extension; messages name the file, the row and the value."""

from pathlib import Path

import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.storage.atomic import replacing
from landmark_dag.storage.polars_errors import POLARS_FAULTS, problem_of
from landmark_dag.storage.schemas import Column, Table

LONGEST_LINE = 64 * 2**20
"""Bytes from which a line of a CSV file is not accepted as a row."""


def read_table_file(path: Path, *tables: Table) -> tuple[Table, pl.DataFrame]:
    """Return which of `tables` is in the file at `path` (.csv or .parquet), and its rows in their order.

    Columns may be in any order. CSV cells are read as text first, so that an id such as 0000000000001e10 or None
    stays unchanged; an empty cell is a null. Raises InputError, naming the file, the row (from 1, below the header)
    and the value, for another extension, an unreadable or empty file, a missing or unknown column, a null in a
    column without nulls, a cell that is not a number, and a number that is not finite.
    """
    frame = _read(path)
    table = next((table for table in tables if set(table.schema) == set(frame.columns)), None)
    if table is None:
        expected = " or ".join(",".join(table.schema) for table in tables)
        raise InputError(f"{path} has the columns {','.join(frame.columns)}; they must be {expected}.")
    return table, frame.select(_converted(path, frame[column.name], column) for column in table.columns)


def write_table_file(path: Path, frame: pl.DataFrame) -> None:
    """Write `frame` to `path` as CSV or Parquet by its extension, whole or not at all."""
    with replacing(path) as temporary:
        if _extension(path) == ".csv":
            frame.write_csv(temporary)
        else:
            frame.write_parquet(temporary)


def check_writable(path: Path) -> None:
    """Raise InputError unless `path` is a .csv or .parquet file in a folder that exists."""
    _extension(path)
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} of {path.name} does not exist; make it first.")


def refuse_where(path: Path, wrong: pl.Series, values: pl.Series, problem: str) -> None:
    """Raise InputError, naming the first row in which `wrong` (boolean) is true, and its value."""
    if wrong.any():
        row = int(wrong.arg_true()[0])
        value = "" if values[row] is None else f" {values[row]!r}"
        raise InputError(f"{path}, row {row + 1}: {values.name}{value} {problem}.")


def refuse_bad_ranks(path: Path, frame: pl.DataFrame) -> None:
    """Raise InputError unless each query's ranks are 1, 2, 3 ... in some row order."""
    expected = frame.select(pl.col("rank").rank("ordinal").over("query_id")).to_series()
    refuse_where(path, frame["rank"] != expected, frame["rank"], "breaks the query's ranks 1, 2, 3 ...")


def words(cells: pl.Series) -> pl.Series:
    """Return the words of every text, between white space, as lists; a null has none."""
    cells = cells.fill_null("")
    odd = cells.str.contains(r"[\t-\r]|  ") | cells.str.starts_with(" ") | cells.str.ends_with(" ")
    if (odd | (cells.str.len_bytes() != cells.str.len_chars())).any():
        return cells.str.extract_all(r"\S+")
    # Splitting at single ASCII spaces is eight times as fast; an empty text would become one empty word.
    return cells.replace("", None).str.split(" ").fill_null([])


def _read(path: Path) -> pl.DataFrame:
    """Return the table in `path`, every column of a CSV file as text."""
    extension = _extension(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; give the path of a .csv or .parquet file.")
    try:
        if extension == ".parquet":
            return pl.read_parquet(path)
        _refuse_long_lines(path)
        return pl.read_csv(path, infer_schema=False)
    except pl.exceptions.NoDataError as error:
        raise InputError(f"{path} is empty; its first line must be a header.") from error
    except POLARS_FAULTS as error:
        raise InputError(f"{path} cannot be read as {extension[1:].upper()}: {problem_of(error)}") from error


def _extension(path: Path) -> str:
    """Return .csv or .parquet; raises InputError for another extension."""
    extension = path.suffix.lower()
    if extension not in (".csv", ".parquet"):
        raise InputError(f"{path} has the extension {extension or '(none)'}; it must be .csv or .parquet.")
    return extension


def _refuse_long_lines(path: Path) -> None:
    """Raise InputError for a line that is too long for a row; a reader would hold all of it in memory."""
    line = 1
    length = 0
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            ends = chunk.count(b"\n")
            length = length + len(chunk) if not ends else len(chunk) - chunk.rfind(b"\n") - 1
            line += ends
            if length > LONGEST_LINE:
                raise InputError(
                    f"{path}, line {line}: longer than {LONGEST_LINE >> 20} MiB; this is not a table of text."
                )


def _converted(path: Path, values: pl.Series, column: Column) -> pl.Series:
    """Return `values` cast to the column's dtype; raises InputError, naming the first row that does not fit."""
    if values.dtype == pl.String:
        values = values.set(values == "", None)
    if not column.nullable:
        refuse_where(path, values.is_null(), values, "is empty; fill it in")
    try:
        converted = values.cast(column.dtype, strict=False)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: {column.name} holds {values.dtype}, not {column.dtype}.") from error
    wrong = converted.is_null() & values.is_not_null()
    if column.dtype.is_float():
        wrong |= ~converted.is_finite().fill_null(True)
    if column.dtype.is_integer() and values.dtype.is_float():
        wrong |= converted.cast(values.dtype) != values
    kind = "a whole number" if column.dtype.is_integer() else "a number" if column.dtype.is_float() else "text"
    refuse_where(path, wrong, values, f"is not {kind}")
    return converted
