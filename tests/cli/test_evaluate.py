"""`evaluate`: what it prints for each group of queries, and what it refuses."""

import json

import pytest

from tests.cli.command import status, write

RETRIEVAL = "evaluate retrieval --ranking r.csv --ground-truth g.csv"
RECOGNITION = "evaluate recognition --predictions p.csv --ground-truth g.csv"


def test_evaluate_retrieval_prints_each_usage(capsys: pytest.CaptureFixture[str]) -> None:
    write(r="id,images\nq1,a b\nq9,a\n", g="id,images,Usage\nq1,b,Public\nq2,a,Public\nq9,None,Ignored\n")
    assert status(f"{RETRIEVAL} --json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["map_at_100"] == {"Public": 25.0, "Private": None, "all": 25.0}
    assert told["map_at_100_interval"] == {"Public": [0.0, 50.0], "all": [0.0, 50.0]}
    assert told["precision_at_10"] == {"Public": 5.0, "Private": None, "all": 5.0}
    assert told["recall_at_10"] == {"Public": 50.0, "Private": None, "all": 50.0}
    assert told["queries"] == {"Public": 2, "Private": 0, "all": 2}
    assert status(RETRIEVAL) == 0
    table = capsys.readouterr().out
    assert "Public" in table
    assert "25.00 (0.0 to 50.0)" in table


def test_evaluate_recognition_takes_numbers_and_names(capsys: pytest.CaptureFixture[str]) -> None:
    expected = {
        "micro_ap": {"Public": 50.0, "Private": 0.0, "all": 25.0},
        "accuracy": {"Public": 100.0, "Private": 0.0, "all": 50.0},
        "queries": {"Public": 2, "Private": 1, "all": 3},
    }
    write(
        p="image_id,landmark_id,confidence\na,1,0.5\nb,1,0.9\n",
        g="id,landmarks,Usage\na,1,Public\nb,,Public\nc,2,Private\n",
    )
    assert status(f"{RECOGNITION} --json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: told[name] for name in expected} == expected
    assert told["accuracy_interval"] == {"Public": [100.0, 100.0], "Private": [0.0, 0.0], "all": [0.0, 100.0]}
    write(
        p="id,landmarks\na,old mill 0.5\nb,old mill 0.9\n",
        g="id,landmarks,Usage\na,old mill,Public\nb,,Public\nc,gate,Private\n",
    )
    assert status(f"{RECOGNITION} --json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: told[name] for name in expected} == expected
    assert told["accuracy_interval"] == {"Public": [100.0, 100.0], "Private": [0.0, 0.0], "all": [0.0, 100.0]}


@pytest.mark.parametrize(
    ("ranking", "message"),
    [
        ("id,images\nq1,a\nq1,b\n", "r.csv has id q1 twice"),
        ("id,images\nq1,a a\n", "r.csv, row 1: id 'q1' lists a photo twice"),
        ("id,images\nq7,a\n", "does not know query q7"),
        ("query,images\nq1,a\n", "r.csv has the columns query,images"),
        ("", "r.csv is empty"),
    ],
)
def test_a_bad_ranking_to_evaluate_is_one_sentence(
    ranking: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(r=ranking, g="id,images,Usage\nq1,b,Public\n")
    assert status(f"{RETRIEVAL} --json") == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert (captured.err.count("\n"), captured.out) == (1, "")
