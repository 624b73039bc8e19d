"""Trials: registered by a job, each a partition, their results in one table."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.tuning import tuning_results, tuning_trial, tuning_trials
from landmark_dag.errors import InputError
from landmark_dag.photos.manifest import build_manifest
from landmark_dag.storage.parquet_tables import write_table
from landmark_dag.storage.schemas import CLEANED_DATASET, MANIFEST, TUNING_TRIALS
from resources.accelerator import Accelerator
from resources.store import Store
from tests.training.photo_sets import write_photo_set

CONFIG = {
    "network": {"backbone": "test_resnet", "weights": "", "embedding_dim": 8},
    "training": {"square_size": 64, "long_side": 64, "epochs": 1, "batch_size": 8},
    "embedding": {"square_size": 64, "long_side": 64, "scales": [1.0], "smallest_side": 64},
    "tuning": {"held_out": 0.4},
}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("train_shards", ["0000"])
        yield instance


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with the photos and the cleaned dataset of five landmarks."""
    store = Store(root=str(tmp_path / "store"))
    locations, classes = write_photo_set(tmp_path / "photos", landmarks=5, photos=4)
    rows = [(place.image_id, 100 + int(number), int(number)) for place, number in zip(locations, classes, strict=True)]
    cleaned = pl.DataFrame(rows, schema=CLEANED_DATASET.schema, orient="row")
    write_table(store.path("train/photos", "0000"), MANIFEST, build_manifest(locations)[0], "v1")
    write_table(store.path("cleaned_dataset"), CLEANED_DATASET, cleaned, "v1")
    return store


def register(instance: dg.DagsterInstance, **config: Any) -> list[str]:
    tuning_trials.execute_in_process(instance=instance, run_config={"ops": {"register_trials": {"config": config}}})
    return list(instance.get_dynamic_partitions("trials"))


def run(instance: dg.DagsterInstance, store: Store, trial: str) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [tuning_trial],
        instance=instance,
        partition_key=trial,
        resources={"store": store, "accelerator": Accelerator(device="cpu")},
        run_config={"ops": {"tuning__trial": {"config": CONFIG}}},
    )


def collect(instance: dg.DagsterInstance, store: Store) -> dict[str, Any]:
    result = dg.materialize([tuning_results], instance=instance, resources={"store": store})
    return dict(result.asset_materializations_for_node("tuning__results")[0].metadata)


def test_a_grid_is_registered_once_and_draws_join_it(instance: dg.DagsterInstance) -> None:
    choices = {"margin": [0.1, 0.2], "pooling": ["gem", "max"]}
    assert register(instance, choices=choices) == register(instance, choices=choices)
    assert "margin=0.2 pooling=max" in register(instance, choices=choices)
    assert len(register(instance, choices={"epochs": [1, 2, 3, 4]}, random_draws=2)) == 6


def test_choices_that_are_no_setting_are_refused_and_nothing_is_registered(instance: dg.DagsterInstance) -> None:
    with pytest.raises(InputError, match="'colour', which is no setting"):
        register(instance, choices={"colour": ["red", "blue"]})
    with pytest.raises(InputError, match="it must be a number"):
        register(instance, choices={"margin": [0.1, "much"]})
    with pytest.raises(InputError, match="not a list of values"):
        register(instance, choices={"margin": 0.1})
    assert instance.get_dynamic_partitions("trials") == []


def test_each_trial_is_a_partition_and_the_results_are_told_best_first(
    instance: dg.DagsterInstance, store: Store
) -> None:
    trials = register(instance, choices={"margin": [0.0, 0.3], "pooling": ["gem", "max"]})
    versions = set()
    for trial in trials[:3]:
        event = run(instance, store, trial).asset_materializations_for_node("tuning__trial")[0]
        assert event.partition == trial and 0 < event.metadata["map_at_100"].value <= 100
        versions.add(event.metadata["version"].value)
    assert len(versions) == 3
    metadata = collect(instance, store)
    found = store.read("tuning/results", TUNING_TRIALS)
    assert sorted(found["trial"]) == sorted(trials[:3])
    assert found["map_at_100"].to_list() == sorted(found["map_at_100"], reverse=True)
    assert [record.data["trial"] for record in metadata["trials"].records] == found["trial"].to_list()
    assert metadata["not materialized"].value == 1
    assert not list((Path(store.root) / "models").iterdir())


def test_a_trial_that_is_stored_is_not_trained_again_and_the_table_follows_new_ones(
    instance: dg.DagsterInstance, store: Store
) -> None:
    first, second = register(instance, choices={"epochs": [0, 1]})
    run(instance, store, first)
    again = run(instance, store, first).asset_materializations_for_node("tuning__trial")[0]
    assert again.metadata["unchanged"].value is True
    collect(instance, store)
    assert collect(instance, store)["unchanged"].value is True
    run(instance, store, second)
    assert collect(instance, store)["unchanged"].value is False
    assert store.read("tuning/results", TUNING_TRIALS).height == 2


def test_without_any_trial_the_table_is_empty(instance: dg.DagsterInstance, store: Store) -> None:
    metadata = collect(instance, store)
    assert store.read("tuning/results", TUNING_TRIALS).is_empty() and "trials" not in metadata
