"""The dataset's CSV files: labels with text ids, and the published cleaning."""

from pathlib import Path

import polars as pl
import pytest

from landmark_dag.errors import InputError
from landmark_dag.photos.gldv2_metadata import landmark_name, published_clean, read_labels
from landmark_dag.storage.schemas import LABELS

COMMONS = "http://commons.wikimedia.org/wiki/Category:"


def csv(tmp_path: Path, name: str, *lines: str) -> Path:
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def categories(tmp_path: Path) -> Path:
    return csv(
        tmp_path,
        "categories.csv",
        "landmark_id,category",
        f"5,{COMMONS}Pont_d%27Avignon",
        f'6,"{COMMONS}Old_Tower,_The"',
    )


@pytest.fixture
def labels(tmp_path: Path, categories: Path) -> pl.DataFrame:
    rows = ["00000000000000ff,u,5", '0000000000001e10,"http://a,b",6', "1234567890123456,u,5", "aaaaaaaaaaaaaaaa,u,9"]
    return read_labels(csv(tmp_path, "train.csv", "id,url,landmark_id", *rows[::-1]), categories)


def test_labels_have_text_ids_names_and_one_order(labels: pl.DataFrame) -> None:
    assert labels.schema == LABELS.schema
    assert labels.rows() == [
        ("00000000000000ff", 5, "Pont d'Avignon"),
        ("0000000000001e10", 6, "Old Tower, The"),
        ("1234567890123456", 5, "Pont d'Avignon"),
        ("aaaaaaaaaaaaaaaa", 9, "9"),
    ]


def test_ids_that_all_read_as_numbers_stay_texts(tmp_path: Path, categories: Path) -> None:
    path = csv(tmp_path, "train.csv", "id,url,landmark_id", "0000000000001e10,u,5", "0000000000000012,u,5")
    assert read_labels(path, categories)["image_id"].to_list() == ["0000000000000012", "0000000000001e10"]


def test_a_category_without_its_usual_address_is_its_own_name() -> None:
    assert landmark_name("Eiffel_Tower") == "Eiffel Tower"
    assert landmark_name(f"{COMMONS}K%C3%B6lner_Dom") == "Kölner Dom"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["id,url", "a,u"], "must be a CSV file with the columns id, landmark_id"),
        (["id,url,landmark_id", "a,u,tower"], "must be a CSV file with the columns"),
        (["id,url,landmark_id", "a,u,5", "b,u,"], "has no landmark_id in line 3"),
        (["id,url,landmark_id", "a,u,5", "a,u,6"], "has the image id 'a' in two rows"),
        ([""], "must be a CSV file with the columns"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, categories: Path, lines: list[str], told: str) -> None:
    with pytest.raises(InputError, match=rf"train\.csv {told}"):
        read_labels(csv(tmp_path, "train.csv", *lines), categories)


def test_a_missing_file_is_named(tmp_path: Path, categories: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv must be a CSV file"):
        read_labels(tmp_path / "none.csv", categories)


def test_the_published_cleaning_keeps_the_rows_it_names(tmp_path: Path, labels: pl.DataFrame) -> None:
    path = csv(tmp_path, "clean.csv", "landmark_id,images", "6,0000000000001e10", "5,1234567890123456 00000000000000ff")
    assert published_clean(labels, path).equals(labels.head(3))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("5,bbbbbbbbbbbbbbbb", "keeps photo 'bbbbbbbbbbbbbbbb' for landmark 5"),
        ("6,00000000000000ff", "keeps photo '00000000000000ff' for landmark 6"),
        ("5,00000000000000ff 00000000000000ff", "names the photo '00000000000000ff' twice"),
    ],
)
def test_a_cleaning_that_does_not_fit_the_labels_is_an_error(
    tmp_path: Path, labels: pl.DataFrame, row: str, told: str
) -> None:
    with pytest.raises(InputError, match=rf"clean\.csv {told}"):
        published_clean(labels, csv(tmp_path, "clean.csv", "landmark_id,images", row))
