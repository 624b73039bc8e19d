"""Cleaning assets with deep local features: fitted once, extracted shard by shard, and redone only for a reason."""

from typing import Any

import dagster as dg
import pytest

from assets.cleaning import descriptor_whitening, train_local_features
from assets.photos import train_photos
from landmark_dag.matching.feature_files import read_local_features
from tests.matching.scenes import facade
from tests.support.photos import write_pixels
from tests.support.worlds import World

DEEP = {
    "features": {"kind": "deep", "long_side": 128, "scales": [0.5, 1.0], "max_keypoints": 30, "dimensions": 16},
    "network": {"backbone": "test_resnet", "weights": ""},
}


@pytest.fixture
def world(world: World) -> World:
    """A shard of four train photos with much to see."""
    for number in range(4):
        write_pixels(world.root / f"photos/train/tower/{number}.png", facade(number, 120, 160))
    for split in ("index", "query"):
        (world.root / "photos" / split).mkdir()
    world.take_photos_from(world.root / "photos")
    world.register("train", "0000")
    world.reported(train_photos, shard="0000")
    return world


def materialized(world: World, asset: dg.AssetsDefinition, config: dict | None = None) -> dict[str, Any]:
    shard = "0000" if asset.partitions_def else None
    return world.reported(asset, shard=shard, configs={asset.op.name: config} if config else None)


def test_deep_local_features_use_the_whitening_that_was_fitted_on_train_photos(
    world: World,
) -> None:
    fitted = materialized(world, descriptor_whitening, DEEP)
    assert fitted["dagster/row_count"] > 16
    extracted = materialized(world, train_local_features, DEEP)
    assert extracted["dagster/row_count"] == 4
    features = read_local_features(world.store.path("train/local_features", "0000"))
    assert features.image_ids == ["0", "1", "2", "3"]
    assert all(features.photo(position).descriptors.shape == (30, 16) for position in range(4))
    assert materialized(world, train_local_features, DEEP)["unchanged"]
    other = {**DEEP, "features": {**DEEP["features"], "max_keypoints": 20}}
    assert not materialized(world, descriptor_whitening, other)["unchanged"]


def test_rootsift_needs_no_whitening_and_deep_features_fail_without_one(
    world: World,
) -> None:
    assert materialized(world, descriptor_whitening)["dagster/row_count"] == 0
    materialized(world, train_local_features)
    stored = world.store.path("train/local_features", "0000").read_bytes()
    with pytest.raises(Exception, match=r"descriptor_whitening is empty.*materialize it again with the kind"):
        materialized(world, train_local_features, DEEP)
    assert world.store.path("train/local_features", "0000").read_bytes() == stored
