"""Users' tables: text stays text, and every error names the file and the row."""

from pathlib import Path

import polars as pl
import pytest

from landmark_dag.errors import InputError
from landmark_dag.storage import user_tables
from landmark_dag.storage.schemas import Column, Table, refuse_repeats
from landmark_dag.storage.user_tables import read_table_file, write_table_file

TABLE = Table(
    "things",
    (
        Column("id", pl.String(), "thing"),
        Column("number", pl.Int32(), "number"),
        Column("value", pl.Float32(), "value", nullable=True),
    ),
    ("id",),
)


def read(path: Path, text: str | bytes) -> list[tuple]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_table_file(path, TABLE)[1].rows()


def test_ids_that_look_like_numbers_nulls_or_none_stay_text(tmp_path: Path) -> None:
    text = 'id,number,value\n0000000000001e10,1,\nNone,-2,0.5\nnull,3,1e3\n"a, ""b""",4,""\n'
    assert read(tmp_path / "t.csv", text) == [
        ("0000000000001e10", 1, None),
        ("None", -2, 0.5),
        ("null", 3, 1000.0),
        ('a, "b"', 4, None),
    ]


@pytest.mark.parametrize("text", ["value,id,number\r\n0.5,a,1\r\n", "\ufeffid,number,value\na,1,0.5\n"])
def test_column_order_line_ends_and_byte_order_mark_do_not_matter(tmp_path: Path, text: str) -> None:
    assert read(tmp_path / "t.CSV", text) == [("a", 1, 0.5)]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_what_is_written_reads_back(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame([("a", 1, 0.1), ("b", 2, None)], schema=TABLE.schema, orient="row")
    write_table_file(tmp_path / name, frame)
    assert read_table_file(tmp_path / name, TABLE)[1].equals(frame)


def test_parquet_columns_of_another_kind_are_converted_where_nothing_is_lost(tmp_path: Path) -> None:
    write_table_file(tmp_path / "t.parquet", pl.DataFrame({"id": [7], "number": [2.0], "value": [1]}))
    assert read_table_file(tmp_path / "t.parquet", TABLE)[1].rows() == [("7", 2, 1.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,number,value\na,1,x\n", "row 1: value 'x' is not a number"),
        ("id,number,value\na,1,1\nb,2,inf\n", "row 2: value 'inf' is not a number"),
        ("id,number,value\na,99999999999,1\n", "row 1: number '99999999999' is not a whole number"),
        ("id,number,value\n,1,1\n", "row 1: id is empty"),
        ("id,number,value\na,1\n", None),
        ("id,number\na,1\n", "has the columns id,number; they must be id,number,value"),
        ("id,number,value,value\na,1,1,1\n", "has the columns"),
        (b"id,number,value\n\xff\xfe,1,1\n", "cannot be read as CSV"),
        ("\n\n", "is empty"),
    ],
)
def test_a_bad_file_is_refused_by_file_row_and_value(tmp_path: Path, text: str | bytes, message: str | None) -> None:
    if message is None:
        assert read(tmp_path / "t.csv", text) == [("a", 1, None)]
        return
    with pytest.raises(InputError, match=message) as refused:
        read(tmp_path / "t.csv", text)
    assert "t.csv" in str(refused.value)


def test_parquet_values_that_would_be_lost_are_refused(tmp_path: Path) -> None:
    write_table_file(tmp_path / "t.parquet", pl.DataFrame({"id": ["a"], "number": [2.5], "value": [1.0]}))
    with pytest.raises(InputError, match=r"row 1: number 2.5 is not a whole number"):
        read_table_file(tmp_path / "t.parquet", TABLE)
    (tmp_path / "t.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(InputError, match=r"t\.parquet cannot be read as PARQUET"):
        read_table_file(tmp_path / "t.parquet", TABLE)


def test_a_line_of_no_end_is_refused_without_reading_it_all(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        file.write(b"id,number,value\n")
        file.truncate(2 * 2**30)  # a hole: 2 GiB of zero bytes that take no space
    with pytest.raises(InputError, match=r"t\.csv, line 2: longer than 64 MiB"):
        read_table_file(path, TABLE)


def test_lines_are_measured_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_tables, "LONGEST_LINE", 2**21)
    rows = "".join(f"{'x' * 600_000}{number},1,1\n" for number in range(8))
    assert len(read(tmp_path / "t.csv", "id,number,value\n" + rows)) == 8


def test_repeated_rows_are_named(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": ["x", "x", "x"], "b": ["y", "z", "y"]})
    refuse_repeats(tmp_path / "t.csv", frame.head(2), ["a", "b"])
    with pytest.raises(InputError, match=r"t\.csv has a x b y twice, again in row 3"):
        refuse_repeats(tmp_path / "t.csv", frame, ["a", "b"])
