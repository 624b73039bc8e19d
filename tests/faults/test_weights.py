"""Weights that hold code are refused, and the code never runs."""

import pickle
from pathlib import Path

import pytest
import torch

from landmark_dag.errors import InputError
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.training.network import build_network


class Attack:
    """What an unpickler would run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.mark,))


def as_torch(path: Path, attack: Attack) -> None:
    torch.save({"conv1.weight": attack}, path)


def as_pickle(path: Path, attack: Attack) -> None:
    path.write_bytes(pickle.dumps(attack))


@pytest.mark.parametrize("write", [as_torch, as_pickle])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
def test_weights_with_code_are_refused_and_no_code_runs(tmp_path: Path, write, suffix: str) -> None:
    path, mark = tmp_path / f"weights{suffix}", tmp_path / "attacked"
    write(path, Attack(mark))
    with pytest.raises(InputError, match="weights"):
        build_network(NetworkSettings(backbone="test_resnet", weights=str(path)), seed=0)
    assert not mark.exists()


def test_the_attack_works_on_plain_unpickling(tmp_path: Path) -> None:
    as_pickle(tmp_path / "weights.pth", Attack(tmp_path / "attacked"))
    pickle.loads((tmp_path / "weights.pth").read_bytes())
    assert (tmp_path / "attacked").exists()
