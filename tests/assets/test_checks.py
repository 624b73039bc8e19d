"""Checks through Dagster: sound outputs pass, damage fails, and worse metrics block what follows."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from assets import checks
from landmark_dag.orchestration.partitions import SHARDS
from landmark_dag.storage.embeddings import Embeddings, write_embeddings
from landmark_dag.storage.parquet_tables import write_table
from landmark_dag.storage.schemas import (
    CLEANED_DATASET,
    LABELS,
    MANIFEST,
    NEIGHBOURS,
    RANKING,
    RETRIEVAL_METRICS,
    VOTES,
    Table,
)
from resources.store import Store


class World:
    """A store of one shard a split, small and sound."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.store, self.instance = Store(root=str(root)), instance
        ids = {split: [f"{split}{number}" for number in range(3)] for split in ("train", "index", "query")}
        for split, photos in ids.items():
            instance.add_dynamic_partitions(SHARDS[split].name, ["0000"])
            self.write(f"{split}/photos", MANIFEST, [(name, "/p", 0, 1, 4, 3, f"bytes of {name}") for name in photos])
            self.embed(split, np.eye(3))
        self.write("train/labels", LABELS, [(name, 7, "tower") for name in ids["train"]], "")
        self.write("cleaned_dataset", CLEANED_DATASET, [(name, 7, 0) for name in ids["train"]], "")
        lists = [(q, rank, f"index{rank - 1}", 1 - rank / 10) for q in ids["query"] for rank in (1, 2, 3)]
        self.write("knn_graph", NEIGHBOURS, lists)
        for split in ("index", "query"):
            self.write(f"{split}/votes", VOTES, [(name, 7, 0.5) for name in ids[split]])
        for ranking in ("sorted_ranking", "inserted_ranking"):
            self.write(ranking, RANKING, [(*row, "retrieved") for row in lists])
        self.metrics(50.0, 60.0, 70.0)

    def write(self, asset: str, table: Table, rows: list[tuple], shard: str = "0000", version: str = "1") -> None:
        frame = pl.DataFrame(rows, schema=table.schema, orient="row")
        write_table(self.store.path(asset, shard), table, frame, version)

    def embed(self, split: str, vectors: np.ndarray) -> None:
        ids = [f"{split}{number}" for number in range(len(vectors))]
        path = self.store.path(f"{split}/embeddings", "0000")
        write_embeddings(path, Embeddings(ids, vectors.astype(np.float16), "m"), "1")

    def metrics(self, *values: float) -> None:
        rows = []
        for step, value in zip(("knn", "sorted", "inserted"), values, strict=True):
            others = [0.0] * (len(RETRIEVAL_METRICS.columns) - 4)
            rows.append((step, "all", value, *others, 3))
        self.write("retrieval_metrics", RETRIEVAL_METRICS, rows, "")

    def outcome(self, check: dg.AssetChecksDefinition) -> tuple[bool, str]:
        result = dg.materialize(
            [check],
            instance=self.instance,
            resources={"store": self.store},
            selection=dg.AssetSelection.checks(check),
            raise_on_error=False,
        )
        (evaluation,) = result.get_asset_check_evaluations()
        return evaluation.passed, evaluation.metadata["what"].value


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with dg.instance_for_test() as instance:
        yield World(tmp_path / "store", instance)


ALL = [value for value in vars(checks).values() if isinstance(value, dg.AssetChecksDefinition)]


def test_sound_outputs_pass_every_check(world: World) -> None:
    assert len(ALL) == 12
    assert {check.check_key.to_user_string(): world.outcome(check) for check in ALL} == {
        check.check_key.to_user_string(): (True, "nothing") for check in ALL
    }


def test_a_query_that_lies_in_the_index_too_is_named(world: World) -> None:
    world.write("query/photos", MANIFEST, [("query0", "/q", 0, 1, 4, 3, "bytes of index2")])
    assert world.outcome(checks.query_photos_are_only_queries) == (
        False,
        "Query query0 is also in index, as index2.",
    )


def test_a_damaged_shard_is_named(world: World) -> None:
    world.embed("index", 2 * np.eye(3))
    passed, what = world.outcome(checks.index_embeddings_sound)
    assert not passed and what.startswith("Shard 0000: 3 embeddings do not have length 1, such as that of index0")
    world.write("inserted_ranking", RANKING, [("query0", 1, "elsewhere", 0.4, "retrieved")])
    passed, what = world.outcome(checks.inserted_ranking_sound)
    assert not passed and "elsewhere, which is not an index photo" in what and "no list, such as query1" in what


def test_metrics_are_held_against_the_last_run_on_the_same_photos_that_passed(world: World) -> None:
    check = checks.metrics_no_worse_than_before
    assert world.outcome(check) == (True, "nothing")
    world.metrics(50.0, 60.0, 65.0)
    for _ in range(2):  # a run that failed is not what the next is compared with
        passed, what = world.outcome(check)
        assert not passed and what == "mAP@100 (inserted) is 65.0; the last good run had 70.0."
    world.metrics(50.0, 60.0, 69.5)
    assert world.outcome(check)[0]
    world.metrics(40.0, 41.0, 42.0)
    world.write("index/photos", MANIFEST, [("index0", "/p", 0, 1, 4, 3, "bytes of index0")], version="2")
    assert world.outcome(check)[0]


def test_a_step_that_loses_is_a_warning(world: World) -> None:
    world.metrics(50.0, 45.0, 46.0)
    passed, what = world.outcome(checks.metrics_steps_gain)
    assert not passed and what == "mAP@100 falls from 50.0 (knn) to 45.0 (sorted)."
