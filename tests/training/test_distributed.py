"""Several gloo processes train as a single one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from landmark_dag.settings.training import NetworkSettings, TrainingSettings
from landmark_dag.training.distributed import SINGLE, Ranks, SynchronisedBatchNorm
from landmark_dag.training.labelled_photos import LabelledPhotos
from tests.training.photo_sets import write_labelled_photos
from tests.training.ranks import Told, fit_and_tell, run_ranks, told_by

TRAINING = TrainingSettings(
    square_size=32, long_side=64, epochs=4, batch_size=4, learning_rate=0.02, classifier_learning_rate=0.02
)
"""The training of a random network multiplies rounding errors, by a million in 20 steps, also in one process. These
trainings compute in float64, so that a wrong gradient is distinguishable from rounding."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> LabelledPhotos:
    return write_labelled_photos(tmp_path_factory.mktemp("photos"), landmarks=4, photos=5)


def trained(
    folder: Path,
    photos: LabelledPhotos,
    training: TrainingSettings,
    worlds: list[int],
    backbone: str = "test_resnet",
    dtype: torch.dtype = torch.float64,
) -> list[Told]:
    network = NetworkSettings(backbone=backbone, embedding_dim=8)
    for world in worlds:
        if world == 1:
            torch.set_num_threads(1)
            fit_and_tell(SINGLE, "cpu", folder, photos, network, training, dtype)
        else:
            assert run_ranks(fit_and_tell, world, folder, photos, network, training, dtype) == [0] * world
    return [told_by(folder, world) for world in worlds]


@pytest.mark.parametrize(
    ("backbone", "training"),
    [
        pytest.param("test_resnet", TRAINING, id="plain"),
        pytest.param(
            "test_efficientnet",
            replace(TRAINING, class_share=0.5, sub_centers=2),
            id="sampled",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "test_resnet",
            replace(TRAINING, accumulation=2, clip_norm=0.5, ema_decay=0.9, loss="adacos"),
            id="accumulated, clipped, averaged",
        ),
        pytest.param(
            "test_vit",
            replace(TRAINING, trainable="last_stage", optimizer="adamw", projection_start="whitened"),
            id="last stage",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_processes_see_the_losses_of_one_and_end_with_equal_weights(
    tmp_path: Path, photos: LabelledPhotos, backbone: str, training: TrainingSettings
) -> None:
    (one,), two = trained(tmp_path, photos, training, [1, 2], backbone)
    assert len(one["losses"]) >= 20
    for told in two:
        assert told["losses"] == pytest.approx(one["losses"], abs=1e-4)
    assert all(torch.equal(value, two[1]["state"][key]) for key, value in two[0]["state"].items())
    for key, value in one["state"].items():
        assert torch.allclose(two[0]["state"][key], value, atol=1e-4), key


def test_two_processes_see_the_losses_of_one_in_float32(tmp_path: Path, photos: LabelledPhotos) -> None:
    gentle = replace(TRAINING, batch_size=8, scale=4.0, learning_rate=1e-4, epochs=7)
    (one,), two = trained(tmp_path, photos, gentle, [1, 2], "test_efficientnet", torch.float32)
    assert len(one["losses"]) >= 20
    # Rounding with one thread in place of two changes a loss by 2e-4, half the learning rate by 0.7.
    assert two[0]["losses"] == pytest.approx(one["losses"], abs=1e-3)
    assert all(torch.equal(value, two[1]["state"][key]) for key, value in two[0]["state"].items())


def test_a_projection_of_two_processes_features_is_that_of_one(tmp_path: Path, photos: LabelledPhotos) -> None:
    projection = replace(TRAINING, trainable="projection", projection_start="whitened", views=2)
    (one,), two = trained(tmp_path, photos, projection, [1, 2], dtype=torch.float32)
    for told in two:
        assert all(torch.equal(value, told["state"][key]) for key, value in one["state"].items())


def test_processes_without_a_photo_of_a_batch_take_part_in_it(tmp_path: Path, photos: LabelledPhotos) -> None:
    (one,), three = trained(tmp_path, photos, replace(TRAINING, batch_size=2, epochs=1), [1, 3])
    for told in three:
        assert told["losses"] == pytest.approx(one["losses"], abs=1e-6)


def test_a_loss_that_is_not_finite_ends_every_process_with_the_same_sentence(
    tmp_path: Path, photos: LabelledPhotos
) -> None:
    wild = replace(TRAINING, loss="softmax", learning_rate=1e30, classifier_learning_rate=1e30)
    first, second = trained(tmp_path, photos, wild, [2])[0]
    assert "step" in first["error"] and first == second


def test_slices_join_to_the_whole_batch() -> None:
    positions = torch.arange(7).numpy()
    slices = [Ranks(rank, 3).slice_of(positions).tolist() for rank in range(3)]
    assert slices == [[0, 1, 2], [3, 4], [5, 6]]
    assert SINGLE.slice_of(positions).tolist() == positions.tolist()


def _batch_norm_of_slices(ranks: Ranks, device: str, folder: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.randn((5, 3, 4, 2), generator=generator)
    norm = nn.BatchNorm2d(3)
    norm.weight.data.uniform_(0.5, 2, generator=generator)
    mine = values[torch.from_numpy(ranks.slice_of(torch.arange(5).numpy()))].requires_grad_()
    with SynchronisedBatchNorm():
        result = norm(mine)
    result.pow(3).sum().backward()
    state = {"result": result.detach(), "input": mine.grad, "weight": norm.weight.grad, "buffers": norm.state_dict()}
    torch.save(state, folder / f"{ranks.world}-{ranks.rank}.pt")


def test_batch_norm_of_slices_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    assert run_ranks(_batch_norm_of_slices, 2, tmp_path) == [0, 0]
    parts = told_by(tmp_path, 2)
    generator = torch.Generator().manual_seed(3)
    values = torch.randn((5, 3, 4, 2), generator=generator).requires_grad_()
    norm = nn.BatchNorm2d(3)
    norm.weight.data.uniform_(0.5, 2, generator=generator)
    result = norm(values)
    result.pow(3).sum().backward()
    assert torch.allclose(torch.cat([part["result"] for part in parts]), result, atol=1e-5)
    assert torch.allclose(torch.cat([part["input"] for part in parts]), values.grad, atol=1e-4)
    assert torch.allclose(sum(part["weight"] for part in parts), norm.weight.grad, atol=1e-4)
    for key, value in norm.state_dict().items():
        assert all(torch.allclose(part["buffers"][key], value, atol=1e-6) for part in parts), key


def test_batch_norm_in_evaluation_mode_is_torchs() -> None:
    norm, values = nn.BatchNorm2d(3).eval(), torch.rand(2, 3, 4, 4)
    with SynchronisedBatchNorm():
        assert torch.equal(norm(values), functional.batch_norm(values, norm.running_mean, norm.running_var))
