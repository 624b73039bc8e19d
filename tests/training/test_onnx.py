"""The exported file against the network, through onnxruntime."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from landmark_dag.errors import InputError
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.training import onnx
from landmark_dag.training.artifact import load_model, save_model
from landmark_dag.training.network import build_network
from landmark_dag.training.onnx import INPUT, MODEL_KEY, OUTPUT, export_onnx


@pytest.mark.parametrize(
    "settings",
    [
        NetworkSettings(backbone="test_resnet", embedding_dim=16, gem_learned=True, normalise_pooled=True),
        pytest.param(
            NetworkSettings(backbone="test_vit", embedding_dim=16, pooling="token", dropout=0.2),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["cnn", "transformer"],
)
def test_the_file_gives_the_networks_features_for_any_batch_and_size(
    tmp_path: Path, settings: NetworkSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    fingerprint = save_model(tmp_path / "model", build_network(settings, seed=1), settings, {0: 5, 1: 7}, [])
    assert export_onnx(tmp_path / "model", tmp_path / "model.onnx") == fingerprint
    assert capsys.readouterr().out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert session.get_modelmeta().custom_metadata_map[MODEL_KEY] == fingerprint
    network = load_model(tmp_path / "model").network
    for shape in ((1, 3, 96, 160), (3, 3, 128, 64)):
        photos = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
        (found,) = session.run([OUTPUT], {INPUT: photos})
        with torch.inference_mode():
            pixels = network.pixels(torch.from_numpy(photos))
            expected = network.projection(network.pool(network.backbone.forward_features(pixels))).numpy()
            as_used = network(torch.from_numpy(photos)).numpy()
        assert found.dtype == np.float32 and np.allclose(found, expected, atol=1e-5)
        cosine = (found * as_used).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(as_used, axis=1)
        assert cosine.min() > 0.999


def test_without_the_extra_the_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="onnx; install landmark-dag with the extra onnx"):
        export_onnx(tmp_path, tmp_path / "model.onnx")


def test_a_folder_without_a_model_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no trained model"):
        export_onnx(tmp_path / "nothing", tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
