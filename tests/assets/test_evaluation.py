"""Recognition through Dagster."""

import numpy as np
import pytest

from assets import evaluation
from landmark_dag.matching.feature_files import write_local_features
from landmark_dag.matching.features import gather
from landmark_dag.matching.rootsift import photos_rootsift
from landmark_dag.photos.manifest import build_manifest
from landmark_dag.settings.matching import LocalFeatureSettings
from landmark_dag.storage.schemas import MANIFEST, TRAIN_NEIGHBOURS, VOTES
from tests.matching.scenes import facade, warped
from tests.support.photos import located, write_pixels
from tests.support.worlds import World


@pytest.fixture
def world(world: World) -> World:
    """A query that shows the facade of t2, though t1 of another landmark is more similar to it."""
    moved = warped(facade(1), np.float32([[1, 0, 9], [0, 1, 4]]))
    pictures = {"q": moved, "t1": facade(2), "t2": facade(1)}
    query, *train = (located(write_pixels(world.root / f"{name}.png", pixels)) for name, pixels in pictures.items())
    world.write("query/photos", MANIFEST, build_manifest([query])[0], "0000")
    features = gather(["t1", "t2"], photos_rootsift(train, LocalFeatureSettings()))
    write_local_features(world.store.path("train/local_features", "0000"), [features], "1")
    rows = [("q", 1, "t1", 7, 0.5), ("q", 2, "t2", 8, 0.25)]
    world.write("query/train_neighbours", TRAIN_NEIGHBOURS, rows, "0000")
    for split in ("train", "index", "query"):
        world.register(split, "0000")
    return world


def test_a_verified_train_photo_overrules_a_more_similar_one(world: World) -> None:
    def answer(scoring: dict) -> tuple:
        world.materialize(evaluation.recognition, configs={"recognition": {"scoring": scoring}})
        return world.store.read("recognition", VOTES).row(0)

    assert answer({}) == ("q", 7, np.float32(0.5) / np.float32(3))
    assert answer({"verified": True})[:2] == ("q", 8)
    assert answer({"verified": True})[2] == pytest.approx(1.25 / 3)
