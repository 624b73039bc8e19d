"""The trained model as an asset: its process reports to the run, and continues where a killed one ended."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import torch

from assets.training import trained_model
from landmark_dag.errors import InputError
from landmark_dag.photos.manifest import build_manifest
from landmark_dag.storage.schemas import CLEANED_DATASET, LABELS, MANIFEST
from landmark_dag.training.artifact import load_model
from tests.support.worlds import World
from tests.training.photo_sets import write_labelled_photos

TRAINING = {
    "trainable": "all",
    "projection_start": "random",
    "square_size": 32,
    "long_side": 64,
    "epochs": 2,
    "batch_size": 4,
    "optimizer": "momentum",
    "learning_rate": 1e-3,
    "classifier_learning_rate": 1e-3,
    "checkpoint_steps": 1,
}


class Training(World):
    """All that `trained_model` reads, and its materialization."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        super().__init__(root, instance)
        photos = write_labelled_photos(root / "photos", landmarks=3, photos=4)
        self.manifest, _ = build_manifest(photos.locations)
        landmarks = {
            place.image_id: int(number) for place, number in zip(photos.locations, photos.class_ids, strict=True)
        }
        self.register("train", "0000")
        self.write("train/photos", MANIFEST, self.manifest, "0000")
        self.write("train/labels", LABELS, [(name, 10 + number, "somewhere") for name, number in landmarks.items()])
        self.write("cleaned_dataset", CLEANED_DATASET, [(name, 10 + n, n) for name, n in landmarks.items()])

    def train(self, **training: Any) -> dg.ExecuteInProcessResult:
        network = {"backbone": "test_resnet", "weights": "", "embedding_dim": 8}
        config = {"network": network, "training": {**TRAINING, **training}}
        return self.materialize(trained_model, configs={"trained_model": config})

    def models(self) -> list[str]:
        return sorted(path.suffix for path in (self.root / "store" / "models").iterdir())


@pytest.fixture
def world(tmp_path: Path, instance: dg.DagsterInstance) -> Training:
    return Training(tmp_path, instance)


def test_the_worker_trains_and_reports_every_epoch_to_the_run(world: Training) -> None:
    result = world.train(first_stage_epochs=1)
    metadata = result.asset_materializations_for_node("trained_model")[0].metadata
    folder = world.store.model_folder()
    assert metadata["model"].value == load_model(folder).fingerprint
    config, history = (json.loads((folder / name).read_text()) for name in ("config.json", "history.json"))
    assert config["class_landmarks"] == {"0": 10, "1": 11, "2": 12}
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert metadata["loss"].value == history[-1]["loss"]
    assert "loss curve" in metadata
    logs = [entry.user_message for entry in world.instance.all_logs(result.run_id)]
    assert [line[:7] for line in logs if line.startswith("epoch ")] == ["epoch 1", "epoch 2", "epoch 3"]
    assert world.models() == [""]


def test_a_failing_worker_fails_the_asset_with_the_message_of_the_worker(world: Training) -> None:
    one = pl.int_range(pl.len()) == 0
    lost = world.manifest.with_columns(path=pl.when(one).then(pl.lit(str(world.root / "lost.jpg"))).otherwise("path"))
    world.write("train/photos", MANIFEST, lost, "0000", "2")
    with pytest.raises(InputError, match=r"lost\.jpg cannot be used: the file is gone") as raised:
        world.train()
    assert raised.value.__cause__ is None


@pytest.mark.slow
def test_training_continues_from_its_checkpoint_after_the_worker_was_killed(world: Training) -> None:
    def kill() -> None:
        models = world.root / "store" / "models"
        while not (found := list(models.glob("*.checkpoint"))):
            time.sleep(0.05)
        while torch.load(found[0], weights_only=True)["step"] < 10:
            time.sleep(0.05)
        job = found[0].with_suffix(".job")
        worker = next(
            int(process.name)
            for process in Path("/proc").iterdir()
            if process.name.isdigit() and str(job).encode() in (process / "cmdline").read_bytes()
        )
        os.kill(worker, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(InputError, match=r"ended without an error message .*Materialize again to continue"):
        world.train(epochs=40)
    killer.join()
    assert set(world.models()) - {".tmp"} == {".checkpoint", ".job"}
    result = world.train(epochs=40)
    logs = [entry.user_message for entry in world.instance.all_logs(result.run_id)]
    epochs = [line for line in logs if line.startswith("epoch ")]
    assert 0 < len(epochs) < 40
    record = json.loads(world.store.path("trained_model").read_text())
    assert len(json.loads((world.root / "store" / record["folder"] / "history.json").read_text())) == 40
    assert world.models() == [""]
