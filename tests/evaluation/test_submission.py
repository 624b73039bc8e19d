"""The challenge's files: what is written reads back; what it would refuse is refused here."""

from pathlib import Path

import polars as pl
import pytest

from landmark_dag.errors import InputError
from landmark_dag.evaluation.submission import (
    read_predictions,
    read_ranking,
    write_recognition_submission,
    write_retrieval_submission,
)
from landmark_dag.storage.schemas import RANKING, VOTES
from landmark_dag.storage.user_tables import write_table_file


def ranking(*rows: tuple[str, int, str]) -> pl.DataFrame:
    full = [(*row, None, "inserted") for row in rows]
    return pl.DataFrame(full, schema=RANKING.schema, orient="row")


ROWS = [("0000000000001e10", 1, "x"), ("0000000000001e10", 2, "None"), ("b", 1, "x")]


def test_a_retrieval_submission_has_the_challenge_format_and_reads_back(tmp_path: Path) -> None:
    write_retrieval_submission(tmp_path / "s.csv", ranking(*reversed(ROWS)))
    assert (tmp_path / "s.csv").read_text() == "id,images\n0000000000001e10,x None\nb,x\n"
    assert read_ranking(tmp_path / "s.csv").rows() == ROWS


@pytest.mark.parametrize("name", ["r.csv", "r.parquet"])
def test_a_ranking_file_reads_back(tmp_path: Path, name: str) -> None:
    write_table_file(tmp_path / name, ranking(*ROWS))
    assert read_ranking(tmp_path / name).rows() == ROWS


def test_a_query_without_images_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text('id,images\na,\nb,x y\nc,""\n')
    assert read_ranking(tmp_path / "s.csv").rows() == [("b", 1, "x"), ("b", 2, "y")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", 1, "x"), ("a", 2, "x")], "query_id a index_id x twice"),
        ([("a", rank, f"i{rank}") for rank in range(1, 102)], "Query a lists 101 photos"),
        ([("a", 1, "x y")], "Id 'x y' holds a space"),
        ([("a,b", 1, "x")], "Id 'a,b' holds a space, comma"),
    ],
)
def test_what_the_challenge_refuses_is_not_written(tmp_path: Path, rows: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_retrieval_submission(tmp_path / "s.csv", ranking(*rows))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,image\na,x\n", "has the columns id,image; they must be query_id,rank,"),
        ("id,images\na,x\na,y\n", "id a twice, again in row 2"),
        ("id,images\nb,y\na,x z x\n", "row 2: id 'a' lists a photo twice"),
        (
            "query_id,rank,index_id,similarity,reason\na,1,x,,inserted\na,3,y,,inserted\n",
            "row 2: rank 3 breaks the query's ranks",
        ),
        ("query_id,rank,index_id,similarity,reason\na,one,x,,inserted\n", "row 1: rank 'one' is not a whole"),
    ],
)
def test_a_bad_ranking_is_refused_by_row(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_ranking(tmp_path / "s.csv")


def votes(*rows: tuple[str, int, float]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=VOTES.schema, orient="row")


def test_a_recognition_submission_reads_back(tmp_path: Path) -> None:
    write_recognition_submission(tmp_path / "s.csv", votes(("b", 3, 0.25), ("a", 12, 0.1)))
    assert (tmp_path / "s.csv").read_text() == "id,landmarks\na,12 0.1\nb,3 0.25\n"
    frame, names = read_predictions(tmp_path / "s.csv")
    assert (frame.rows(), names) == ([("a", 12, 0.1), ("b", 3, 0.25)], None)


def test_landmarks_may_go_by_names_with_spaces(tmp_path: Path) -> None:
    named = {3: "Notre Dame", 12: "arc"}
    write_recognition_submission(tmp_path / "s.csv", votes(("b", 3, 0.25), ("a", 12, 0.5)), named)
    frame, names = read_predictions(tmp_path / "s.csv")
    assert names == {"Notre Dame": 0, "arc": 1}
    assert frame.rows() == [("a", 1, 0.5), ("b", 0, 0.25)]


def test_scores_keep_the_precision_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("image_id,landmark_id,confidence\na,1,0.10000000001\nb,1,0.1\n")
    assert read_predictions(tmp_path / "v.csv")[0]["confidence"].to_list() == [0.10000000001, 0.1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,landmarks\na,12\n", "the landmarks of a are '12', not a landmark and its score"),
        ("id,landmarks\na,12 nan\n", "the landmarks of a are '12 nan'"),
        ("id,landmarks\na,1 0.5\na,2 0.5\n", "id a twice"),
        ("image_id,landmark_id,confidence\na,1,NaN\n", "row 1: confidence 'NaN' is not a number"),
        ("image_id,landmark_id,confidence\na,1,0.5\na,2,0.5\n", "image_id a twice, again in row 2"),
    ],
)
def test_bad_predictions_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_predictions(tmp_path / "s.csv")
