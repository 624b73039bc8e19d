"""Recorded networks: the same bits, or no record."""

from pathlib import Path

import pytest
import torch

from landmark_dag.settings.training import NetworkSettings
from landmark_dag.training.artifact import Model, bootstrap_model
from landmark_dag.training.traced import read_traced, traced_path, write_traced


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_a_recorded_network_gives_the_same_bits_for_photos_of_any_size(tmp_path: Path, backbone: str) -> None:
    model = bootstrap_model(NetworkSettings(backbone=backbone))
    path = traced_path(tmp_path, model.fingerprint)
    assert write_traced(path, model)
    read = read_traced(path, model.fingerprint)
    assert read is not None
    assert (read.fingerprint, read.network.dimensions) == (model.fingerprint, model.network.dimensions)
    assert read.network.size_multiple == model.network.size_multiple
    for count, height, width in ((2, 64, 96), (5, 160, 128)):
        photos = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)
        with torch.inference_mode():
            assert torch.equal(read.network(photos), model.network(photos))


class BySize(torch.nn.Module):
    """A network that computes with a size in Python, which a record does not see."""

    dimensions, size_multiple = 1, 1

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        return photos.float().sum(dim=(1, 2, 3))[:, None] / float(photos.shape[2])


def test_a_network_that_its_record_would_not_follow_is_not_recorded(tmp_path: Path) -> None:
    assert not write_traced(tmp_path / "t.pt", Model(BySize(), NetworkSettings(), "f", {}))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_record_takes_the_place_of_other_models(tmp_path: Path) -> None:
    for seed in (1, 2):
        model = bootstrap_model(NetworkSettings(backbone="test_resnet", gem_power=float(seed)))
        assert write_traced(traced_path(tmp_path, model.fingerprint), model)
    assert [path.name[:32] for path in tmp_path.iterdir()] == [model.fingerprint]


def test_a_broken_record_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "t.pt").write_bytes(b"nonsense")
    assert read_traced(tmp_path / "t.pt", "f") is None
    assert read_traced(tmp_path / "none.pt", "f") is None
