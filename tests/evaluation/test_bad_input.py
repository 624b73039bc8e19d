"""Files that `landmark-dag evaluate` cannot use: each ends with one sentence on stderr and status 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from landmark_dag.cli.main import main

ROOT = Path(__file__).parents[2]
GOOD = {
    "retrieval": {"ranking": "id,images\nq,a b\n", "ground-truth": "id,images,Usage\nq,a,Public\np,None,Ignored\n"},
    "recognition": {"predictions": "id,landmarks\nq,7 0.5\n", "ground-truth": "id,landmarks,Usage\nq,7,Public\n"},
}
RANKING = "query_id,rank,index_id,similarity,reason\n"
VOTES = "image_id,landmark_id,confidence\n"


def arguments(command: str) -> list[str]:
    return ["evaluate", command, *(word for name in GOOD[command] for word in (f"--{name}", f"{name}.csv"))]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("command", "file", "text", "message"),
    [
        ("retrieval", "ranking", "id,image\nq,a\n", "ranking.csv has the columns id,image; they must be"),
        ("retrieval", "ranking", "q,a b\n", "ranking.csv has the columns q,a b; they must be"),
        ("retrieval", "ranking", "", "ranking.csv is empty"),
        ("retrieval", "ranking", "id,images\nq,a\nq,b\n", "ranking.csv has id q twice, again in row 2"),
        ("retrieval", "ranking", "id,images\np,b\nq,a b a\n", "ranking.csv, row 2: id 'q' lists a photo twice"),
        ("retrieval", "ranking", "id,images\nz,a\n", "does not know query z"),
        ("retrieval", "ranking", f"{RANKING}q,1,a,NaN,x\n", "ranking.csv, row 1: similarity 'NaN' is not a number"),
        ("retrieval", "ranking", f"{RANKING}q,1,a,inf,x\n", "ranking.csv, row 1: similarity 'inf' is not a number"),
        ("retrieval", "ranking", f"{RANKING}q,1,a,,x\nq,1,b,,x\n", "breaks the query's ranks"),
        ("retrieval", "ranking", f"{RANKING}q,1,a,,x\nq,2,a,,x\n", "query_id q index_id a twice, again in row 2"),
        ("retrieval", "ranking", "id,images\nq,a,b\n", "ranking.csv cannot be read as CSV"),
        ("retrieval", "ground-truth", "id,images\nq,a\n", "ground-truth.csv has the columns id,images; they must be"),
        ("retrieval", "ground-truth", "", "ground-truth.csv is empty"),
        ("retrieval", "ground-truth", "id,images,Usage\nq,a,public\n", "row 1: Usage 'public' is not Public, Private"),
        ("retrieval", "ground-truth", "id,images,Usage\nq,a,\n", "row 1: Usage is empty"),
        ("retrieval", "ground-truth", "id,images,Usage\nq,,Public\n", "row 1: images is empty"),
        ("retrieval", "ground-truth", "id,images,Usage\nq,a a,Public\n", "has one of its images twice"),
        ("retrieval", "ground-truth", "id,images,Usage\nq,a,Public\nq,b,Public\n", "has id q twice, again in row 2"),
        ("recognition", "predictions", "id,landmark\nq,7\n", "predictions.csv has the columns id,landmark"),
        ("recognition", "predictions", "", "predictions.csv is empty"),
        ("recognition", "predictions", "id,landmarks\nq,7 nan\n", "the landmarks of q are '7 nan'"),
        ("recognition", "predictions", "id,landmarks\nq,7 0.5\nq,8 0.5\n", "has id q twice, again in row 2"),
        ("recognition", "predictions", f"{VOTES}q,7,NaN\n", "row 1: confidence 'NaN' is not a number"),
        ("recognition", "ground-truth", "id,landmarks\nq,7\n", "ground-truth.csv has the columns id,landmarks"),
        ("recognition", "ground-truth", "id,landmarks,Usage\nq,mill,Public\n", "'mill' of query q is not a whole"),
    ],
)
def test_a_bad_file_is_one_sentence(
    command: str, file: str, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, good in GOOD[command].items():
        Path(f"{name}.csv").write_text(text if name == file else good)
    with pytest.raises(SystemExit) as left:
        main([*arguments(command), "--json"])
    captured = capsys.readouterr()
    assert left.value.code == 2
    assert message in captured.err
    assert (captured.err.count("\n"), captured.out) == (1, "")


def test_the_good_files_are_good(capsys: pytest.CaptureFixture[str]) -> None:
    for command, texts in GOOD.items():
        for name, good in texts.items():
            Path(f"{name}.csv").write_text(good)
        with pytest.raises(SystemExit) as left:
            main(arguments(command))
        assert left.value.code == 0 and "100.00" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "file"),
    [("retrieval", "ranking"), ("retrieval", "ground-truth"), ("recognition", "predictions")],
)
def test_a_line_of_two_gigabytes_is_one_sentence_in_little_memory(command: str, file: str) -> None:
    for name, good in GOOD[command].items():
        Path(f"{name}.csv").write_text(good)
    with Path(f"{file}.csv").open("r+b") as long:
        long.seek(0, os.SEEK_END)
        long.truncate(2**31)
    # The peak of Linux's /proc is the process's own; getrusage would tell that of the process it was forked from.
    code = (
        "import sys\nfrom pathlib import Path\nfrom landmark_dag.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments(command)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 2
    assert f"{file}.csv, line" in done.stderr and "longer than 64 MiB" in done.stderr
    assert done.stderr.count("\n") == 1
    assert int(done.stdout) < 600_000  # KiB
