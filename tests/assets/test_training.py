"""The trained model as an asset: its process reports to the run, and continues where a killed one ended."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import torch

from assets.training import trained_model
from landmark_dag.errors import InputError
from landmark_dag.storage.files import fingerprint
from landmark_dag.storage.tables import CLEANED_DATASET, LABELS, MANIFEST, write_table
from landmark_dag.training.artifact import load_model
from resources.accelerator import Accelerator
from resources.store import Store
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


class World:
    """A store that holds all that `trained_model` is made of."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.root, self.instance = root, instance
        self.store = Store(root=str(root / "store"))
        photos = write_labelled_photos(root / "photos", landmarks=3, photos=4)
        ids = [location.image_id for location in photos.locations]
        places = {name: [getattr(photo, name) for photo in photos.locations] for name in ("path", "offset", "size")}
        width, height = photos.sizes.T
        manifest = pl.DataFrame({"image_id": ids, **places, "width": width, "height": height}).with_columns(
            fingerprint=pl.col("image_id").map_elements(lambda text: fingerprint(text.encode()), pl.String)
        )
        labels = pl.DataFrame({"image_id": ids, "landmark_id": 10 + photos.class_ids, "landmark": "somewhere"})
        cleaned = labels.select("image_id", "landmark_id", class_id=pl.col("landmark_id") - 10)
        self.manifest = manifest
        write_table(self.store.path("train/photos", "0000"), MANIFEST, manifest, "photos-1")
        write_table(self.store.path("train/labels"), LABELS, labels, "labels-1")
        write_table(self.store.path("cleaned_dataset"), CLEANED_DATASET, cleaned, "cleaned-1")

    def materialize(self, **training: Any) -> dg.ExecuteInProcessResult:
        config = {
            "network": {"backbone": "test_resnet", "weights": "", "embedding_dim": 8},
            "training": {**TRAINING, **training},
        }
        return dg.materialize(
            [trained_model],
            instance=self.instance,
            resources={"store": self.store, "accelerator": Accelerator(device="cpu")},
            run_config={"ops": {"trained_model": {"config": config}}},
        )

    def models(self) -> list[str]:
        return sorted(path.suffix for path in (self.root / "store" / "models").iterdir())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("train_shards", ["0000"])
        yield World(tmp_path, instance)


def test_the_worker_trains_and_its_epochs_stream_into_the_run(world: World) -> None:
    result = world.materialize(first_stage_epochs=1)
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


def test_a_failing_worker_fails_the_asset_with_its_sentence(world: World) -> None:
    one = pl.int_range(pl.len()) == 0
    lost = world.manifest.with_columns(path=pl.when(one).then(pl.lit(str(world.root / "lost.jpg"))).otherwise("path"))
    write_table(world.store.path("train/photos", "0000"), MANIFEST, lost, "photos-2")
    with pytest.raises(InputError, match=r"lost\.jpg cannot be used: the file is gone") as raised:
        world.materialize()
    assert raised.value.__cause__ is None


@pytest.mark.slow
def test_an_asset_whose_worker_was_killed_goes_on_from_its_checkpoint(world: World) -> None:
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
        world.materialize(epochs=40)
    killer.join()
    assert set(world.models()) - {".tmp"} == {".checkpoint", ".job"}
    result = world.materialize(epochs=40)
    logs = [entry.user_message for entry in world.instance.all_logs(result.run_id)]
    epochs = [line for line in logs if line.startswith("epoch ")]
    assert 0 < len(epochs) < 40
    record = json.loads(world.store.path("trained_model").read_text())
    assert len(json.loads((world.root / "store" / record["folder"] / "history.json").read_text())) == 40
    assert world.models() == [""]
