"""The challenge's CSV files: rankings as `id,images` and predictions as `id,landmarks`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.evaluation.retrieval_metrics import LIMIT
from landmark_dag.storage.atomic import replacing
from landmark_dag.storage.ragged_lists import list_of_rows, ranks_in_lists
from landmark_dag.storage.schemas import RANKING, VOTES, Column, Table, refuse_repeats
from landmark_dag.storage.user_tables import read_table_file, refuse_bad_ranks, refuse_where, words

_id = Column("id", pl.String(), "query photo")
RETRIEVAL_SUBMISSION = Table(
    "retrieval_submission",
    (_id, Column("images", pl.String(), "index ids, best first, separated by spaces", nullable=True)),
    ("id",),
)
RECOGNITION_SUBMISSION = Table(
    "recognition_submission",
    (_id, Column("landmarks", pl.String(), "a landmark, a space and its score, or nothing", nullable=True)),
    ("id",),
)
PREDICTIONS = Table(
    "predictions",
    (*VOTES.columns[:2], Column("confidence", pl.Float64(), "score by which predictions are sorted")),
    VOTES.key,
)
"""schemas.VOTES with the precision of a file's scores, so that none tie by rounding."""


def write_retrieval_submission(path: Path, ranking: pl.DataFrame) -> None:
    """Write `ranking` (schemas.RANKING or NEIGHBOURS) as `id,images`, by query id.

    Raises InputError, writing nothing, for an id with a space or a comma, an index id that a query lists
    twice, and a list over 100.
    """
    _refuse_separators(ranking["query_id"].unique())
    _refuse_separators(ranking["index_id"].unique())
    refuse_repeats(path, ranking, ["query_id", "index_id"])
    lists = ranking.sort("query_id", "rank").group_by("query_id", maintain_order=True).agg("index_id")
    long = lists.filter(pl.col("index_id").list.len() > LIMIT)
    if len(long):
        raise InputError(
            f"Query {long['query_id'][0]} lists {len(long['index_id'][0])} photos; "
            f"a submission takes at most {LIMIT}: cut the list first."
        )
    with replacing(path) as temporary:
        lists.select(id="query_id", images=pl.col("index_id").list.join(" ")).write_csv(temporary)


def write_recognition_submission(path: Path, votes: pl.DataFrame, names: Mapping[int, str] | None = None) -> None:
    """Write `votes` (schemas.VOTES) as `id,landmarks`, by image id; `names` replaces a landmark's number.

    Raises InputError, writing nothing, for an id with a space or a comma, one that stands twice, and a confidence
    that is not finite.
    """
    _refuse_separators(votes["image_id"])
    refuse_repeats(path, votes, ["image_id"])
    refuse_where(path, ~votes["confidence"].is_finite(), votes["confidence"], "is no score")
    landmark = pl.col("landmark_id")
    written = landmark.cast(pl.String) if names is None else landmark.replace_strict(names)
    with replacing(path) as temporary:
        votes.sort("image_id").select(
            id="image_id", landmarks=pl.format("{} {}", written, pl.col("confidence"))
        ).write_csv(temporary)


def read_ranking(path: Path) -> pl.DataFrame:
    """Return query_id, rank and index_id of a ranking: schemas.RANKING as CSV or Parquet, or `id,images`.

    Raises InputError, naming the file and row, for another layout, a query or an index id twice, and ranks
    that are not 1, 2, 3 ... within a query.
    """
    table, frame = read_table_file(path, RANKING, RETRIEVAL_SUBMISSION)
    if table is RANKING:
        refuse_repeats(path, frame, ["query_id", "index_id"])
        refuse_bad_ranks(path, frame)
        return frame.select("query_id", "rank", "index_id")
    refuse_repeats(path, frame, ["id"])
    lists = words(frame["images"])
    refuse_where(path, lists.list.len() != lists.list.n_unique(), frame["id"], "lists a photo twice")
    lengths = lists.list.len().to_numpy().astype(np.int64)
    return pl.DataFrame(
        {
            "query_id": frame["id"].gather(list_of_rows(lengths)),
            "rank": ranks_in_lists(lengths),
            "index_id": lists.explode(empty_as_null=False),
        }
    )


def read_predictions(path: Path) -> tuple[pl.DataFrame, dict[str, int] | None]:
    """Return predictions (image_id, landmark_id int64, confidence float64) and the landmarks' numbers.

    The file is schemas.VOTES as CSV or Parquet, or `id,landmarks`. If that names landmarks otherwise than by
    whole numbers, they are numbered by name; without names the second result is None. Raises InputError,
    naming the file and row, for another layout, a photo twice, and a cell that is not a landmark and a score.
    """
    table, frame = read_table_file(path, PREDICTIONS, RECOGNITION_SUBMISSION)
    refuse_repeats(path, frame, [frame.columns[0]])
    if table is PREDICTIONS:
        return frame, None
    frame = frame.drop_nulls("landmarks")
    parts = frame["landmarks"].str.extract_groups(r"^\s*(?<landmark>\S.*?)\s+(?<score>\S+)\s*$").struct.unnest()
    score = parts["score"].cast(pl.Float64, strict=False)
    wrong = ~score.is_finite().fill_null(False)
    if wrong.any():
        row = frame.filter(wrong).row(0)
        raise InputError(f"{path}: the landmarks of {row[0]} are {row[1]!r}, not a landmark and its score.")
    numbers = parts["landmark"].cast(pl.Int64, strict=False)
    landmark_ids = None
    if numbers.null_count():
        landmark_ids = {name: number for number, name in enumerate(sorted(set(parts["landmark"])))}
        numbers = parts["landmark"].replace_strict(landmark_ids, return_dtype=pl.Int64)
    frame = pl.DataFrame({"image_id": frame["id"], "landmark_id": numbers, "confidence": score})
    return frame, landmark_ids


def _refuse_separators(ids: pl.Series) -> None:
    """Raise InputError for an id that would fall apart in a submission."""
    bad = ids.filter(ids.str.contains(r'[\s,"]'))
    if len(bad):
        raise InputError(f"Id {bad[0]!r} holds a space, comma or quote; a submission cannot carry it: rename it.")
