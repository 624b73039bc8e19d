"""Checks through Dagster: sound outputs pass, damage fails, and worse metrics block what follows."""

import dagster as dg
import numpy as np
import pytest

from assets import checks
from landmark_dag.storage.embeddings import Embeddings
from landmark_dag.storage.tables import (
    CLEANED_DATASET,
    LABELS,
    MANIFEST,
    NEIGHBOURS,
    RANKING,
    RETRIEVAL_METRICS,
    VOTES,
)
from tests.support.worlds import World

STEPS = ("knn", "sorted", "inserted")


IDS = {split: [f"{split}{number}" for number in range(3)] for split in ("train", "index", "query")}


@pytest.fixture
def world(world: World) -> World:
    """One small, sound shard of each split, and what follows from them."""
    for split, photos in IDS.items():
        world.register(split, "0000")
        rows = [(name, "/p", 0, 1, 4, 3, f"bytes of {name}") for name in photos]
        world.write(f"{split}/photos", MANIFEST, rows, "0000")
        embed(world, split, np.eye(3))
    world.write("train/labels", LABELS, [(name, 7, "tower") for name in IDS["train"]])
    world.write("cleaned_dataset", CLEANED_DATASET, [(name, 7, 0) for name in IDS["train"]])
    lists = [(q, rank, f"index{rank - 1}", 1 - rank / 10) for q in IDS["query"] for rank in (1, 2, 3)]
    world.write("knn_graph", NEIGHBOURS, lists, "0000")
    for split in ("index", "query"):
        world.write(f"{split}/votes", VOTES, [(name, 7, 0.5) for name in IDS[split]], "0000")
    for ranking in ("sorted_ranking", "inserted_ranking"):
        world.write(ranking, RANKING, [(*row, "retrieved") for row in lists], "0000")
    write_metrics(world, 50.0, 60.0, 70.0)
    return world


def embed(world: World, split: str, vectors: np.ndarray) -> None:
    world.embed(split, Embeddings(IDS[split], vectors.astype(np.float16), "m"))


def write_metrics(world: World, *values: float) -> None:
    """Store the mAP@100 of each step."""
    others = [0.0] * (len(RETRIEVAL_METRICS.columns) - 4)
    rows = [(step, "all", value, *others, 3) for step, value in zip(STEPS, values, strict=True)]
    world.write("retrieval_metrics", RETRIEVAL_METRICS, rows)


def outcome(world: World, check: dg.AssetChecksDefinition) -> tuple[bool, str]:
    """Return whether the check passes, and what it says."""
    result = world.materialize(check, selection=dg.AssetSelection.checks(check), raise_on_error=False)
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation.passed, evaluation.metadata["what"].value


ALL = [value for value in vars(checks).values() if isinstance(value, dg.AssetChecksDefinition)]


def test_correct_outputs_pass_every_check(world: World) -> None:
    assert len(ALL) == 12
    assert {check.check_key.to_user_string(): outcome(world, check) for check in ALL} == {
        check.check_key.to_user_string(): (True, "nothing") for check in ALL
    }


def test_a_query_that_is_also_in_the_index_is_named(world: World) -> None:
    world.write("query/photos", MANIFEST, [("query0", "/q", 0, 1, 4, 3, "bytes of index2")], "0000")
    assert outcome(world, checks.query_photos_are_only_queries) == (
        False,
        "- Query query0 also lies in index, as index2.",
    )


def test_a_damaged_shard_is_named(world: World) -> None:
    embed(world, "index", 2 * np.eye(3))
    passed, what = outcome(world, checks.index_embeddings_sound)
    assert not passed and what.startswith("- Shard 0000: 3 embeddings do not have length 1, such as that of index0")
    world.write("inserted_ranking", RANKING, [("query0", 1, "elsewhere", 0.4, "retrieved")], "0000")
    passed, what = outcome(world, checks.inserted_ranking_sound)
    assert not passed and "query0 has elsewhere, which is" in what and "no list, such as query1" in what


def test_metrics_are_compared_with_the_last_passing_run_on_the_same_photos(world: World) -> None:
    check = checks.metrics_no_worse_than_before
    assert outcome(world, check) == (True, "nothing")
    write_metrics(world, 50.0, 60.0, 65.0)
    for _ in range(2):  # a run that failed is not what the next is compared with
        passed, what = outcome(world, check)
        assert not passed and what == "- mAP@100 (inserted) is 65.0; the last good run had 70.0."
    write_metrics(world, 50.0, 60.0, 69.5)
    assert outcome(world, check)[0]
    write_metrics(world, 40.0, 41.0, 42.0)
    world.write("index/photos", MANIFEST, [("index0", "/p", 0, 1, 4, 3, "bytes of index0")], "0000", version="2")
    assert outcome(world, check)[0]


def test_a_ranking_step_that_lowers_the_metric_gives_a_warning(world: World) -> None:
    write_metrics(world, 50.0, 45.0, 46.0)
    passed, what = outcome(world, checks.metrics_steps_gain)
    assert not passed and what == "- mAP@100 falls from 50.0 (knn) to 45.0 (sorted)."
