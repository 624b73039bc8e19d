"""Fits of tiny networks to generated photos."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from landmark_dag.errors import InputError
from landmark_dag.photos.resizing import decoded, photo_sizes, resized, size_for
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.training import NetworkSettings, TrainingSettings
from landmark_dag.training.checkpoint import Checkpoint
from landmark_dag.training.fit import Progress, fit
from landmark_dag.training.history import History
from landmark_dag.training.labelled_photos import LabelledPhotos
from landmark_dag.training.losses import Classifier
from landmark_dag.training.network import EmbeddingNetwork, build_network
from tests.training.photo_sets import write_labelled_photos

NETWORK = NetworkSettings(backbone="test_resnet", embedding_dim=8, normalise_pooled=True)
TRAINING = TrainingSettings(
    square_size=64, long_side=96, epochs=3, batch_size=8, learning_rate=0.05, classifier_learning_rate=0.05, views=2
)
PROJECTION = replace(TRAINING, trainable="projection", projection_start="whitened")


@pytest.fixture(scope="module")
def photo_set(tmp_path_factory: pytest.TempPathFactory) -> LabelledPhotos:
    return write_labelled_photos(tmp_path_factory.mktemp("photos"), landmarks=4, photos=6)


def fitted(
    photo_set: LabelledPhotos, training: TrainingSettings, network: NetworkSettings = NETWORK
) -> EmbeddingNetwork:
    built = build_network(network, seed=1)
    fit(photo_set, built, training)
    return built


@pytest.mark.parametrize("training", [TRAINING, PROJECTION], ids=["all", "projection"])
def test_the_same_photos_and_settings_give_the_same_weights(
    photo_set: LabelledPhotos, training: TrainingSettings
) -> None:
    first, again = (fitted(photo_set, training).state_dict() for _ in range(2))
    assert all(torch.equal(value, again[key]) for key, value in first.items())


def test_another_seed_gives_other_weights(photo_set: LabelledPhotos) -> None:
    first, other = (fitted(photo_set, replace(TRAINING, seed=seed)).state_dict() for seed in (1, 2))
    assert not torch.equal(first["projection.0.weight"], other["projection.0.weight"])


def test_training_lowers_the_loss_and_reports_each_epoch(photo_set: LabelledPhotos) -> None:
    told: list[dict[str, float]] = []
    network = build_network(NETWORK, seed=1)
    history = fit(photo_set, network, replace(TRAINING, epochs=8, margin=0.0), progress=Progress(on_epoch=told.append))
    assert told == history
    assert [row["epoch"] for row in history] == list(range(1, 9))
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1]["accuracy"] > 0.9
    assert history[-1]["learning_rate"] < history[0]["learning_rate"] <= 0.05
    assert not network.training


def test_a_frozen_backbone_keeps_its_weights_and_statistics(photo_set: LabelledPhotos) -> None:
    before = build_network(NETWORK, seed=1).backbone.state_dict()
    after = fitted(photo_set, PROJECTION).backbone.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_training_everything_changes_the_backbone(photo_set: LabelledPhotos) -> None:
    before = dict(build_network(NETWORK, seed=1).backbone.named_parameters())
    after = dict(fitted(photo_set, TRAINING).backbone.named_parameters())
    assert not any(torch.equal(value, after[key]) for key, value in before.items())


def test_a_whitened_start_projects_photos_to_length_one_on_average(photo_set: LabelledPhotos) -> None:
    network = build_network(replace(NETWORK, batch_norm=False), seed=1)
    still = replace(PROJECTION, epochs=0, views=1, augmentation="none")
    assert fit(photo_set, network, still) == []
    sizes = photo_sizes(still.square_size, still.long_side)
    photos = [decoded(location, 1000) for location in photo_set.locations]
    with torch.inference_mode():
        raw = torch.cat([network(resized(photo, size_for(photo, sizes))[None]) for photo in photos])
    assert raw.norm(dim=1).mean().item() == pytest.approx(1, abs=0.02)
    assert raw.mean(dim=0).norm().item() < 0.02


def test_a_loss_that_is_not_finite_stops_with_step_and_learning_rate(photo_set: LabelledPhotos) -> None:
    with pytest.raises(InputError, match=r"step \d+ \(learning rate .*e\+"):
        fitted(photo_set, replace(TRAINING, loss="softmax", learning_rate=1e30, classifier_learning_rate=1e30))


def test_a_photo_that_is_gone_is_named(photo_set: LabelledPhotos, tmp_path: Path) -> None:
    gone = PhotoLocation("lost", str(tmp_path / "lost.jpg"), 0, 10)
    with pytest.raises(InputError, match="lost"):
        fit(replace(photo_set, locations=[gone, *photo_set.locations[1:]]), build_network(NETWORK, 1), TRAINING)


def test_the_global_random_state_and_the_choice_of_algorithms_stay_as_they_were(photo_set: LabelledPhotos) -> None:
    before = torch.random.get_rng_state()
    fitted(photo_set, PROJECTION)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not torch.are_deterministic_algorithms_enabled()


def told(photo_set: LabelledPhotos, training: TrainingSettings) -> History:
    network = build_network(NETWORK, seed=1)
    return fit(photo_set, network, training)


def test_every_row_of_the_history_holds_the_share_of_time_spent_waiting(photo_set: LabelledPhotos) -> None:
    history = told(photo_set, TRAINING)
    assert [row["steps"] for row in history] == [3, 6, 9]
    assert all(0 <= row["waiting"] <= 1 for row in history)


def test_learning_rates_rise_in_a_warm_up_and_then_follow_a_cosine(photo_set: LabelledPhotos) -> None:
    settings = replace(TRAINING, epochs=9, warm_up_steps=6, learning_rate=0.01, lowest_learning_rate=0.001)
    rates = [row["learning_rate"] for row in told(photo_set, settings)]
    assert rates[0] == pytest.approx(0.001 + 2 / 6 * 0.009)
    assert rates[2] == pytest.approx(0.001 + 0.009 * (1 + np.cos(np.pi * 2 / 21)) / 2)
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_the_final_epochs_use_larger_photos_and_change_no_statistic(
    photo_set: LabelledPhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build_network(NETWORK, seed=1)
    seen: list[tuple[tuple[int, ...], float]] = []
    forward = EmbeddingNetwork.forward

    def watched(self: EmbeddingNetwork, photos: torch.Tensor) -> torch.Tensor:
        features = forward(self, photos)
        seen.append((tuple(photos.shape[2:]), float(network.backbone.bn1.running_mean.sum())))
        return features

    monkeypatch.setattr(EmbeddingNetwork, "forward", watched)
    settings = replace(TRAINING, epochs=1, final_epochs=1, final_square_size=96, final_long_side=128)
    fit(photo_set, network, settings)
    steps = len(seen) // 2
    assert {max(size) for size, _ in seen[:steps]} <= {64, 96}
    assert {max(size) for size, _ in seen[steps:]} <= {96, 128} and (64, 64) not in {size for size, _ in seen[steps:]}
    assert len({statistic for _, statistic in seen[steps - 1 :]}) == 1 < len({statistic for _, statistic in seen})


def test_a_projection_has_no_final_epochs(photo_set: LabelledPhotos) -> None:
    with pytest.raises(InputError, match="set final_epochs to 0"):
        fitted(photo_set, replace(PROJECTION, final_epochs=1))


def test_the_moving_average_lies_between_the_first_weights_and_the_last(photo_set: LabelledPhotos) -> None:
    key = "projection.0.weight"
    first = build_network(NETWORK, seed=1).state_dict()[key]
    last = fitted(photo_set, TRAINING).state_dict()[key]
    average = fitted(photo_set, replace(TRAINING, ema_decay=0.99)).state_dict()[key]
    assert 0 < (average - first).norm() < (last - first).norm()


def test_a_clipped_gradient_moves_weights_less(photo_set: LabelledPhotos) -> None:
    first = build_network(NETWORK, seed=1).state_dict()["projection.0.weight"]
    free, clipped = (
        fitted(photo_set, replace(TRAINING, clip_norm=norm, epochs=1)).state_dict()["projection.0.weight"]
        for norm in (0.0, 1e-3)
    )
    assert (clipped - first).norm() < 0.1 * (free - first).norm()


def test_accumulated_batches_make_one_step_of_their_photos(photo_set: LabelledPhotos) -> None:
    assert [row["steps"] for row in told(photo_set, replace(TRAINING, batch_size=4, accumulation=2))] == [3, 6, 9]


def test_a_loss_that_is_not_finite_names_the_files_and_keeps_the_last_good_checkpoint(
    photo_set: LabelledPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(TRAINING, checkpoint_steps=2)
    progress = Progress(checkpoint=Checkpoint(tmp_path / "a.checkpoint", {}))
    forward, calls = Classifier.forward, 0

    def not_a_number_at_step_5(self: Classifier, *batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal calls
        calls += 1
        loss, accuracy = forward(self, *batch)
        return loss * (float("nan") if calls == 5 else 1), accuracy

    monkeypatch.setattr(Classifier, "forward", not_a_number_at_step_5)
    with pytest.raises(InputError, match=r"nan at step 5 \(learning rate 0\.0\d+\), on photos of .*\d\d_\d\d\.png"):
        fit(photo_set, build_network(NETWORK, seed=1), settings, progress=progress)
    state = Checkpoint(tmp_path / "a.checkpoint", {}).load()
    assert state is not None and state["step"] == 4
    assert all(torch.isfinite(value).all() for value in state["module"].values())
