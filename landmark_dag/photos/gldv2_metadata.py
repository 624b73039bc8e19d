"""The CSV files of the Google Landmarks Dataset v2: labels, published cleaning, index landmarks."""

from pathlib import Path
from urllib.parse import unquote

import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.storage.polars_errors import POLARS_FAULTS, problem_of
from landmark_dag.storage.schemas import LABELS

_CATEGORIES = {"landmark_id": pl.Int64(), "category": pl.String()}


def landmark_name(category: str) -> str:
    """Return the landmark's name: the title of its Wikimedia Commons category, given as URL."""
    return unquote(category.rsplit("Category:", 1)[-1]).replace("_", " ").strip()


def read_labels(train_csv: Path, categories_csv: Path) -> pl.DataFrame:
    """Return schemas.LABELS, sorted by image id, from train.csv and train_label_to_category.csv.

    A landmark without category is named by its id.
    """
    train = _read_csv(train_csv, {"id": pl.String(), "landmark_id": pl.Int64()})
    duplicated = train.filter(pl.col("id").is_duplicated())
    if not duplicated.is_empty():
        raise InputError(f"{train_csv} has the image id {duplicated['id'][0]!r} in two rows; drop one of them.")
    names = _read_csv(categories_csv, _CATEGORIES).select(
        "landmark_id", pl.col("category").map_elements(landmark_name, pl.String).alias("landmark")
    )
    labels = train.rename({"id": "image_id"}).join(names, on="landmark_id", how="left", validate="m:1")
    labels = labels.with_columns(pl.col("landmark").fill_null(pl.col("landmark_id").cast(pl.String)))
    return LABELS.conform(labels.sort("image_id"), str(train_csv))


def published_clean(labels: pl.DataFrame, train_clean_csv: Path) -> pl.DataFrame:
    """Return the rows of `labels` that train_clean.csv (landmark_id, images) keeps, in their order.

    Raises InputError when the file names a photo twice, or one that `labels` lacks or labels otherwise.
    """
    clean = (
        _read_csv(train_clean_csv, {"landmark_id": pl.Int64(), "images": pl.String()})
        .select("landmark_id", pl.col("images").str.split(" ").alias("image_id"))
        .explode("image_id")
        .filter(pl.col("image_id") != "")
    )
    twice = clean.filter(pl.col("image_id").is_duplicated())
    if not twice.is_empty():
        raise InputError(f"{train_clean_csv} names the photo {twice['image_id'][0]!r} twice; name it once.")
    strangers = clean.join(labels, on=["image_id", "landmark_id"], how="anti")
    if not strangers.is_empty():
        image_id, landmark_id = strangers.select("image_id", "landmark_id").row(0)
        raise InputError(
            f"{train_clean_csv} keeps photo {image_id!r} for landmark {landmark_id}, which the train labels "
            "do not; use the train_clean.csv and train.csv of one version."
        )
    return labels.join(clean, on="image_id", how="semi", maintain_order="left")


def index_landmarks(
    image_to_landmark_csv: Path, index_categories_csv: Path, train_categories_csv: Path
) -> pl.DataFrame:
    """Return the train landmark that each index photo shows, joined through the category URL.

    Index and train number their landmarks independently; only the Wikimedia category is common to both.
    Columns: image_id, index_landmark_id, and landmark_id, the train number, null for a landmark that train
    does not have. One row a photo, sorted by image id.
    """
    images = _read_csv(image_to_landmark_csv, {"id": pl.String(), "landmark_id": pl.Int64()})
    index = _read_csv(index_categories_csv, _CATEGORIES)
    train = _read_csv(train_categories_csv, _CATEGORIES).unique("category", keep="first", maintain_order=True)
    return (
        images.rename({"id": "image_id", "landmark_id": "index_landmark_id"})
        .join(index.rename({"landmark_id": "index_landmark_id"}), on="index_landmark_id", how="left")
        .join(train, on="category", how="left")
        .select("image_id", "index_landmark_id", "landmark_id")
        .sort("image_id")
    )


def _read_csv(path: Path, columns: dict[str, pl.DataType]) -> pl.DataFrame:
    """Return the named columns of a CSV file, none of whose values may be missing."""
    try:
        frame = pl.read_csv(path, columns=list(columns), schema_overrides=columns)
    except POLARS_FAULTS as error:
        raise InputError(
            f"{path} must be a CSV file with the columns {', '.join(columns)}: {problem_of(error)}"
        ) from error
    for name in columns:
        if frame[name].null_count():
            row = int(frame[name].is_null().arg_true()[0]) + 2
            raise InputError(f"{path} has no {name} in line {row}; fetch the file again.")
    return frame
