"""Trials: registered by a job, each a partition, their results in one table."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.tuning import tuning_results, tuning_trial, tuning_trials
from landmark_dag.errors import InputError
from landmark_dag.photos.manifest import build_manifest
from landmark_dag.storage.schemas import CLEANED_DATASET, MANIFEST, TUNING_TRIALS
from tests.support.worlds import World
from tests.training.photo_sets import write_photo_set

CONFIG = {
    "network": {"backbone": "test_resnet", "weights": "", "embedding_dim": 8},
    "training": {"square_size": 64, "long_side": 64, "epochs": 1, "batch_size": 8},
    "embedding": {"square_size": 64, "long_side": 64, "scales": [1.0], "smallest_side": 64},
    "tuning": {"held_out": 0.4},
}


@pytest.fixture
def world(world: World) -> World:
    """The photos and the cleaned dataset of five landmarks."""
    locations, classes = write_photo_set(world.root / "photos", landmarks=5, photos=4)
    rows = [(place.image_id, 100 + int(number), int(number)) for place, number in zip(locations, classes, strict=True)]
    world.register("train", "0000")
    world.write("train/photos", MANIFEST, build_manifest(locations)[0], "0000")
    world.write("cleaned_dataset", CLEANED_DATASET, rows)
    return world


def register_trials(instance: dg.DagsterInstance, **config: Any) -> list[str]:
    """Run the job that registers trials; return all that are registered."""
    tuning_trials.execute_in_process(instance=instance, run_config={"ops": {"register_trials": {"config": config}}})
    return list(instance.get_dynamic_partitions("trials"))


def run_trial(world: World, trial: str) -> dict[str, Any]:
    return world.reported(tuning_trial, shard=trial, configs={"tuning__trial": CONFIG})


def test_a_grid_is_registered_once_and_random_trials_are_added_to_it(instance: dg.DagsterInstance) -> None:
    choices = {"margin": [0.1, 0.2], "pooling": ["gem", "max"]}
    assert register_trials(instance, choices=choices) == register_trials(instance, choices=choices)
    assert "margin=0.2 pooling=max" in register_trials(instance, choices=choices)
    assert len(register_trials(instance, choices={"epochs": [1, 2, 3, 4]}, random_draws=2)) == 6


def test_choices_that_are_not_settings_are_refused_and_nothing_is_registered(instance: dg.DagsterInstance) -> None:
    with pytest.raises(InputError, match="'colour', which is no setting"):
        register_trials(instance, choices={"colour": ["red", "blue"]})
    with pytest.raises(InputError, match="it must be a number"):
        register_trials(instance, choices={"margin": [0.1, "much"]})
    with pytest.raises(InputError, match="not a list of values"):
        register_trials(instance, choices={"margin": 0.1})
    assert instance.get_dynamic_partitions("trials") == []


def test_each_trial_is_a_partition_and_results_are_listed_best_first(
    world: World, instance: dg.DagsterInstance
) -> None:
    trials = register_trials(instance, choices={"margin": [0.0, 0.3], "pooling": ["gem", "max"]})
    versions = set()
    for trial in trials[:3]:
        result = world.materialize(tuning_trial, shard=trial, configs={"tuning__trial": CONFIG})
        (event,) = result.asset_materializations_for_node("tuning__trial")
        assert event.partition == trial and 0 < event.metadata["map_at_100"].value <= 100
        versions.add(event.metadata["version"].value)
    assert len(versions) == 3
    metadata = world.reported(tuning_results)
    found = world.store.read("tuning/results", TUNING_TRIALS)
    assert sorted(found["trial"]) == sorted(trials[:3])
    assert found["map_at_100"].to_list() == sorted(found["map_at_100"], reverse=True)
    assert [record.data["trial"] for record in metadata["trials"].records] == found["trial"].to_list()
    assert metadata["not materialized"] == 1
    assert not list((Path(world.store.root) / "models").iterdir())


def test_a_stored_trial_is_not_trained_again_and_a_new_one_joins_the_table(
    world: World, instance: dg.DagsterInstance
) -> None:
    first, second = register_trials(instance, choices={"epochs": [0, 1]})
    run_trial(world, first)
    assert run_trial(world, first)["unchanged"] is True
    world.reported(tuning_results)
    assert world.reported(tuning_results)["unchanged"] is True
    run_trial(world, second)
    assert world.reported(tuning_results)["unchanged"] is False
    assert world.store.read("tuning/results", TUNING_TRIALS).height == 2


def test_without_any_trial_the_table_is_empty(world: World) -> None:
    metadata = world.reported(tuning_results)
    assert world.store.read("tuning/results", TUNING_TRIALS).is_empty() and "trials" not in metadata
