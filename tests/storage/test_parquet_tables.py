"""Stored tables: written whole or not at all, with unique keys, and read back the same or refused in one sentence."""

from pathlib import Path

import polars as pl
import pytest

from landmark_dag.errors import InputError
from landmark_dag.storage.parquet_tables import read_notes, read_table, write_table
from landmark_dag.storage.schemas import LABELS, UNREADABLE

LABEL = pl.DataFrame({"landmark": ["tower"], "image_id": ["a"], "landmark_id": ["7"]})


def test_a_written_table_reads_back_the_same(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", LABELS, LABEL, "v1")
    assert read_table(tmp_path / "t.parquet", LABELS).equals(LABELS.conform(LABEL, "t"))
    assert pl.read_parquet_metadata(tmp_path / "t.parquet")["landmark_dag.version"] == "v1"


def test_a_refused_frame_leaves_the_stored_table(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", LABELS, LABEL, "v1")
    with pytest.raises(InputError):
        write_table(tmp_path / "t.parquet", LABELS, LABEL.drop("landmark"), "v2")
    assert read_table(tmp_path / "t.parquet", LABELS).height == 1
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_a_repeated_key_is_refused_with_table_columns_and_values(tmp_path: Path) -> None:
    repeated = pl.concat([LABEL, LABEL.with_columns(landmark=pl.lit("bridge"))])
    sentence = r"The table labels for .*t\.parquet has image_id a twice, again in row 2; keep one of the two\."
    with pytest.raises(InputError, match=sentence):
        write_table(tmp_path / "t.parquet", LABELS, repeated, "v1")
    assert list(tmp_path.iterdir()) == []


def test_a_table_without_a_key_may_repeat_rows(tmp_path: Path) -> None:
    row = {"image_id": ["a"], "path": ["x"], "offset": [0], "size": [1], "reason": ["empty"]}
    write_table(tmp_path / "t.parquet", UNREADABLE, pl.DataFrame({name: 2 * cell for name, cell in row.items()}), "v")
    assert read_table(tmp_path / "t.parquet", UNREADABLE).height == 2


def test_notes_come_back_and_a_missing_file_has_none(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", LABELS, LABEL, "v1", {"made": "of a and b"})
    assert read_notes(tmp_path / "t.parquet") == {"made": "of a and b"}
    assert read_notes(tmp_path / "nowhere.parquet") == {}


def test_a_table_of_another_format_version_is_refused(tmp_path: Path) -> None:
    LABELS.conform(LABEL, "t").write_parquet(tmp_path / "t.parquet", metadata={"landmark_dag.format": "99"})
    with pytest.raises(InputError, match="format 99, this release reads format 1"):
        read_table(tmp_path / "t.parquet", LABELS)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("not parquet")
    with pytest.raises(InputError, match=r"t.parquet cannot be read as the table labels"):
        read_table(tmp_path / "t.parquet", LABELS)
