"""Cleaning assets with deep local features: fitted once, extracted shard by shard, and redone only for a reason."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from PIL import Image

from assets.cleaning import descriptor_whitening, train_local_features
from assets.photos import train_photos
from landmark_dag.matching.feature_files import read_local_features
from landmark_dag.orchestration.partitions import SHARDS
from resources.accelerator import Accelerator
from resources.photo_source import PhotoSourceResource
from resources.store import Store
from tests.matching.scenes import facade

DEEP = {
    "features": {"kind": "deep", "long_side": 128, "scales": [0.5, 1.0], "max_keypoints": 30, "dimensions": 16},
    "network": {"backbone": "test_resnet", "weights": ""},
}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(SHARDS["train"].name, ["0000"])
        yield instance


@pytest.fixture
def resources(tmp_path: Path) -> dict[str, object]:
    for split in ("train/tower", "index", "query"):
        (tmp_path / "photos" / split).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(facade(number, 120, 160)).save(tmp_path / "photos" / split / f"{number}.png")
    source = PhotoSourceResource(photos=str(tmp_path / "photos"), photos_per_shard=10, home=str(tmp_path / "home"))
    store = Store(root=str(tmp_path / "home" / "store"))
    return {"photo_source": source, "store": store, "accelerator": Accelerator(device="cpu")}


def materialize(asset: dg.AssetsDefinition, instance: dg.DagsterInstance, resources: dict, config: dict) -> dict:
    settings = {"ops": {asset.op.name: {"config": config}}} if config else {}
    result = dg.materialize(
        [asset],
        instance=instance,
        resources=resources,
        partition_key="0000" if asset.partitions_def else None,
        run_config=settings,
    )
    assert result.success
    return result.asset_materializations_for_node(asset.op.name)[0].metadata


def test_deep_local_features_are_whitened_by_what_was_fitted_on_train(
    instance: dg.DagsterInstance, resources: dict
) -> None:
    materialize(train_photos, instance, resources, {})
    fitted = materialize(descriptor_whitening, instance, resources, DEEP)
    assert fitted["dagster/row_count"].value > 16
    extracted = materialize(train_local_features, instance, resources, DEEP)
    assert extracted["dagster/row_count"].value == 4
    features = read_local_features(resources["store"].path("train/local_features", "0000"))
    assert features.image_ids == ["0", "1", "2", "3"]
    assert all(features.photo(position).descriptors.shape == (30, 16) for position in range(4))
    assert materialize(train_local_features, instance, resources, DEEP)["unchanged"].value
    other = {**DEEP, "features": {**DEEP["features"], "max_keypoints": 20}}
    assert not materialize(descriptor_whitening, instance, resources, other)["unchanged"].value


def test_rootsift_needs_no_whitening_and_deep_features_say_when_theirs_is_missing(
    instance: dg.DagsterInstance, resources: dict
) -> None:
    materialize(train_photos, instance, resources, {})
    assert materialize(descriptor_whitening, instance, resources, {})["dagster/row_count"].value == 0
    materialize(train_local_features, instance, resources, {})
    stored = resources["store"].path("train/local_features", "0000").read_bytes()
    with pytest.raises(Exception, match=r"descriptor_whitening is empty.*materialize it again with the kind"):
        materialize(train_local_features, instance, resources, DEEP)
    assert resources["store"].path("train/local_features", "0000").read_bytes() == stored
