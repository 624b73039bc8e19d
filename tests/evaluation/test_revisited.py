"""ROxford's and RParis's protocol against the official loop, and their ground truth read without running it."""

import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.cli.main import main
from landmark_dag.errors import InputError
from landmark_dag.evaluation.revisited import (
    PROTOCOLS,
    RevisitedGroundTruth,
    read_revisited_ground_truth,
    revisited_metrics,
    revisited_queries,
)
from landmark_dag.settings.evaluation import BootstrapSettings
from tests.evaluation import oracles

INDEX = [f"photo_{number}" for number in range(20)]
CONTENT = {
    "imlist": ["a", "b", "c", "d"],
    "qimlist": ["q"],
    "gnd": [{"bbx": [1.5, 2, 3, 4], "easy": [0], "hard": [2], "junk": [3]}],
}


def ranking(lists: dict[str, list[str]]) -> pl.DataFrame:
    rows = [(query, rank, photo) for query, photos in lists.items() for rank, photo in enumerate(photos, 1)]
    return pl.DataFrame(rows, schema={"query_id": pl.String, "rank": pl.Int32, "index_id": pl.String}, orient="row")


def ground_truth(kinds: list[list[str]]) -> RevisitedGroundTruth:
    """`kinds` says of every query and photo whether it is easy, hard, junk or neither."""
    photos = {
        kind: [np.flatnonzero([told == kind for told in query]) for query in kinds] for kind in ("easy", "hard", "junk")
    }
    return RevisitedGroundTruth(INDEX, [f"q{number}" for number in range(len(kinds))], photos)


KIND = st.sampled_from(["easy", "hard", "junk", "", ""])


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(KIND, min_size=20, max_size=20), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_every_protocol_is_the_official_loop_over_whole_lists(kinds: list[list[str]], random) -> None:
    truth = ground_truth(kinds)
    orders = [random.sample(range(20), 20) for _ in kinds]
    lists = {f"q{query}": [INDEX[photo] for photo in order] for query, order in enumerate(orders)}
    found = revisited_queries(ranking(lists).sample(fraction=1, shuffle=True, seed=1), truth)
    expected = []
    for protocol, (positive, junk) in PROTOCOLS.items():
        for query, order in enumerate(orders):
            good, bad = ([photo for photo in range(20) if kinds[query][photo] in wanted] for wanted in (positive, junk))
            if good:
                ap, precisions = oracles.revisited(order, good, bad)
                values = [pytest.approx(100 * value) for value in (ap, *precisions)]
                expected.append((protocol, f"q{query}", *values))
    assert found.rows() == expected


def test_what_a_list_leaves_out_is_never_found_and_strangers_are_wrong() -> None:
    truth = ground_truth([["easy", "easy", "junk"] + [""] * 17, ["hard"] + [""] * 19])
    found = revisited_queries(ranking({"q0": ["photo_2", "distractor", "photo_0"]}), truth)
    easy = found.filter(protocol="easy").row(0)
    assert easy == ("easy", "q0", 100 * (0 + 1 / 2) / 2 / 2, 0, 20, 10)
    assert found.filter(protocol="hard").rows() == [("hard", "q1", 0, 0, 0, 0)]


def test_metrics_are_means_over_the_queries_that_count() -> None:
    truth = ground_truth([["easy"] + [""] * 19, ["hard"] + [""] * 19])
    metrics = revisited_metrics(ranking({"q0": INDEX, "q1": INDEX[1:] + INDEX[:1]}), truth, BootstrapSettings())
    means = {row["protocol"]: (row["map"], row["mp_at_1"], row["queries"]) for row in metrics.iter_rows(named=True)}
    last = 100 * (1 / 20) / 2
    assert means == {
        "easy": (100, 100, 1),
        "medium": (pytest.approx((100 + last) / 2), 50, 2),
        "hard": (pytest.approx(last), 0, 1),
    }
    medium = metrics.filter(protocol="medium").row(0, named=True)
    assert (medium["map_low"], medium["map_high"]) == (pytest.approx(last), 100)


@pytest.mark.parametrize(
    ("lists", "message"),
    [({"q0": INDEX, "q7": INDEX}, "does not know query q7"), ({"q0": ["a.jpg", "b.jpg"]}, "none of which is in")],
)
def test_a_ranking_of_other_photos_is_refused(lists: dict[str, list[str]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        revisited_queries(ranking(lists), ground_truth([["easy"] + [""] * 19]))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["lists", "int64", ">i4", "scalars", "columns"])
def test_the_ground_truth_is_read_from_pickles_of_any_protocol_and_from_json(
    tmp_path: Path, protocol: int, kind: str
) -> None:
    def stored(positions: list[int]) -> Any:
        if kind == "lists":
            return positions
        if kind == "scalars":
            return [np.int64(position) for position in positions]
        if kind == "columns":
            return np.asfortranarray(np.array(positions)[:, None])[:, 0]
        return np.array(positions, dtype=kind)

    query = {name: stored(values) if name != "bbx" else values for name, values in CONTENT["gnd"][0].items()}  # type: ignore[index]
    (tmp_path / "gnd.pkl").write_bytes(pickle.dumps({**CONTENT, "gnd": [query]}, protocol))
    (tmp_path / "gnd.json").write_text(json.dumps(CONTENT))
    for name in ("gnd.pkl", "gnd.json"):
        truth = read_revisited_ground_truth(tmp_path / name)
        assert (truth.index_ids, truth.query_ids) == (["a", "b", "c", "d"], ["q"])
        assert {kind: lists[0].tolist() for kind, lists in truth.photos.items()} == {
            "easy": [0],
            "hard": [2],
            "junk": [3],
        }


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch harmed",)


def test_nothing_in_a_pickle_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    harmful = [
        Harmful(),
        OrderedDict(a=1),
        {**CONTENT, "gnd": np.array([Harmful()], dtype=object)},
        np.array(["text"]),
        np.zeros(2, dtype=[("a", "i4")]),
    ]
    for content in harmful:
        Path("gnd.pkl").write_bytes(pickle.dumps(content))
        with pytest.raises(InputError, match=r"gnd\.pkl"):
            read_revisited_ground_truth(Path("gnd.pkl"))
    assert not Path("harmed").exists()


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_damaged_pickle_is_one_sentence(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = {**CONTENT, "gnd": [{**CONTENT["gnd"][0], "easy": np.array([0])}]}  # type: ignore[dict-item]
    whole = bytearray(pickle.dumps(content, data.draw(st.integers(0, 5))))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "gnd.pkl"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        truth = read_revisited_ground_truth(path)
    except InputError as error:
        assert "gnd.pkl" in str(error) and "\n" not in str(error)
    else:
        assert truth.query_ids and set(truth.photos) == {"easy", "hard", "junk"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"imlist": ["a"], "qimlist": ["q"]}, "no ground truth of ROxford or RParis: no 'gnd'"),
        ([], "no ground truth of ROxford"),
        ({**CONTENT, "gnd": []}, "1 queries in qimlist but 0 in gnd"),
        ({**CONTENT, "imlist": ["a", "b"]}, "hard of query q names a photo outside imlist"),
        ({**CONTENT, "imlist": ["a", "a", "c", "d"]}, "a name is listed twice"),
        ({**CONTENT, "gnd": [{"easy": [0.5], "hard": [], "junk": []}]}, "must be lists of positions"),
        ({**CONTENT, "gnd": [{"easy": ["a"], "hard": [], "junk": []}]}, "must be lists of positions"),
    ],
)
def test_another_ground_truth_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    for name, data in (("gnd.pkl", pickle.dumps(content)), ("gnd.json", json.dumps(content).encode())):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=message):
            read_revisited_ground_truth(tmp_path / name)


def test_the_command_prints_each_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gnd.pkl").write_bytes(pickle.dumps(CONTENT, 2))
    Path("r.csv").write_text("id,images\nq,d b a c\n")
    arguments = ["evaluate", "revisited", "--ranking", "r.csv", "--ground-truth", "gnd.pkl"]
    with pytest.raises(SystemExit) as left:
        main([*arguments, "--json"])
    assert left.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["map"] == pytest.approx({"easy": 25, "medium": 100 * (1 / 4 + (1 / 2 + 2 / 3) / 2) / 2, "hard": 25})
    assert told["mp_at_5"] == {"easy": 50, "medium": pytest.approx(200 / 3), "hard": 50}
    assert told["queries"] == {"easy": 1, "medium": 1, "hard": 1}
    Path("gnd.pkl").write_text("nonsense")
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
