"""The list of all settings tells of each what it is, which value it has, and where that comes from."""

import json
from pathlib import Path

import pytest

from landmark_dag.settings.catalogue import ListedSetting, settings_of
from landmark_dag.settings.home import changed_settings
from landmark_dag.settings.keys import all_definitions


def listed(home: Path) -> dict[str, ListedSetting]:
    return {setting.key: setting for setting in settings_of(home)}


def test_every_setting_is_listed_once_in_the_order_of_sections(tmp_path: Path) -> None:
    assert [setting.key for setting in settings_of(tmp_path)] == list(all_definitions())


def test_a_value_is_listed_with_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed_settings(tmp_path, {"profile": "demo", "photos": "/a", "insert.threshold": 0.7}).write()
    found = listed(tmp_path)
    expected = {
        "photos": ("/a", "settings.toml"),
        "profile": ("demo", "settings.toml"),
        "store": ("", "default"),
        "photos_per_shard": (300, "profile demo"),
        "insert.threshold": (0.7, "settings.toml"),
        "insert.limit": (100, "default"),
        "bootstrap_embedding.scales": ((1.0,), "default"),
        "embedding.long_side": (160, "profile demo"),
    }
    assert {key: (found[key].value, found[key].source) for key in expected} == expected
    assert found["insert.threshold"].default == 0.6
    monkeypatch.setenv("LANDMARK_PHOTOS", "/b")
    assert (listed(tmp_path)["photos"].value, listed(tmp_path)["photos"].source) == ("/b", "LANDMARK_PHOTOS")


def test_json_has_type_default_value_unit_range_choices_meaning_and_source(tmp_path: Path) -> None:
    found = {key: json.loads(json.dumps(setting.as_json())) for key, setting in listed(tmp_path).items()}
    assert found["training.long_side"] == {
        "key": "training.long_side",
        "type": "integer",
        "default": 512,
        "value": 320,
        "unit": "pixels",
        "range": {"at_least": 1},
        "choices": None,
        "allowed": "a whole number of 1 or more",
        "meaning": "longer side of any other photo",
        "source": "profile photos",
    }
    assert found["insert.method"]["choices"] == ["insert", "agreement", "label_product", "bridged"]
    types = {key: found[key]["type"] for key in ("embedding.scales", "dataset.accepted_md5", "insert.method", "store")}
    assert list(types.values()) == ["list of number", "table", "choice", "text"]
    assert found["embedding.scales"]["value"] == [0.75, 1.0, 1.25]
