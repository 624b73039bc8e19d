"""The rehearsal at 1/2000 of the size: every stage is measured, its results are right, nothing is computed twice."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.rehearsal_stages import STAGES
from landmark_dag.storage.embeddings import concatenate, read_embeddings
from landmark_dag.storage.parquet_tables import read_table
from landmark_dag.storage.schemas import CLEANED_DATASET, RECOGNITION_METRICS, RETRIEVAL_METRICS
from tests.evaluation.oracles import mean_average_precision, micro_average_precision
from tests.retrieval.oracles import insert_step, sort_step, vote
from tests.support.processes import ROOT
from tests.support.stores import modification_times

Nearest = dict[str, list[tuple[float, str]]]


def rehearse(home: Path) -> tuple[list[dict], str]:
    options = ["--share", "0.0005", "--shards", "2", "--together", "--json", "--home", str(home)]
    command = [sys.executable, "-m", "benchmarks.rehearsal", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)["stages"], ended.stderr


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[dict]]]:
    home = tmp_path_factory.mktemp("rehearsal")
    stages, _ = rehearse(home)
    yield home, stages


def nearest(home: Path, split: str, to: str, count: int) -> Nearest:
    """The nearest photos of each photo by a plain product: (similarity, id), ties by id."""
    of_split = {
        name: concatenate([read_embeddings(path) for path in (home / f"0.0005/store/{name}/embeddings").iterdir()])
        for name in (split, to)
    }
    products = (of_split[split].vectors.astype(np.float64) @ of_split[to].vectors.astype(np.float64).T).astype("f4")
    ids = of_split[to].image_ids
    return {
        image_id: sorted(zip(row.tolist(), ids, strict=True), key=lambda found: (-found[0], found[1]))[:count]
        for image_id, row in zip(of_split[split].image_ids, products, strict=True)
    }


def votes(home: Path, split: str) -> dict[str, tuple[int, float]]:
    cleaned = read_table(home / "0.0005/store/cleaned_dataset.parquet", CLEANED_DATASET)
    landmark = dict(cleaned.select("image_id", "landmark_id").iter_rows())
    found = nearest(home, split, "train", 3)
    return {name: vote([(similarity, landmark[i]) for similarity, i in row], 3) for name, row in found.items()}


def solution(home: Path, task: str, column: str) -> dict[str, str | None]:
    (path,) = (home / "0.0005").glob(f"dataset_*/ground_truth/{task}_solution_v2.1.csv")
    frame = pl.read_csv(path, schema_overrides={"landmarks": pl.String}).filter(pl.col("Usage") != "Ignored")
    return dict(frame.select("id", column).iter_rows())


def test_every_stage_is_materialized_and_measured(rehearsed: tuple[Path, list[dict]]) -> None:
    _, stages = rehearsed
    assert [stage["stage"] for stage in stages] == [stage.asset for stage in STAGES]
    assert [stage["computed"] for stage in stages] == [2 if stage.split else 1 for stage in STAGES]
    assert all(stage["peak_mb"] > stage["anonymous_mb"] > 50 and stage["of_floor"] > 0 for stage in stages)
    by_name = {stage["stage"]: stage for stage in stages}
    assert by_name["index/train_neighbours"]["operations"] == 2 * 512 * 381 * 790
    assert by_name["submission"]["operations"] == 0 < by_name["submission"]["bytes_there"]


def test_the_metrics_are_those_of_a_plain_computation(rehearsed: tuple[Path, list[dict]]) -> None:
    home, _ = rehearsed
    store = home / "0.0005/store"
    graph = {query: [i for _, i in row] for query, row in nearest(home, "query", "index", 100).items()}
    of_queries, of_index = votes(home, "query"), votes(home, "index")
    lists = {
        "knn": graph,
        "sorted": {q: [i for i, _ in sort_step(q, row, of_queries, of_index)] for q, row in graph.items()},
        "inserted": {
            q: [i for i, _ in insert_step(q, row, of_queries, of_index, 0.6, 100)] for q, row in graph.items()
        },
    }
    relevant = {q: set(images.split()) for q, images in solution(home, "retrieval", "images").items()}
    metrics = read_table(store / "retrieval_metrics.parquet", RETRIEVAL_METRICS).filter(usage="all")
    stored = dict(metrics.select("step", "map_at_100").iter_rows())
    assert stored == pytest.approx({step: 100 * mean_average_precision(of, relevant) for step, of in lists.items()})
    assert 0 < stored["knn"] < stored["inserted"]
    shown = {
        q: {int(landmark)} if landmark else set() for q, landmark in solution(home, "recognition", "landmarks").items()
    }
    predictions = [(query, landmark, confidence) for query, (landmark, confidence) in of_queries.items()]
    recognition = read_table(store / "recognition_metrics.parquet", RECOGNITION_METRICS).filter(usage="all")
    assert recognition["micro_ap"][0] == pytest.approx(100 * micro_average_precision(predictions, shown))


def test_a_second_rehearsal_computes_nothing_and_reports_the_same(rehearsed: tuple[Path, list[dict]]) -> None:
    home, stages = rehearsed
    before = modification_times(home / "0.0005/store")
    again, printed = rehearse(home)
    assert re.findall(r"computed (\d+) of", printed) == ["0"] * len(STAGES)
    assert again == stages
    assert modification_times(home / "0.0005/store") == before
