"""Metadata for the UI: tables and pictures of stored outputs, and the columns of Dagster's catalogue."""

import base64

import dagster as dg
import polars as pl

from assets.metadata import picture_metadata, rows_metadata, table_metadata
from landmark_dag.storage.schemas import LABELS, RANKING


def test_rows_are_a_table_of_short_cells_and_names_from_outside_are_never_markdown() -> None:
    names = ["<script>", "![x](http://elsewhere/x.png)", "long" * 100]
    frame = pl.DataFrame({"name": names, "score": [0.123, 1.0, None], "rank": [1, 2, 3], "vector": [[1, 2]] * 3})
    table = rows_metadata(frame)
    assert isinstance(table, dg.TableMetadataValue)
    assert [(column.name, column.type) for column in table.schema.columns] == [
        ("name", "String"),
        ("score", "Float64"),
        ("rank", "Int64"),
        ("vector", "List(Int64)"),
    ]
    assert [record.data for record in table.records] == [
        {"name": "<script>", "score": "0.12", "rank": 1, "vector": "[1, 2]"},
        {"name": "![x](http://elsewhere/x.png)", "score": "1.00", "rank": 2, "vector": "[1, 2]"},
        {"name": "long" * 20, "score": "None", "rank": 3, "vector": "[1, 2]"},
    ]


def test_a_table_without_rows_keeps_its_columns() -> None:
    table = rows_metadata(LABELS.empty())
    assert isinstance(table, dg.TableMetadataValue) and table.records == []
    assert len(table.schema.columns) == 3


def test_a_picture_carries_its_bytes() -> None:
    text = picture_metadata(b"PNG").value
    assert text == f"![picture](data:image/png;base64,{base64.b64encode(b'PNG').decode()})"


def test_the_catalogue_says_which_columns_are_unique_and_may_be_null() -> None:
    def constraints(table: dict[str, dg.TableSchema]) -> dict[str, tuple[bool, bool]]:
        columns = table["dagster/column_schema"].columns
        return {column.name: (column.constraints.unique, column.constraints.nullable) for column in columns}

    assert constraints(table_metadata(LABELS))["image_id"] == (True, False)
    ranking = constraints(table_metadata(RANKING))
    assert ranking["query_id"] == (False, False) and ranking["similarity"] == (False, True)
