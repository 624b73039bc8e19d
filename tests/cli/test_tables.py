"""`vote`, `rerank` and `match` on files of one's own: what they write, print and refuse."""

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.cli.command import status, write
from tests.retrieval import oracles

NEIGHBOURS = "query_id,index_id,similarity\nq1,b,0.5\nq1,a,0.9\nq2,c,0.1\n"
QUERY_VOTES = "image_id,landmark_id,confidence\nq2,2,0.1\nq1,1,0.4\n"
INDEX_VOTES = "image_id,landmark_id,confidence\na,2,0.5\nb,1,0.3\nc,2,0.5\nd,1,0.2\ne,1,0.3\n"
RERANK = "rerank --neighbours n.csv --query-votes q.csv --index-votes i.csv --out out.csv"
VOTE = "vote --neighbours n.csv --labels l.csv --out out.csv"


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


ROWS = {"query_id": ["q1", "q1", "q2"], "index_id": ["b", "a", "c"], "similarity": [0.5, 0.9, 0.1]}
VOTES = {
    "q": {"image_id": ["q2", "q1"], "landmark_id": [2, 1], "confidence": [0.1, 0.4]},
    "i": {"image_id": ["a", "b", "c"], "landmark_id": [2, 1, 2], "confidence": [0.5, 0.3, 0.5]},
}
RANKED = {"query_id": ["q1", "q1"], "index_id": ["b", "a"], "similarity": [0.5, 0.9]}


@pytest.mark.parametrize(
    ("extension", "changed", "sentence"),
    [
        (
            "csv",
            {"n": ROWS | {"index_id": ["b", "a", "zz"]}},
            "n.csv, row 3: index_id 'zz' is not in i.csv; add it there.",
        ),
        (
            "parquet",
            {"n": ROWS | {"query_id": ["q1", "q9", "q2"]}},
            "n.parquet, row 2: query_id 'q9' is not in q.parquet; add it there.",
        ),
        (
            "parquet",
            {"i": VOTES["i"] | {"confidence": [0.5, float("nan"), 0.5]}},
            "i.parquet, row 2: confidence nan is not a number.",
        ),
        (
            "csv",
            {"n": ROWS | {"query_id": ["q1"] * 3, "index_id": ["b", "a", "b"]}},
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
def test_a_bad_file_is_named_with_row_and_remedy(
    extension: str, changed: dict, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in {"n": ROWS, **VOTES, **changed}.items():
        frame = pl.DataFrame(content)
        frame.write_csv(f"{name}.csv") if extension == "csv" else frame.write_parquet(f"{name}.parquet")
    assert status(RERANK.replace(".csv", f".{extension}")) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.splitlines()) == ("", [sentence])
    assert sorted(path.stem for path in Path().iterdir()) == ["i", "n", "q"]


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
