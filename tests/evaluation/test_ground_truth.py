"""Ground truth files: their traps, and every fault named by file and row."""

from pathlib import Path

import polars as pl
import pytest

from landmark_dag.errors import InputError
from landmark_dag.evaluation.ground_truth import (
    landmark_numbers,
    read_recognition_ground_truth,
    read_retrieval_ground_truth,
)
from landmark_dag.storage.schemas import LABELS


def written(folder: Path, text: str) -> Path:
    path = folder / "solution.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_none_is_ignored_and_ids_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    truth = read_retrieval_ground_truth(
        written(
            tmp_path,
            "id,images,Usage\n0000000000001e10,00000000000000ab 0000000000000123,Public\n"
            "b,None,Ignored\nc,None,Public\nd,x,Ignored\na,0000000000000123,Private\n",
        )
    )
    assert truth.queries.rows() == [("0000000000001e10", "Public", 2), ("a", "Private", 1)]
    assert truth.right.rows() == [
        ("0000000000001e10", "00000000000000ab"),
        ("0000000000001e10", "0000000000000123"),
        ("a", "0000000000000123"),
    ]
    assert truth.ignored == {"b", "c", "d"}


def test_recognition_landmarks_are_numbers_and_may_be_none(tmp_path: Path) -> None:
    truth = read_recognition_ground_truth(
        written(tmp_path, "id,landmarks,Usage\na,7 5,Public\nb,,Private\nc,3,Ignored\n")
    )
    assert truth.queries.rows() == [("a", "Public", 2), ("b", "Private", 0)]
    assert truth.right.rows() == [("a", 7), ("a", 5)]
    assert truth.ignored == {"c"}


def test_recognition_landmarks_may_be_names_with_spaces_or_unknown(tmp_path: Path) -> None:
    path = written(tmp_path, "id,landmarks,Usage\na,Notre Dame,Public\nb,arc notre,Public\nc,nowhere,Public\n")
    truth = read_recognition_ground_truth(path, {"Notre Dame": 4, "arc": 9})
    assert truth.right.rows() == [("a", 4), ("b", 9), ("b", -1), ("c", -2)]


def test_labels_number_the_landmarks() -> None:
    rows = [("t1", 9, "arc"), ("t2", 4, "dome"), ("t3", 9, "arc")]
    labels = pl.DataFrame(rows, schema=LABELS.schema, orient="row")
    assert landmark_numbers(labels) == {"arc": 9, "dome": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("id,images\na,b\n", "has the columns id,images"),
        ("id,images,usage\na,b,Public\n", "has the columns id,images,usage"),
        ("id,images,Usage\na,b,Public\nb,c,Test\n", "row 2: Usage 'Test' is not Public, Private or Ignored"),
        ("id,images,Usage\na,b,Public\na,c,Public\n", "id a twice, again in row 2"),
        ("id,images,Usage\na,b c b,Public\n", "row 1: id 'a' has one of its images twice"),
        ("id,images,Usage\na,,Public\n", "row 1: images is empty"),
        ("id,images,Usage\na,b,\n", "row 1: Usage is empty"),
        ("id,images,Usage\na,b,Public,x\n", "cannot be read as CSV"),
    ],
)
def test_a_bad_retrieval_solution_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read_retrieval_ground_truth(written(tmp_path, text))
    assert "solution.csv" in str(refused.value)


def test_a_landmark_that_is_no_number_is_refused_without_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="landmark 'tower' of query b is not a whole number"):
        read_recognition_ground_truth(written(tmp_path, "id,landmarks,Usage\na,1,Public\nb,2 tower,Public\n"))


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.csv does not exist"):
        read_retrieval_ground_truth(tmp_path / "nothing.csv")
