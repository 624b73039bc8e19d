"""Trainings that are interrupted, and continue from their checkpoint."""

import errno
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from landmark_dag.errors import InputError
from landmark_dag.settings.training import NetworkSettings, TrainingSettings
from landmark_dag.training import checkpoint as checkpoint_module
from landmark_dag.training.artifact import load_model
from landmark_dag.training.checkpoint import Checkpoint
from landmark_dag.training.history import History
from landmark_dag.training.job_spec import TrainingJobSpec
from landmark_dag.training.labelled_photos import LabelledPhotos
from landmark_dag.training.train import train
from tests.training.killed import in_process, train_until_step, train_until_writing
from tests.training.photo_sets import write_labelled_photos

TRAINING = TrainingSettings(
    square_size=32,
    long_side=64,
    epochs=2,
    batch_size=4,
    accumulation=2,
    ema_decay=0.9,
    clip_norm=1.0,
    warm_up_steps=2,
    learning_rate=0.05,
    checkpoint_steps=2,
)
SETTINGS = {
    "all": TRAINING,
    "adamw": replace(TRAINING, accumulation=1, ema_decay=0.0, optimizer="adamw", loss="adacos"),
    "projection": replace(TRAINING, trainable="projection", projection_start="whitened", views=1),
    "sampled": replace(TRAINING, trainable="last_stage", class_share=0.6, final_epochs=1, epochs=1, final_long_side=96),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> LabelledPhotos:
    return write_labelled_photos(tmp_path_factory.mktemp("photos"), landmarks=4, photos=5)


def job_of(folder: Path, photos: LabelledPhotos, training: TrainingSettings, **others: Any) -> TrainingJobSpec:
    network = NetworkSettings(backbone="test_resnet", embedding_dim=8, dropout=0.2)
    landmarks = {class_id: 100 + class_id for class_id in range(4)}
    return TrainingJobSpec(
        folder / "model", folder / "model.checkpoint", network, training, "cpu", photos, landmarks, **others
    )


def without_times(history: History) -> History:
    return [{name: value for name, value in row.items() if name != "waiting"} for row in history]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    "name", ["all", *(pytest.param(name, marks=pytest.mark.slow) for name in SETTINGS if name != "all")]
)
def test_a_training_killed_at_any_step_reaches_the_same_weights_and_history(
    tmp_path: Path, photos: LabelledPhotos, name: str
) -> None:
    whole = train(job_of(tmp_path / "whole", photos, SETTINGS[name]), "cpu")
    job = job_of(tmp_path / "killed", photos, SETTINGS[name])
    for step in (1, 3, 4, 6):
        assert in_process(train_until_step, job, step) == -signal.SIGKILL
        saved = torch.load(job.checkpoint, weights_only=True)["step"] if job.checkpoint.exists() else 0
        assert saved == (step - 1) // 2 * 2
    resumed = train(job, "cpu")
    assert resumed[0] == whole[0]
    assert without_times(resumed[1]) == without_times(whole[1])
    states = [load_model(tmp_path / kind / "model").network.state_dict() for kind in ("whole", "killed")]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_a_training_killed_while_it_writes_a_checkpoint_continues_from_the_previous_one(
    tmp_path: Path, photos: LabelledPhotos
) -> None:
    whole = train(job_of(tmp_path / "whole", photos, TRAINING), "cpu")
    job = job_of(tmp_path / "killed", photos, TRAINING)
    assert in_process(train_until_writing, job, 1) == -signal.SIGKILL
    assert torch.load(job.checkpoint, weights_only=True)["step"] == 2
    assert len(list(job.checkpoint.parent.iterdir())) == 2
    assert train(job, "cpu")[0] == whole[0]
    assert sorted(path.name for path in job.checkpoint.parent.iterdir()) == ["model", "model.checkpoint"]


def test_a_training_killed_in_its_second_stage_does_not_repeat_the_first(
    tmp_path: Path, photos: LabelledPhotos
) -> None:
    settings = replace(TRAINING, epochs=1, first_stage_epochs=1, accumulation=1, checkpoint_steps=3)
    first = replace(photos, class_ids=photos.class_ids // 2)
    whole = train(job_of(tmp_path / "whole", photos, settings, first_photos=first), "cpu")
    assert [row["epoch"] for row in whole[1]] == [1, 2]
    job = job_of(tmp_path / "killed", photos, settings, first_photos=first)
    for written, stage in ((2, 1), (1, 2)):
        assert in_process(train_until_writing, job, written) == -signal.SIGKILL
        assert torch.load(job.checkpoint, weights_only=True)["stage"] == stage
    assert train(job, "cpu")[0] == whole[0]


def test_a_finished_training_is_saved_again_without_a_step(tmp_path: Path, photos: LabelledPhotos) -> None:
    job = job_of(tmp_path, photos, TRAINING)
    told: History = []
    fingerprint, history = train(job, "cpu")
    assert train(job, "cpu", on_epoch=told.append) == (fingerprint, history)
    assert told == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"training": replace(TRAINING, scale=31.0)}, r"its training setting scale is 30\.0, not 31\.0"),
        ({"network": NetworkSettings(backbone="test_resnet", embedding_dim=4)}, "its network setting"),
        ({"class_landmarks": {0: 1, 1: 2, 2: 3, 3: 5}}, "its class map is"),
    ],
    ids=["settings", "network", "class map"],
)
def test_a_checkpoint_of_another_training_is_refused_by_name(
    tmp_path: Path, photos: LabelledPhotos, change: dict[str, Any], sentence: str
) -> None:
    job = job_of(tmp_path, photos, replace(TRAINING, epochs=1))
    change = {name: replace(value, epochs=1) if name == "training" else value for name, value in change.items()}
    train(job, "cpu")
    with pytest.raises(InputError, match=rf"{job.checkpoint} is the checkpoint of another training: {sentence}"):
        train(replace(job, **change), "cpu")


def test_settings_that_only_change_speed_continue_from_a_checkpoint(tmp_path: Path, photos: LabelledPhotos) -> None:
    job = job_of(tmp_path, photos, replace(TRAINING, epochs=1))
    fingerprint, _ = train(job, "cpu")
    assert train(replace(job, training=replace(job.training, checkpoint_steps=5)), "cpu")[0] == fingerprint


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "a.checkpoint", {})
    checkpoint.save({"step": 1})
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"a\.checkpoint cannot be read as a checkpoint"):
        checkpoint.load()


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    torch.save({"format": 1, "identity": {}, "code": Path}, tmp_path / "a.checkpoint")
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        Checkpoint(tmp_path / "a.checkpoint", {}).load()


def test_a_full_disk_is_an_error_and_the_previous_checkpoint_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(tmp_path / "a.checkpoint", {})
    checkpoint.save({"step": 1})

    class FullDisk:
        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    save = torch.save
    monkeypatch.setattr(checkpoint_module.torch, "save", lambda content, file: save(content, FullDisk()))
    with pytest.raises(InputError, match=r"a\.checkpoint of step 2 cannot be written: .*No space left on device"):
        checkpoint.save({"step": 2})
    monkeypatch.undo()
    assert checkpoint.load() == {"format": 1, "identity": {}, "step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.checkpoint"]
