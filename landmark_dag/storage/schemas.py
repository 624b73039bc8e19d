"""The columns and keys of every stored table, and the checks that a frame has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.storage.polars_errors import problem_of


@dataclass(frozen=True)
class Column:
    """One column: its name, polars dtype, description, and whether it may be null."""

    name: str
    dtype: pl.DataType
    description: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """A named list of columns; `key` names the columns whose values are unique together."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def schema(self) -> pl.Schema:
        """The polars schema, in column order."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    def empty(self) -> pl.DataFrame:
        """Return a frame with this table's columns and no rows."""
        return pl.DataFrame(schema=self.schema)

    def conform(self, frame: pl.DataFrame, origin: str) -> pl.DataFrame:
        """Return `frame` with exactly this table's columns, in their order and cast to their dtypes.

        Raises InputError, naming `origin` (a file or an asset), for a column that is missing, unknown, of another
        kind, or null although it must not be.
        """
        expected = list(self.schema)
        unknown = [name for name in frame.columns if name not in expected]
        missing = [name for name in expected if name not in frame.columns]
        if unknown or missing:
            problem = f"has no column {missing[0]!r}" if missing else f"has an unknown column {unknown[0]!r}"
            raise InputError(f"{origin} {problem}; its columns must be {', '.join(expected)}.")
        try:
            frame = frame.select(pl.col(column.name).cast(column.dtype) for column in self.columns)
        except pl.exceptions.PolarsError as error:
            raise InputError(f"{origin} does not fit the table {self.name}: {problem_of(error)}.") from error
        for column in self.columns:
            if not column.nullable and frame[column.name].null_count():
                row = int(frame[column.name].is_null().arg_true()[0]) + 1
                raise InputError(f"{origin} has no value in column {column.name!r} of row {row}; fill it in.")
        return frame


def refuse_repeats(origin: Path | str, frame: pl.DataFrame, columns: Sequence[str]) -> None:
    """Raise InputError, naming `origin` (a file or an asset) and the second row, when two rows agree in `columns`."""
    if _increases(frame, columns):
        return
    # Equal rows have equal hashes, so distinct hashes prove distinct rows at a fraction of the cost.
    if frame.select(columns).hash_rows().n_unique() == frame.height:
        return
    repeated = ~frame.select(pl.struct(columns).is_first_distinct()).to_series()
    if repeated.any():
        row = int(repeated.arg_true()[0])
        values = " ".join(f"{name} {frame[name][row]}" for name in columns)
        raise InputError(f"{origin} has {values} twice, again in row {row + 1}; keep one of the two.")


def _increases(frame: pl.DataFrame, columns: Sequence[str]) -> bool:
    """Whether each row is greater than the one before, by the first of `columns` in which they differ.

    Most tables are sorted by their key. Then this proves it unique at a fifth of the cost of hashes.
    """
    greater, equal = pl.lit(False), pl.lit(True)
    for name in columns:
        value, before = pl.col(name), pl.col(name).shift(1)
        greater, equal = greater | (equal & (value > before)), equal & (value == before)
    return bool(frame.select(greater.slice(1).all()).item())


_image_id = Column("image_id", pl.String(), "photo, unique within its split")
_landmark_id = Column("landmark_id", pl.Int64(), "landmark")
_query_id = Column("query_id", pl.String(), "query photo")
_index_id = Column("index_id", pl.String(), "index photo")
_rank = Column("rank", pl.Int32(), "place in the query's list, from 1")

MANIFEST = Table(
    "photos",
    (
        _image_id,
        Column("path", pl.String(), "file that holds the photo's bytes: the photo itself or a TAR"),
        Column("offset", pl.Int64(), "first byte of the photo in that file"),
        Column("size", pl.Int64(), "number of bytes"),
        Column("width", pl.Int32(), "pixels, after EXIF orientation"),
        Column("height", pl.Int32(), "pixels, after EXIF orientation"),
        Column("fingerprint", pl.String(), "BLAKE2b-128 of the bytes, hexadecimal"),
    ),
    ("image_id",),
)

UNREADABLE = Table(
    "unreadable",
    (
        _image_id,
        Column("path", pl.String(), "file that should hold the photo"),
        Column("offset", pl.Int64(), "first byte of the photo in that file"),
        Column("size", pl.Int64(), "number of bytes"),
        Column("reason", pl.String(), "why the photo cannot be used"),
    ),
    (),
)

LABELS = Table(
    "labels",
    (_image_id, _landmark_id, Column("landmark", pl.String(), "the landmark's name")),
    ("image_id",),
)

DESCRIPTOR_WHITENING = Table(
    "descriptor_whitening",
    (
        Column("channel", pl.Int32(), "channel of the backbone's intermediate map"),
        Column("mean", pl.Float32(), "mean of the channel over unit descriptors"),
        Column("weight", pl.List(pl.Float32), "the channel's weight in each number of the whitened descriptor"),
    ),
    ("channel",),
)

LOCAL_FEATURES = Table(
    "local_features",
    (
        _image_id,
        Column("keypoints", pl.List(pl.List(pl.Float32)), "x and y of each keypoint in pixels of the shrunk photo"),
        Column(
            "orientations",
            pl.List(pl.List(pl.Float32)),
            "a vector along each keypoint's dominant gradient, as long as its diameter",
        ),
        Column("descriptors", pl.List(pl.List(pl.Int8)), "each keypoint's descriptor, a unit vector times a constant"),
    ),
    ("image_id",),
)
"""Stored in Arrow files, see `matching.feature_files`."""

EMBEDDINGS = Table(
    "embeddings",
    (_image_id, Column("vector", pl.List(pl.Float16), "embedding of unit norm, of one length for all photos")),
    ("image_id",),
)
"""Stored in Arrow files, see `storage.embeddings`."""

MATCH_CANDIDATES = Table(
    "match_candidates",
    (
        Column("image_a", pl.String(), "the smaller image id of the pair"),
        Column("image_b", pl.String(), "the larger image id of the pair"),
        Column("landmark_id", pl.Int64(), "landmark that both photos are labelled with"),
        Column("similarity", pl.Float32(), "inner product of the bootstrap embeddings"),
    ),
    ("image_a", "image_b"),
)

VERIFIED_MATCHES = Table(
    "verified_matches",
    (
        Column("image_a", pl.String(), "the smaller image id of the pair"),
        Column("image_b", pl.String(), "the larger image id of the pair"),
        Column("landmark_id", pl.Int64(), "landmark that both photos are labelled with"),
        Column("inliers", pl.Int32(), "matches that agree with the affine map"),
        Column("affine", pl.Array(pl.Float32, 6), "row-major 2 x 3 map from photo a's pixels to photo b's"),
    ),
    ("image_a", "image_b"),
)

CLEANED_DATASET = Table(
    "cleaned_dataset",
    (_image_id, _landmark_id, Column("class_id", pl.Int32(), "landmarks numbered from 0 by landmark_id")),
    ("image_id",),
)

CLEANING_GRID = Table(
    "cleaning_grid",
    (
        Column("min_inliers", pl.Int32(), "inliers from which two photos count as verified"),
        Column("min_verified", pl.Int32(), "verified photos of the same landmark that a photo needs"),
        Column("photos", pl.Int64(), "train photos that would stay"),
        Column("landmarks", pl.Int64(), "landmarks that would stay"),
    ),
    ("min_inliers", "min_verified"),
)

TUNING_TRIALS = Table(
    "tuning_trials",
    (
        Column("trial", pl.String(), "settings tried: name=value name=value"),
        Column("map_at_100", pl.Float64(), "mean average precision over the first 100 of held-out photos, percent"),
        Column("queries", pl.Int32(), "held-out photos that count"),
        Column("searched", pl.Int32(), "photos searched, of held-out landmarks and others"),
        Column("loss", pl.Float64(), "loss of the last epoch; null for none", nullable=True),
        Column("accuracy", pl.Float64(), "accuracy of the last epoch, 0 to 1; null for none", nullable=True),
        Column("model", pl.String(), "fingerprint of the model"),
        Column("settings", pl.String(), "all settings of network and training, JSON"),
    ),
    ("trial",),
)

NEIGHBOURS = Table(
    "knn_graph",
    (_query_id, _rank, _index_id, Column("similarity", pl.Float32(), "inner product of the embeddings")),
    ("query_id", "rank"),
)

TRAIN_NEIGHBOURS = Table(
    "train_neighbours",
    (
        _image_id,
        Column("rank", pl.Int32(), "place among the photo's nearest train photos, from 1"),
        Column("train_id", pl.String(), "train photo of the cleaned dataset"),
        _landmark_id,
        Column("similarity", pl.Float32(), "inner product of the embeddings"),
    ),
    ("image_id", "rank"),
)

VOTES = Table(
    "votes",
    (
        _image_id,
        _landmark_id,
        Column("confidence", pl.Float32(), "sum of the landmark's similarities among the k nearest, over k"),
    ),
    ("image_id",),
)

RANKING = Table(
    "ranking",
    (
        _query_id,
        _rank,
        _index_id,
        Column("similarity", pl.Float32(), "inner product; null where the photo was inserted", nullable=True),
        Column("reason", pl.String(), "retrieved, same landmark or inserted"),
    ),
    ("query_id", "rank"),
)


def _with_interval(name: str, description: str) -> tuple[Column, ...]:
    """Return the columns of a metric and of its bootstrap interval over queries."""
    return (
        Column(name, pl.Float64(), f"{description}, percent"),
        Column(f"{name}_low", pl.Float64(), "lower end of its bootstrap interval over queries"),
        Column(f"{name}_high", pl.Float64(), "upper end of its bootstrap interval over queries"),
    )


RETRIEVAL_METRICS = Table(
    "retrieval_metrics",
    (
        Column("step", pl.String(), "knn, sorted or inserted"),
        Column("usage", pl.String(), "Public, Private or all"),
        *_with_interval("map_at_100", "mean average precision over the first 100"),
        *_with_interval("precision_at_1", "queries whose first photo is relevant"),
        *_with_interval("precision_at_10", "share of relevant photos among the first 10"),
        *_with_interval("recall_at_10", "share of the relevant photos that are among the first 10"),
        *_with_interval("recall_at_100", "share of the relevant photos that are among the first 100"),
        Column("queries", pl.Int32(), "queries that count"),
    ),
    ("step", "usage"),
)

RERANKING_COMPARISON = Table(
    "reranking_comparison",
    (
        Column("method", pl.String(), "way of ranking; X + sort + insert: the paper's steps on the lists of X"),
        Column("usage", pl.String(), "Public, Private or all"),
        Column("map_at_100", pl.Float64(), "mean average precision over the first 100, percent"),
        Column("low", pl.Float64(), "lower end of its bootstrap interval over queries"),
        Column("high", pl.Float64(), "upper end of its bootstrap interval over queries"),
        Column("difference", pl.Float64(), "to sort + insert, points"),
        Column("difference_low", pl.Float64(), "lower end of its paired bootstrap interval over queries"),
        Column("difference_high", pl.Float64(), "upper end of its paired bootstrap interval over queries"),
        Column("queries", pl.Int32(), "queries that count"),
        Column(
            "seconds",
            pl.Float64(),
            "beyond the queries' kNN graph, of all queries; a machine's first run also compiles",
        ),
    ),
    ("method", "usage"),
)

RERANKING_SWEEP = Table(
    "reranking_sweep",
    (
        Column("k", pl.Int32(), "nearest train photos that vote"),
        Column("threshold", pl.Float64(), "query confidence + index confidence must exceed this to insert"),
        Column("map_at_100", pl.Float64(), "mean average precision over the first 100, percent, all queries"),
    ),
    ("k", "threshold"),
)

RECOGNITION_METRICS = Table(
    "recognition_metrics",
    (
        Column("usage", pl.String(), "Public, Private or all"),
        *_with_interval("micro_ap", "micro average precision (GAP)"),
        *_with_interval("accuracy", "queries of a landmark whose vote is right"),
        Column("queries", pl.Int32(), "queries that count"),
    ),
    ("usage",),
)
