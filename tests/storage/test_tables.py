"""Tables: a frame conforms to its columns or is refused in one sentence."""

from pathlib import Path

import polars as pl
import pytest

from landmark_dag.errors import InputError
from landmark_dag.storage.tables import LABELS, RANKING, read_table, write_table

LABEL = pl.DataFrame({"landmark": ["tower"], "image_id": ["a"], "landmark_id": ["7"]})


def test_columns_come_back_in_order_and_in_their_dtypes() -> None:
    assert LABELS.conform(LABEL, "labels.csv").schema == LABELS.schema


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (LABEL.drop("landmark"), "labels.csv has no column 'landmark'"),
        (LABEL.with_columns(colour=1), "labels.csv has an unknown column 'colour'"),
        (LABEL.with_columns(landmark_id=pl.lit("seven")), "labels.csv does not fit the table labels"),
        (LABEL.with_columns(landmark_id=None), "labels.csv has no value in column 'landmark_id' of row 1"),
    ],
)
def test_a_frame_that_does_not_conform_is_refused(frame: pl.DataFrame, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        LABELS.conform(frame, "labels.csv")


def test_only_columns_that_may_be_null_may_be_null() -> None:
    row = {"query_id": ["q"], "rank": [1], "index_id": ["i"], "similarity": [None], "reason": ["inserted"]}
    assert RANKING.conform(pl.DataFrame(row), "r").height == 1


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


def test_a_table_of_another_format_version_is_refused(tmp_path: Path) -> None:
    LABELS.conform(LABEL, "t").write_parquet(tmp_path / "t.parquet", metadata={"landmark_dag.format": "99"})
    with pytest.raises(InputError, match="format 99, this release reads format 1"):
        read_table(tmp_path / "t.parquet", LABELS)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("not parquet")
    with pytest.raises(InputError, match=r"t.parquet cannot be read as the table labels"):
        read_table(tmp_path / "t.parquet", LABELS)
