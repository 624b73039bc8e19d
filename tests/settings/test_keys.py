"""Settings by key: every one is found, read from assignments, and put in the place of a profile's."""

from typing import Any

import pytest

from landmark_dag.errors import InputError
from landmark_dag.settings.keys import all_definitions, assigned, definition_of, flattened, value_of, with_values
from landmark_dag.settings.photos import Gldv2Settings
from landmark_dag.settings.profiles import PROFILES, Profile


def test_every_setting_of_a_profile_has_a_value_by_its_key() -> None:
    profile = Profile()
    values = {key: value_of(profile, key) for key in all_definitions() if key not in ("photos", "profile", "store")}
    assert {"photos_per_shard", "training.epochs", "comparison.expansion.alpha", "reindex.cron"} <= values.keys()
    assert with_values(PROFILES["demo"], values) == with_values(profile, {"name": "demo"})


def test_a_setting_has_one_key() -> None:
    assert not [key for key in all_definitions() if key.startswith(("comparison.votes", "comparison.insert"))]
    assert "name" not in all_definitions() and "dataset.base_url" not in all_definitions()


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("training.epoch", "did you mean training.epochs or"),
        ("epochs", "did you mean training.epochs?"),
        ("training.k", "did you mean votes.k or recognition.k?"),
        ("training", "did you mean training.NAME, such as training.trainable?"),
        ("colour", "`landmark-dag settings` lists all."),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(key: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"There is no setting {key}; ") as refused:
        definition_of(key)
    assert hint in str(refused.value)


def test_assignments_are_read_by_the_type_of_their_setting() -> None:
    values = assigned(
        ["insert.threshold=1", "embedding.scales=0.75,1", "network.weights=hub", "votes.k=3", "votes.k=5"]
    )
    assert values == {
        "insert.threshold": 1.0,
        "embedding.scales": (0.75, 1.0),
        "network.weights": "hub",
        "votes.k": 5,
    }


def test_relative_paths_become_absolute_and_urls_stay(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["network.weights=w.pth", "photos=s3://bucket/photos", "store=results", "ensemble.folders=a,/b"]
    assert assigned(given) == {
        "network.weights": f"{tmp_path}/w.pth",
        "photos": "s3://bucket/photos",
        "store": f"{tmp_path}/results",
        "ensemble.folders": (f"{tmp_path}/a", "/b"),
    }


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("training.epochs", "'training.epochs' is no setting; write KEY=VALUE"),
        ("training.epochs=two", 'training.epochs is "two"; it must be a whole number of 0 or more'),
        ("training.epochs=2.0", 'training.epochs is "2.0"; it must be a whole number'),
        ("insert.threshold=nan", "insert.threshold is nan; it must be a number"),
        ("insert.method=best", 'insert.method is "best"; it must be insert, agreement, label_product or bridged'),
    ],
)
def test_an_assignment_that_is_wrong_is_refused_in_one_sentence(assignment: str, sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        assigned([assignment])
    assert str(refused.value).startswith(sentence)


def test_tables_are_flattened_down_to_settings() -> None:
    tables = {"photos_per_shard": 3, "dataset": {"accepted_md5": {"a/b.tar": "0"}, "download": {"retries": 1}}}
    assert flattened(tables) == {
        "photos_per_shard": 3,
        "dataset.accepted_md5": {"a/b.tar": "0"},
        "dataset.download.retries": 1,
    }
    assert flattened({"colour": {"red": {"deep": 1}}}) == {"colour.red.deep": 1}


def test_values_of_a_dataset_are_put_in_place_and_unknown_ones_named() -> None:
    settings = with_values(Gldv2Settings(base_url="file:///d"), {"download.retries": 1, "shards": ["train/000-009"]})
    assert (settings.base_url, settings.download.retries, settings.shards) == ("file:///d", 1, ("train/000-009",))
    with pytest.raises(InputError, match="There is no setting colour; choose one of"):
        with_values(Gldv2Settings(), {"colour": 1})
