"""`landmark-dag rerank` as a process: bad files end in one sentence with file, row and value, status 2, no output."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

COMMAND = [sys.executable, "-c", "from landmark_dag.cli.main import main; main()", "rerank"]
NEIGHBOURS = {"query_id": ["q1", "q1", "q2"], "index_id": ["b", "a", "c"], "similarity": [0.5, 0.9, 0.1]}
VOTES = {
    "q": {"image_id": ["q2", "q1"], "landmark_id": [2, 1], "confidence": [0.1, 0.4]},
    "i": {"image_id": ["a", "b", "c"], "landmark_id": [2, 1, 2], "confidence": [0.5, 0.3, 0.5]},
}


def rerank(folder: Path, extension: str, **changed: dict[str, list]) -> subprocess.CompletedProcess[str]:
    for name, content in {"n": NEIGHBOURS, **VOTES, **changed}.items():
        frame = pl.DataFrame(content)
        path = folder / f"{name}.{extension}"
        frame.write_csv(path) if extension == "csv" else frame.write_parquet(path)
    options = zip(("neighbours", "query-votes", "index-votes", "out"), ("n", "q", "i", "out"), strict=True)
    arguments = [f"--{option}={name}.{extension}" for option, name in options]
    return subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_good_files_are_re_ranked(tmp_path: Path) -> None:
    done = rerank(tmp_path, "csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert pl.read_csv(tmp_path / "out.csv")["index_id"].to_list() == ["b", "a", "c"]


RANKED = {"query_id": ["q1", "q1"], "index_id": ["b", "a"], "similarity": [0.5, 0.9]}


@pytest.mark.parametrize(
    ("extension", "changed", "sentence"),
    [
        (
            "csv",
            {"n": NEIGHBOURS | {"index_id": ["b", "a", "zz"]}},
            "n.csv, row 3: index_id 'zz' is not in i.csv; add it there.",
        ),
        (
            "parquet",
            {"n": NEIGHBOURS | {"query_id": ["q1", "q9", "q2"]}},
            "n.parquet, row 2: query_id 'q9' is not in q.parquet; add it there.",
        ),
        (
            "parquet",
            {"i": VOTES["i"] | {"confidence": [0.5, float("nan"), 0.5]}},
            "i.parquet, row 2: confidence nan is not a number.",
        ),
        (
            "csv",
            {"n": NEIGHBOURS | {"query_id": ["q1"] * 3, "index_id": ["b", "a", "b"]}},
            "n.csv has query_id q1 index_id b twice, again in row 3; keep one of the two.",
        ),
        ("csv", {"n": RANKED | {"rank": [3, 1]}}, "n.csv, row 1: rank 3 breaks the query's ranks 1, 2, 3 ...."),
        (
            "csv",
            {"n": RANKED | {"rank": [1, 2]}},
            "n.csv, row 2: rank 2 of query q1 has similarity 0.9, more than the rank before; "
            "sort the ranks or leave them out.",
        ),
        (
            "csv",
            {"q": VOTES["q"] | {"score": [1, 2]}},
            "q.csv has the columns image_id,landmark_id,confidence,score; "
            "they must be image_id,landmark_id,confidence.",
        ),
    ],
    ids=["index id without vote", "query without vote", "NaN", "pair twice", "rank gap", "rising", "unknown column"],
)
def test_a_bad_file_ends_in_one_sentence(tmp_path: Path, extension: str, changed: dict, sentence: str) -> None:
    done = rerank(tmp_path, extension, **changed)
    assert (done.returncode, done.stdout, done.stderr.splitlines()) == (2, "", [sentence])
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["i", "n", "q"]
