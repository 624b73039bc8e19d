"""Models on disk."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from landmark_dag.errors import InputError
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.storage import atomic
from landmark_dag.training.artifact import bootstrap_model, load_model, save_model
from landmark_dag.training.network import build_network

SETTINGS = NetworkSettings(backbone="test_resnet", embedding_dim=8, gem_power=2.0)


def test_a_loaded_model_gives_the_same_features_and_carries_the_same_fingerprint(tmp_path: Path) -> None:
    network = build_network(SETTINGS, seed=3)
    history = [{"epoch": 1.0, "loss": 0.5}]
    fingerprint = save_model(tmp_path / "model", network, SETTINGS, {0: 12, 1: 40}, history)
    model = load_model(tmp_path / "model")
    photos = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(model.network(photos), network(photos))
    assert model.fingerprint == fingerprint and len(fingerprint) == 32
    assert json.loads((tmp_path / "model/config.json").read_text())["class_landmarks"] == {"0": 12, "1": 40}
    assert json.loads((tmp_path / "model/history.json").read_text()) == history


def test_the_fingerprint_follows_weights_and_config_but_not_the_folder_or_history(tmp_path: Path) -> None:
    network, other = (build_network(SETTINGS, seed=seed) for seed in (3, 4))
    first = save_model(tmp_path / "a", network, SETTINGS, {0: 1}, [])
    assert save_model(tmp_path / "b", network, SETTINGS, {0: 1}, [{"epoch": 1.0}]) == first
    assert save_model(tmp_path / "c", network, SETTINGS, {0: 2}, []) != first
    assert save_model(tmp_path / "d", other, SETTINGS, {0: 1}, []) != first


def test_the_place_of_the_first_weights_is_no_part_of_the_model(tmp_path: Path) -> None:
    network = build_network(SETTINGS, seed=3)
    elsewhere = replace(SETTINGS, weights=str(tmp_path / "gone.safetensors"))
    first = save_model(tmp_path / "a", network, SETTINGS, {}, [])
    assert save_model(tmp_path / "b", network, elsewhere, {}, []) == first
    assert load_model(tmp_path / "b").fingerprint == first


def test_saving_over_a_model_leaves_only_the_new_one(tmp_path: Path) -> None:
    for seed in (1, 2):
        fingerprint = save_model(tmp_path / "model", build_network(SETTINGS, seed), SETTINGS, {}, [])
    assert load_model(tmp_path / "model").fingerprint == fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failed_save_keeps_the_former_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save_model(tmp_path / "model", build_network(SETTINGS, 1), SETTINGS, {}, [])

    def full_disk(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_model(tmp_path / "model", build_network(SETTINGS, 2), SETTINGS, {}, [])
    assert load_model(tmp_path / "model").fingerprint == first
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no trained model"):
        load_model(tmp_path)


def test_a_model_of_another_format_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path / "model", build_network(SETTINGS, 1), SETTINGS, {}, [])
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"format": 99}))
    with pytest.raises(InputError, match="format 1"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize("field", ["embedding_dim", "backbone"])
def test_weights_that_do_not_fit_the_config_are_refused(tmp_path: Path, field: str) -> None:
    save_model(tmp_path / "model", build_network(SETTINGS, 1), SETTINGS, {}, [])
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    config["network"][field] = {"embedding_dim": 16, "backbone": "test_byobnet"}[field]
    path.write_text(json.dumps(config))
    with pytest.raises(InputError, match="does not fit its config"):
        load_model(tmp_path / "model")


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    save_model(tmp_path / "model", build_network(SETTINGS, 1), SETTINGS, {}, [])
    weights = tmp_path / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="does not fit its config"):
        load_model(tmp_path / "model")


def test_the_bootstrap_model_is_the_backbone_without_projection() -> None:
    first, again = bootstrap_model(SETTINGS), bootstrap_model(SETTINGS)
    assert first.network.dimensions == first.network.channels
    assert first.fingerprint == again.fingerprint
    assert bootstrap_model(replace(SETTINGS, gem_power=3.0)).fingerprint != first.fingerprint
