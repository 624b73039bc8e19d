"""Neighbours, labels and votes that users bring, for example from a vector database; errors as in read_table_file."""

from pathlib import Path

import numpy as np
import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.storage.ragged_lists import ranks_in_lists
from landmark_dag.storage.schemas import CLEANED_DATASET, LABELS, NEIGHBOURS, VOTES, Column, Table, refuse_repeats
from landmark_dag.storage.user_tables import read_table_file, refuse_bad_ranks, refuse_where

_similarity = Column("similarity", pl.Float32(), "the larger, the nearer")
UNRANKED_NEIGHBOURS = Table(
    "neighbours",
    tuple(column for column in NEIGHBOURS.columns if column.name != "rank"),
    ("query_id", "index_id"),
)
PLAIN_TRAIN_NEIGHBOURS = Table(
    "train_neighbours",
    (VOTES.columns[0], Column("train_id", pl.String(), "labelled train photo"), _similarity),
    ("image_id", "train_id"),
)
PLAIN_LABELS = Table("labels", LABELS.columns[:2], ("image_id",))


def read_neighbours(path: Path) -> pl.DataFrame:
    """Return schemas.NEIGHBOURS, by query id, then rank, from `query_id,index_id,similarity` in any row order.

    Ranks are by similarity, descending; ties are by index id, ascending. If the file has ranks, they must be
    1, 2, 3 ... within a query, and the similarity must never rise. Raises InputError otherwise, and if a pair of query
    and index photo occurs twice.
    """
    table, frame = read_table_file(path, UNRANKED_NEIGHBOURS, NEIGHBOURS)
    refuse_repeats(path, frame, ["query_id", "index_id"])
    if table is NEIGHBOURS:
        refuse_bad_ranks(path, frame)
        _refuse_rising_similarity(path, frame)
        return frame.sort("query_id", "rank")
    frame = frame.sort(["query_id", "similarity", "index_id"], descending=[False, True, False])
    lengths = frame["query_id"].rle().struct.field("len").to_numpy()
    return frame.with_columns(rank=ranks_in_lists(lengths)).select(list(NEIGHBOURS.schema))


def read_train_neighbours(path: Path) -> pl.DataFrame:
    """Return `image_id,train_id,similarity`; raises InputError if a pair occurs twice."""
    _, frame = read_table_file(path, PLAIN_TRAIN_NEIGHBOURS)
    refuse_repeats(path, frame, ["image_id", "train_id"])
    return frame


def read_labels(path: Path) -> pl.DataFrame:
    """Return image_id and landmark_id of train photos, from these two columns or a stored table of labels."""
    _, frame = read_table_file(path, PLAIN_LABELS, LABELS, CLEANED_DATASET)
    refuse_repeats(path, frame, ["image_id"])
    return frame.select("image_id", "landmark_id")


def read_votes(path: Path) -> pl.DataFrame:
    """Return schemas.VOTES; raises InputError if a photo occurs twice."""
    _, frame = read_table_file(path, VOTES)
    refuse_repeats(path, frame, ["image_id"])
    return frame


def refuse_unknown(path: Path, column: str, known_path: Path, known: pl.Series) -> None:
    """Raise InputError, naming the first row of the neighbours in `path` whose `column` is not in `known`.

    This reads the file again: call it only to name the row of an unknown photo that was found.
    """
    _, frame = read_table_file(path, UNRANKED_NEIGHBOURS, NEIGHBOURS, PLAIN_TRAIN_NEIGHBOURS)
    photos = frame[column]
    refuse_where(path, ~photos.is_in(known.implode()), photos, f"is not in {known_path}; add it there")


def _refuse_rising_similarity(path: Path, frame: pl.DataFrame) -> None:
    """Raise InputError where a photo is more similar than the one ranked before it."""
    ordered = frame.with_row_index("row").sort("query_id", "rank")
    rises = ordered.filter((pl.col("similarity") > pl.col("similarity").shift(1)) & (pl.col("rank") > 1))
    if len(rises):
        row = rises.row(0, named=True)
        raise InputError(
            f"{path}, row {row['row'] + 1}: rank {row['rank']} of query {row['query_id']} has similarity "
            f"{np.float32(row['similarity'])!s}, more than the rank before; sort the ranks or leave them out."
        )
