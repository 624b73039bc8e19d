"""The `landmark-dag` command on files of one's own: what it writes, prints and refuses."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from landmark_dag.cli.main import main
from tests.retrieval import oracles

NEIGHBOURS = "query_id,index_id,similarity\nq1,b,0.5\nq1,a,0.9\nq2,c,0.1\n"
QUERY_VOTES = "image_id,landmark_id,confidence\nq2,2,0.1\nq1,1,0.4\n"
INDEX_VOTES = "image_id,landmark_id,confidence\na,2,0.5\nb,1,0.3\nc,2,0.5\nd,1,0.2\ne,1,0.3\n"
RERANK = "rerank --neighbours n.csv --query-votes q.csv --index-votes i.csv --out out.csv"
VOTE = "vote --neighbours n.csv --labels l.csv --out out.csv"
RETRIEVAL = "evaluate retrieval --ranking r.csv --ground-truth g.csv"
RECOGNITION = "evaluate recognition --predictions p.csv --ground-truth g.csv"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(**files: str) -> None:
    for name, text in files.items():
        Path(f"{name}.csv").write_text(text, encoding="utf-8")


def status(arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments.split())
    return int(left.value.code or 0)


def test_rerank_sorts_and_inserts(capsys: pytest.CaptureFixture[str]) -> None:
    write(n=NEIGHBOURS, q=QUERY_VOTES, i=INDEX_VOTES)
    assert status(f"{RERANK} --json") == 0
    assert Path("out.csv").read_text() == (
        "query_id,rank,index_id,similarity,reason\n"
        "q1,1,b,0.5,same landmark\nq1,2,e,,inserted\nq1,3,a,0.9,retrieved\nq2,1,c,0.1,same landmark\n"
    )
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out) == {
        "queries": 2,
        "rows": 4,
        "inserted": 1,
        "retrieved": 1,
        "same landmark": 2,
        "out": "out.csv",
    }


def test_rerank_stops_after_the_sort_step_and_cuts_at_the_limit() -> None:
    write(n=NEIGHBOURS, q=QUERY_VOTES, i=INDEX_VOTES)
    assert status(f"{RERANK} --step sort --limit 1") == 0
    assert pl.read_csv("out.csv")["index_id"].to_list() == ["b", "c"]


def test_rerank_takes_a_stored_graph_with_ranks() -> None:
    graph = "query_id,rank,index_id,similarity\nq1,2,b,0.5\nq1,1,a,0.5\n"
    write(n=graph, q=QUERY_VOTES, i=INDEX_VOTES)
    assert status(f"{RERANK} --threshold 9") == 0
    assert pl.read_csv("out.csv")["index_id"].to_list() == ["b", "a"]


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[tuple[str, str], float], oracles.Votes, oracles.Votes]:
    ids = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=3)
    queries = draw(st.lists(ids, unique=True, min_size=1, max_size=3))
    index = draw(st.lists(ids, unique=True, min_size=1, max_size=6))
    values = st.tuples(st.integers(0, 2), st.sampled_from([0.1, 0.3, 0.5]))
    pairs = st.dictionaries(
        st.tuples(st.sampled_from(queries), st.sampled_from(index)), st.sampled_from([0.25, 0.5, 0.75])
    )
    return draw(pairs), {q: draw(values) for q in queries}, {i: draw(values) for i in index}


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases(), st.sampled_from(["csv", "parquet"]), st.integers(0, 9))
def test_rerank_is_the_oracle_from_files_of_any_ids_in_any_order(case, extension: str, seed: int) -> None:
    pairs, query_votes, index_votes = case
    votes = {"image_id": pl.String, "landmark_id": pl.Int64, "confidence": pl.Float32}
    rows = {
        "n": (
            [(*pair, value) for pair, value in pairs.items()],
            {"query_id": pl.String, "index_id": pl.String, "similarity": pl.Float32},
        ),
        "q": ([(i, *vote) for i, vote in query_votes.items()], votes),
        "i": ([(i, *vote) for i, vote in index_votes.items()], votes),
    }
    for name, (values, schema) in rows.items():
        frame = pl.DataFrame(values, schema=schema, orient="row").sample(fraction=1, shuffle=True, seed=seed)
        frame.write_csv(f"{name}.csv") if extension == "csv" else frame.write_parquet(f"{name}.parquet")
    assert status(f"{RERANK} --json".replace(".csv", f".{extension}")) == 0
    read = pl.read_csv("out.csv", infer_schema=False) if extension == "csv" else pl.read_parquet("out.parquet")
    expected = []
    for query in sorted({query for query, _ in pairs}):
        retrieved = sorted((-value, i) for (q, i), value in pairs.items() if q == query)
        listed = oracles.insert_step(query, [i for _, i in retrieved], query_votes, index_votes, 0.6, 100)
        expected += [(query, str(rank), *row) for rank, row in enumerate(listed, start=1)]
    assert read.select("query_id", pl.col("rank").cast(pl.String), "index_id", "reason").rows() == expected


def test_vote_writes_landmark_and_confidence(capsys: pytest.CaptureFixture[str]) -> None:
    write(
        n="image_id,train_id,similarity\nb,t1,0.5\na,t1,0.25\na,t2,0.5\na,t3,0.25\n",
        l="image_id,landmark_id\nt1,7\nt2,8\nt3,7\n",
    )
    assert status(f"{VOTE} --k 2 --json") == 0
    assert Path("out.csv").read_text() == "image_id,landmark_id,confidence\na,8,0.25\nb,7,0.25\n"
    summary = json.loads(capsys.readouterr().out)
    assert summary == {"photos": 2, "landmarks": 2, "mean_confidence": 0.25, "out": "out.csv"}


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
    ("files", "message"),
    [
        ({"n": "query_id,index_id,similarity\nq1,a,0.5\nq1,zz,0.4\n"}, "n.csv, row 2: index_id 'zz' is not in i.csv"),
        ({"n": "query_id,index_id,similarity\nzz,a,0.5\n"}, "n.csv, row 1: query_id 'zz' is not in q.csv"),
        ({"i": INDEX_VOTES + "f,1,NaN\n"}, "i.csv, row 6: confidence 'NaN' is not a number"),
        ({"i": INDEX_VOTES + "a,1,0.5\n"}, "i.csv has image_id a twice, again in row 6"),
        ({"i": INDEX_VOTES + "f,1.5,0.5\n"}, "i.csv, row 6: landmark_id '1.5' is not a whole number"),
        ({"n": NEIGHBOURS + "q1,a,0.2\n"}, "n.csv has query_id q1 index_id a twice, again in row 4"),
        ({"n": NEIGHBOURS + "q1,c,\n"}, "n.csv, row 4: similarity is empty"),
        ({"n": NEIGHBOURS + "q1,c,high\n"}, "n.csv, row 4: similarity 'high' is not a number"),
        ({"n": "query_id,index_id,score\nq1,a,0.5\n"}, "n.csv has the columns query_id,index_id,score"),
        ({"n": "query_id,index_id,similarity,x\nq1,a,0.5,1\n"}, "n.csv has the columns query_id,index_id,similarity,x"),
        ({"n": "query_id,rank,index_id,similarity\nq1,1,b,0.5\nq1,2,a,0.6\n"}, "n.csv, row 2: rank 2 of query q1"),
        ({"n": "query_id,rank,index_id,similarity\nq1,2,b,0.5\n"}, "n.csv, row 1: rank 2 breaks"),
        ({"n": ""}, "n.csv is empty"),
        ({"n": "query_id,index_id,similarity\nq1,a,0.5,7,7\n"}, "n.csv cannot be read as CSV"),
    ],
)
def test_bad_input_to_rerank_is_one_sentence_and_nothing_is_written(
    files: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(**{"n": NEIGHBOURS, "q": QUERY_VOTES, "i": INDEX_VOTES, **files})
    assert status(RERANK) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(path.name for path in Path().iterdir()) == ["i.csv", "n.csv", "q.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (f"{RERANK} --limit 0", "'--limit'"),
        (f"{RERANK} --threshold nan", "threshold is nan"),
        (f"{RERANK} --step both", "'--step'"),
        (RERANK.replace("out.csv", "out.txt"), "extension .txt"),
        (RERANK.replace("out.csv", "no/out.csv"), "folder no of out.csv does not exist"),
        (RERANK.replace("n.csv", "none.csv"), "none.csv does not exist"),
        ("rerank --out out.csv", "Missing option '--neighbours'"),
        (f"{VOTE} --k 0", "'--k'"),
        ("nonsense", "No such command 'nonsense'"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(n=NEIGHBOURS, q=QUERY_VOTES, i=INDEX_VOTES)
    assert status(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not list(Path().glob("*out*"))


def test_an_unlabelled_train_photo_is_refused_by_row(capsys: pytest.CaptureFixture[str]) -> None:
    write(n="image_id,train_id,similarity\nb,t1,0.5\nb,t9,0.5\n", l="image_id,landmark_id\nt1,7\n")
    assert status(VOTE) == 2
    assert "n.csv, row 2: train_id 't9' is not in l.csv" in capsys.readouterr().err


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


def test_the_help_loads_nothing_heavy() -> None:
    check = (
        "import sys\nfrom landmark_dag.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'polars', 'numpy', 'numba', 'dagster', 'rich', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", check], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "rerank" in done.stdout


def test_match_counts_inliers_and_draws_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = Image.effect_noise((320, 240), 120).resize((160, 120)).resize((320, 240))
    noise.save(folder / "a.png")
    noise.rotate(5).save(folder / "b.png")
    assert status("match a.png b.png --picture out.png --json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["inliers"] > 30
    assert Image.open(told["picture"]).size[0] > 640


def test_match_names_the_file_that_is_no_photo(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.jpg").write_text("text")
    assert status("match a.jpg missing.jpg --picture out.png") == 2
    assert "a.jpg" in capsys.readouterr().err
    assert not (folder / "out.png").exists()


def test_a_run_of_settings_only_tells_the_store_and_computes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LANDMARK_HOME", "DAGSTER_HOME", "LANDMARK_STORE"):
        monkeypatch.setenv(name, "")
    for split in ("train/tower", "index", "query"):
        (folder / "photos" / split).mkdir(parents=True)
        (folder / "photos" / split / "a.jpg").write_bytes(b"not looked at")
    (folder / "shared").mkdir()
    store = f"file://{folder}/shared"
    assert status(f"run --photos photos --home home --store {store} --settings-only --json") == 0
    assert json.loads(capsys.readouterr().out) == {"home": str(folder / "home"), "store": store}
    assert json.loads((folder / "shared/settings.json").read_text())["photos"] == str(folder / "photos")
    assert [path.name for path in (folder / "shared").iterdir()] == ["settings.json"]
