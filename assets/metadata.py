"""What assets show in the Dagster UI: the columns of a table, its first rows, pictures, and what was shown before."""

import base64
from typing import Any

import dagster as dg
import polars as pl

from landmark_dag.storage.schemas import Table

Metadata = dict[str, Any]

_LONGEST_CELL = 80


def table_metadata(table: Table) -> Metadata:
    """Return the definition metadata of an asset that stores `table`: its columns, for Dagster's catalogue."""
    columns = [
        dg.TableColumn(
            column.name,
            str(column.dtype),
            description=column.description,
            constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=table.key == (column.name,)),
        )
        for column in table.columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns=columns)}


def rows_metadata(frame: pl.DataFrame) -> dg.MetadataValue:
    """Return the rows of `frame` as a table, which the UI shows without a click and as plain text."""
    columns = [dg.TableColumn(name, str(dtype)) for name, dtype in frame.schema.items()]
    records = [
        dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in frame.iter_rows(named=True)
    ]
    return dg.MetadataValue.table(records, dg.TableSchema(columns=columns))


def picture_metadata(png: bytes) -> dg.MetadataValue:
    """Return a picture, which the UI shows after a click: it shows Markdown in place up to 1,000 characters only."""
    return dg.MetadataValue.md(f"![picture](data:image/png;base64,{base64.b64encode(png).decode()})")


def last_metadata(instance: dg.DagsterInstance, asset: dg.AssetKey, shard: str) -> Metadata:
    """Return the metadata of the last materialization of `shard`; an empty dictionary where there is none."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset, asset_partitions=[shard] if shard else None), limit=1
    ).records
    last = records[0].asset_materialization if records else None
    return dict(last.metadata) if last else {}


def _cell(value: object) -> str | int:
    """Return a cell as the UI shows it: floats with two decimals, everything else cut to `_LONGEST_CELL` characters."""
    if isinstance(value, float):
        return f"{value:.2f}"
    return value if isinstance(value, int) else str(value)[:_LONGEST_CELL]
