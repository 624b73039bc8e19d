"""The ground truth of retrieval and recognition, in the formats of Google Landmarks v2.1."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.storage.schemas import Column, Table, refuse_repeats
from landmark_dag.storage.user_tables import read_table_file, refuse_where, words

USAGES = ("Public", "Private")
"""The two parts of the queries that count."""

_id = Column("id", pl.String(), "query photo")
_usage = Column("Usage", pl.String(), "Public, Private, or Ignored: does not count")
RETRIEVAL_SOLUTION = Table(
    "retrieval_solution",
    (_id, Column("images", pl.String(), "relevant index ids, separated by spaces; None: ignored"), _usage),
    ("id",),
)
RECOGNITION_SOLUTION = Table(
    "recognition_solution",
    (_id, Column("landmarks", pl.String(), "landmarks shown, separated by spaces", nullable=True), _usage),
    ("id",),
)


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What is right for each query.

    `queries` (query_id, usage, expected: how many answers are right) holds the queries that count, by id;
    `right` holds one row for each right answer: (query_id, index_id) for retrieval, (query_id, landmark_id)
    for recognition; `ignored` are the ids that do not count.
    """

    queries: pl.DataFrame
    right: pl.DataFrame
    ignored: frozenset[str]


class RetrievalGroundTruth(GroundTruth):
    """Which index photos are relevant to each query, at least one."""


class RecognitionGroundTruth(GroundTruth):
    """Which landmarks each query shows, possibly none."""


def read_retrieval_ground_truth(path: Path) -> RetrievalGroundTruth:
    """Read `id,images,Usage`: images are index ids separated by spaces, or the word None: ignored.

    Raises InputError, naming the file and row, for a wrong header, an id twice, an index id twice in one row,
    an empty list, and a Usage that is not Public, Private or Ignored.
    """
    frame = _read_solution(path, RETRIEVAL_SOLUTION, "images")
    ignored = (pl.col("usage") == "Ignored") | (pl.col("images") == "None")
    return RetrievalGroundTruth(*_parts(frame, ignored, "index_id"))


def read_recognition_ground_truth(path: Path, landmark_ids: Mapping[str, int] | None = None) -> RecognitionGroundTruth:
    """Read `id,landmarks,Usage`: landmarks are separated by spaces, possibly none.

    Landmarks are whole numbers, or names where `landmark_ids` maps each name to its number (a name with spaces
    must stand alone). A name that it does not know is a landmark that nobody can predict: it counts, under a
    negative number. Raises InputError, naming the file and row, for a wrong header, an id or a landmark of one
    row twice, a landmark that is no number where there are no names, and a Usage that is not Public, Private
    or Ignored.
    """
    frame = _read_solution(path, RECOGNITION_SOLUTION, "landmarks", list(landmark_ids or ()))
    queries, right, ignored = _parts(frame, pl.col("usage") == "Ignored", "landmark")
    if landmark_ids is None:
        numbers = right["landmark"].cast(pl.Int64, strict=False)
        bad = right.filter(numbers.is_null())
        if len(bad):
            raise InputError(
                f"{path}: landmark {bad['landmark'][0]!r} of query {bad['query_id'][0]} is not a whole number."
            )
    else:
        unknown = sorted(set(right["landmark"]) - set(landmark_ids))
        known = {**landmark_ids, **{name: -1 - number for number, name in enumerate(unknown)}}
        numbers = right["landmark"].replace_strict(known, return_dtype=pl.Int64)
    return RecognitionGroundTruth(queries, right.select("query_id", numbers.alias("landmark_id")), ignored)


def refuse_unknown(query_ids: pl.Series, truth: GroundTruth) -> None:
    """Raise InputError for a query that the ground truth neither counts nor ignores."""
    unknown = set(query_ids) - set(truth.queries["query_id"]) - truth.ignored
    if unknown:
        raise InputError(
            f"The ground truth does not know query {min(unknown)}; "
            "leave it out, or use the ground truth of these queries."
        )


def landmark_numbers(labels: pl.DataFrame) -> dict[str, int]:
    """Return the number of every landmark's name in `labels` (schemas.LABELS)."""
    return dict(labels.select("landmark", "landmark_id").unique().iter_rows())


def _read_solution(path: Path, table: Table, column: str, names: Sequence[str] = ()) -> pl.DataFrame:
    """Return query_id, usage, `column` and its `answers` as lists; see the readers for what is refused.

    A cell is one answer if it is one of `names`, otherwise its words are the answers.
    """
    _, frame = read_table_file(path, table)
    refuse_repeats(path, frame, ["id"])
    refuse_where(path, ~frame["Usage"].is_in([*USAGES, "Ignored"]), frame["Usage"], "is not Public, Private or Ignored")
    cells = frame[column].fill_null("").str.strip_chars()
    answers = words(cells).zip_with(~cells.is_in(names), cells.reshape((-1, 1)).arr.to_list())
    refuse_where(path, answers.list.len() != answers.list.n_unique(), frame["id"], f"has one of its {column} twice")
    return frame.select(
        pl.col("id").alias("query_id"), pl.col("Usage").alias("usage"), column, answers.alias("answers")
    )


def _parts(frame: pl.DataFrame, ignored: pl.Expr, answer: str) -> tuple[pl.DataFrame, pl.DataFrame, frozenset[str]]:
    """Return the queries that count, their right answers in the column `answer`, and the ignored ids."""
    counting = frame.filter(~ignored).sort("query_id")
    queries = counting.select("query_id", "usage", expected=pl.col("answers").list.len().cast(pl.Int64))
    right = counting.select("query_id", pl.col("answers").alias(answer)).explode(answer).drop_nulls()
    return queries, right, frozenset(frame.filter(ignored)["query_id"])
