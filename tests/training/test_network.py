"""The network: pooling, shapes of every kind of backbone, first weights."""

import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch.nn import functional

from landmark_dag.errors import InputError
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.training.network import EmbeddingNetwork, GeM, build_network

TINY = NetworkSettings(backbone="test_resnet", embedding_dim=16)


def random_photos(count: int, height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 255, (count, 3, height, width), dtype=np.uint8))


def test_gem_is_the_power_mean_over_positions() -> None:
    features = torch.tensor([[[1.0, 0.0], [2.0, 3.0], [3.0, 0.0]]])
    expected = [((1 + 8 + 27) / 3) ** (1 / 3), (27 / 3) ** (1 / 3)]
    assert torch.allclose(GeM(3.0)(features), torch.tensor([expected]), atol=1e-5)
    assert torch.allclose(GeM(1.0)(features), features.mean(1), atol=1e-5)
    assert torch.equal(GeM(3.0, learned=True)(features), GeM(3.0)(features))


def backbone_tokens(network: EmbeddingNetwork, photos: torch.Tensor) -> torch.Tensor:
    """Return what the backbone makes of photos, (b, tokens, channels), in float32."""
    features = network.backbone.forward_features((photos - network.mean) / network.std)
    return features if features.ndim == 3 else features.flatten(2).transpose(1, 2)


POOLINGS = {"test_resnet": ("gem", "mean", "max"), "test_vit": ("gem", "mean", "max", "token")}


@pytest.mark.parametrize(("backbone", "pooling"), [(name, kind) for name, kinds in POOLINGS.items() for kind in kinds])
def test_pooling_reduces_the_positions_of_a_photo_that_is_not_square(backbone: str, pooling: str) -> None:
    settings = NetworkSettings(backbone=backbone, pooling=pooling, embedding_dim=0)  # type: ignore[arg-type]
    network, photos = build_network(settings, seed=0), random_photos(2, 96, 160)
    with torch.inference_mode():
        pooled, tokens = network.pooled(photos), backbone_tokens(network, photos)
    positions = tokens[:, 1:] if backbone == "test_vit" else tokens
    expected = {
        "gem": positions.clamp(min=1e-6).pow(3).mean(1).pow(1 / 3),
        "mean": positions.mean(1),
        "max": positions.amax(1),
        "token": tokens[:, 0],
    }
    likeness = {name: functional.cosine_similarity(pooled, other).min().item() for name, other in expected.items()}
    assert pooled.dtype == torch.float32 and likeness[pooling] > 0.9999
    assert pooling == max(likeness, key=likeness.__getitem__)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit2"])
def test_token_pooling_of_a_backbone_without_class_token_is_refused(backbone: str) -> None:
    with pytest.raises(InputError, match=f"{backbone} has no class token"):
        build_network(NetworkSettings(backbone=backbone, pooling="token"), seed=0)


def test_a_learned_power_gets_a_gradient_and_is_part_of_the_weights() -> None:
    network = build_network(NetworkSettings(backbone="test_resnet", gem_learned=True, embedding_dim=8), seed=0)
    network(random_photos(2, 64, 64)).square().sum().backward()
    assert network.pooling.power.grad.abs() > 0  # type: ignore[union-attr]
    assert network.state_dict()["pooling.power"] == 3.0
    assert "pooling.power" not in build_network(TINY, seed=0).state_dict()


def test_dropout_zeroes_pooled_features_in_training_only() -> None:
    settings = NetworkSettings(backbone="test_resnet", dropout=0.5, embedding_dim=8)
    network = build_network(settings, seed=0)
    features = torch.ones(2000, network.channels)
    assert network.linear is not None and network.linear.out_features == network.dimensions == 8
    with torch.inference_mode(), torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = network.projection.train()[0](features)
        assert torch.equal(network.projection.eval()[0](features), features)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_byobnet", "test_convnext", "test_vit"])
def test_every_kind_of_backbone_gives_one_raw_feature_row_a_photo(backbone: str) -> None:
    network = build_network(NetworkSettings(backbone=backbone, embedding_dim=16), seed=0)
    with torch.inference_mode():
        raw = network(random_photos(2, 96, 160))
    assert raw.shape == (2, 16) and raw.dtype == torch.float32
    assert torch.isfinite(raw).all() and not torch.allclose(raw[0], raw[1])


def test_pooled_features_are_those_of_the_backbone_on_normalised_pixels() -> None:
    network = build_network(TINY, seed=0)
    photos = random_photos(2, 64, 64)
    config = network.backbone.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        maps = network.backbone.forward_features((photos / 255 - mean) / std)
        expected = maps.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)
        pooled = network.pooled(photos)
    cosine = torch.nn.functional.cosine_similarity(pooled, expected)
    assert (cosine > 0.9999).all()


def test_normalised_pooled_features_have_unit_length() -> None:
    network = build_network(NetworkSettings(backbone="test_resnet", embedding_dim=4, normalise_pooled=True), seed=0)
    with torch.inference_mode():
        pooled = network.pooled(random_photos(2, 64, 64))
    assert torch.allclose(pooled.norm(dim=1), torch.ones(2), atol=1e-5)


def test_without_a_projection_the_raw_features_are_the_pooled_ones() -> None:
    network = build_network(NetworkSettings(backbone="test_resnet", embedding_dim=0), seed=0)
    photos = random_photos(2, 64, 64)
    with torch.inference_mode():
        assert torch.equal(network(photos), network.pooled(photos))
    assert network.dimensions == network.channels == 96


def test_first_weights_come_from_the_seed_and_leave_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (build_network(TINY, seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_weights_of_a_file_are_loaded_and_its_classifier_is_left_out(tmp_path: Path, suffix: str) -> None:
    source = timm.create_model("test_resnet", num_classes=7)
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": source.state_dict()}, path)
    else:
        safetensors.torch.save_file(source.state_dict(), path)
    network = build_network(NetworkSettings(backbone="test_resnet", weights=str(path)), seed=0)
    loaded = network.backbone.state_dict()
    assert all(torch.equal(source.state_dict()[key], value) for key, value in loaded.items())


def test_weights_of_another_backbone_are_refused_with_file_backbone_and_tensor(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file(timm.create_model("test_byobnet").state_dict(), path)
    first = next(iter(timm.create_model("test_resnet", num_classes=0).state_dict()))
    with pytest.raises(InputError, match=f"{re.escape(str(path))}.*test_resnet.*{re.escape(first)}"):
        build_network(NetworkSettings(backbone="test_resnet", weights=str(path)), seed=0)


def test_weights_with_a_tensor_of_another_shape_are_refused_with_both_shapes(tmp_path: Path) -> None:
    state = timm.create_model("test_resnet", num_classes=0).state_dict()
    key = "conv1.0.weight" if "conv1.0.weight" in state else "conv1.weight"
    state[key] = torch.zeros(1, 2)
    path = tmp_path / "bent.safetensors"
    safetensors.torch.save_file(state, path)
    with pytest.raises(InputError, match=rf"{re.escape(key)} has shape \(1, 2\)"):
        build_network(NetworkSettings(backbone="test_resnet", weights=str(path)), seed=0)


def test_a_text_file_for_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_text("not weights")
    with pytest.raises(InputError, match="cannot be read as network weights"):
        build_network(NetworkSettings(backbone="test_resnet", weights=str(path)), seed=0)


def test_a_missing_weights_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.pth.*no such file"):
        build_network(NetworkSettings(backbone="test_resnet", weights=str(tmp_path / "nowhere.pth")), seed=0)


def test_an_unknown_backbone_is_named() -> None:
    with pytest.raises(InputError, match="resnet_of_dreams"):
        build_network(NetworkSettings(backbone="resnet_of_dreams"), seed=0)
