"""Recognition and the comparison through Dagster."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from PIL import Image

from assets import evaluation
from landmark_dag.matching.feature_files import write_local_features
from landmark_dag.matching.features import gather
from landmark_dag.matching.rootsift import photos_rootsift
from landmark_dag.photos.manifest import build_manifest, locations_of
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.matching import LocalFeatureSettings
from landmark_dag.storage.tables import MANIFEST, TRAIN_NEIGHBOURS, VOTES, read_table, write_table
from resources.accelerator import Accelerator
from resources.store import Store
from tests.matching.scenes import facade, warped


def located(folder: Path, photos: dict[str, np.ndarray]) -> list[PhotoLocation]:
    found = []
    for image_id, picture in photos.items():
        path = folder / f"{image_id}.png"
        Image.fromarray(picture).save(path)
        found.append(PhotoLocation(image_id, str(path), 0, path.stat().st_size))
    return found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A query that shows the facade of t2, though t1 of another landmark is more similar to it."""
    store = Store(root=str(tmp_path / "store"))
    moved = warped(facade(1), np.float32([[1, 0, 9], [0, 1, 4]]))
    manifest, _ = build_manifest(located(tmp_path, {"q": moved}))
    write_table(store.path("query/photos", "0000"), MANIFEST, manifest, "1")
    train, _ = build_manifest(located(tmp_path, {"t1": facade(2), "t2": facade(1)}))
    features = gather(["t1", "t2"], photos_rootsift(locations_of(train), LocalFeatureSettings()))
    write_local_features(store.path("train/local_features", "0000"), [features], "1")
    rows = [("q", 1, "t1", 7, 0.5), ("q", 2, "t2", 8, 0.25)]
    write_table(
        store.path("query/train_neighbours", "0000"),
        TRAIN_NEIGHBOURS,
        pl.DataFrame(rows, TRAIN_NEIGHBOURS.schema, orient="row"),
        "1",
    )
    return store


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        for split in ("train", "index", "query"):
            instance.add_dynamic_partitions(f"{split}_shards", ["0000"])
        yield instance


def test_a_verified_train_photo_overrules_a_more_similar_one(store: Store, instance: dg.DagsterInstance) -> None:
    def answer(scoring: dict) -> tuple:
        dg.materialize(
            [evaluation.recognition],
            instance=instance,
            resources={"store": store, "accelerator": Accelerator(device="cpu")},
            run_config={"ops": {"recognition": {"config": {"scoring": scoring}}}},
        )
        return read_table(store.path("recognition"), VOTES).row(0)

    assert answer({}) == ("q", 7, np.float32(0.5) / np.float32(3))
    assert answer({"verified": True})[:2] == ("q", 8)
    assert answer({"verified": True})[2] == pytest.approx(1.25 / 3)
