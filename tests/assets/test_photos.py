"""Photo assets over both kinds of source: a dataset on a real server, and a folder that changes."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from PIL import Image

from assets.cleaning import cleaned_dataset
from assets.photos import index_photos, index_readable, train_labels, train_photos
from landmark_dag.orchestration.shards import new_shards
from landmark_dag.photos.manifest import locations_of
from landmark_dag.photos.reading import read_photo
from landmark_dag.storage.tables import CLEANED_DATASET, LABELS, MANIFEST, UNREADABLE
from resources.photo_source import PhotoSourceResource
from resources.store import Store
from tests.photos.bucket import BucketServer, bucket_settings, build_bucket, image_id, serving


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BucketServer]:
    build_bucket(tmp_path / "bucket")
    with serving(tmp_path / "bucket") as server:
        yield server


def dataset(url: str, tmp_path: Path, **changes: object) -> dict[str, object]:
    settings = asdict(bucket_settings(url)) | changes
    del settings["base_url"]
    source = PhotoSourceResource(photos=url, photos_per_shard=10, dataset=settings, home=str(tmp_path / "home"))
    return {"photo_source": source, "store": Store(root=str(tmp_path / "home" / "store"))}


def folder(tmp_path: Path, photos_per_shard: int = 10) -> dict[str, object]:
    for split in ("train/tower", "index", "query"):
        (tmp_path / "photos" / split).mkdir(parents=True)
        for number in range(4):
            picture = Image.effect_noise((64, 48), 50 + number).convert("RGB")
            picture.save(tmp_path / "photos" / split / f"{number}.png")
    source = PhotoSourceResource(
        photos=str(tmp_path / "photos"), photos_per_shard=photos_per_shard, home=str(tmp_path / "home")
    )
    return {"photo_source": source, "store": Store(root=str(tmp_path / "home" / "store"))}


def register(instance: dg.DagsterInstance, resources: dict[str, object]) -> dict[str, list[str]]:
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        result = new_shards(context)
    if isinstance(result, dg.SkipReason):
        return {}
    added = {
        request.partitions_def_name: list(request.partition_keys) for request in result.dynamic_partitions_requests
    }
    for name, keys in added.items():
        instance.add_dynamic_partitions(name, keys)
    return added


def materialize(asset: dg.AssetsDefinition, instance: dg.DagsterInstance, resources: dict, shard: str) -> dict:
    result = dg.materialize([asset, index_readable], instance=instance, resources=resources, partition_key=shard)
    node = result.asset_materializations_for_node(asset.op.name)[0]
    return {key: value.value for key, value in node.metadata.items()}


def test_the_sensor_registers_the_shards_of_a_dataset_once(
    server: BucketServer, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    resources = dataset(server.url, tmp_path)
    expected = {
        "train_shards": ["000-001", "002-003"],
        "index_shards": ["000-000", "001-001"],
        "query_shards": ["000-000"],
    }
    assert register(instance, resources) == expected
    assert register(instance, resources) == {}


def test_shards_that_settings_name_are_the_only_ones_and_none_is_removed(
    server: BucketServer, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    register(instance, dataset(server.url, tmp_path))
    assert register(instance, dataset(server.url, tmp_path, shards=["train/000-001"])) == {}
    assert len(instance.get_dynamic_partitions("train_shards")) == 2


def test_a_shard_of_a_dataset_is_fetched_indexed_and_read_from_its_tar(
    server: BucketServer, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    resources = dataset(server.url, tmp_path)
    register(instance, resources)
    metadata = materialize(train_photos, instance, resources, "000-001")
    manifest = resources["store"].read("train/photos", MANIFEST, "000-001")
    assert (metadata["dagster/row_count"], manifest.height) == (12, 12)
    assert {Path(path).name for path in manifest["path"]} == {"images_000.tar", "images_001.tar"}
    first = locations_of(manifest)[0]
    assert first.image_id == "0000000000001e10"
    assert read_photo(first.path, first.offset, first.size).shape == (700, 800, 3)
    assert not list((tmp_path / "home").rglob("*.jpg"))


def test_a_second_materialization_fetches_nothing_and_a_lost_tar_is_fetched_again(
    server: BucketServer, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    resources = dataset(server.url, tmp_path)
    register(instance, resources)
    materialize(index_photos, instance, resources, "000-000")
    asked = len(server.asked)
    assert materialize(index_photos, instance, resources, "000-000")["unchanged"]
    assert len(server.asked) == asked
    next((tmp_path / "home").rglob("images_000.tar")).unlink()
    assert materialize(index_photos, instance, resources, "000-000")["unchanged"]
    assert next((tmp_path / "home").rglob("images_000.tar")).exists()


def test_the_published_cleaned_set_can_stand_in_for_our_own(
    server: BucketServer, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    resources = dataset(server.url, tmp_path)
    config = {"ops": {"cleaned_dataset": {"config": {"published": True}}}}
    dg.materialize([train_labels, cleaned_dataset], instance=instance, resources=resources, run_config=config)
    cleaned = resources["store"].read("cleaned_dataset", CLEANED_DATASET)
    ids = [image_id("train", 0, photo) for photo in (0, 3, 5)]
    expected = pl.DataFrame({"image_id": ids, "landmark_id": [7, 7, 9], "class_id": [0, 0, 1]})
    assert cleaned.equals(expected.cast({"class_id": pl.Int32}).sort("image_id"))
    assert resources["store"].read("train/labels", LABELS).height == 24


def test_a_photo_replaced_in_a_folder_is_reported_and_a_touched_one_is_not(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    resources = folder(tmp_path)
    register(instance, resources)
    first = materialize(index_photos, instance, resources, "0000")
    assert (first["added"], first["removed"], first["replaced"]) == (4, 0, 0)
    (tmp_path / "photos/index/1.png").touch()
    assert materialize(index_photos, instance, resources, "0000")["version"] == first["version"]
    Image.effect_noise((64, 48), 99).convert("RGB").save(tmp_path / "photos/index/1.png")
    changed = materialize(index_photos, instance, resources, "0000")
    assert (changed["added"], changed["removed"], changed["replaced"]) == (0, 0, 1)
    assert changed["version"] != first["version"]


def test_photos_added_to_a_folder_make_a_new_shard_and_leave_the_old_one(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    resources = folder(tmp_path)
    register(instance, resources)
    materialize(index_photos, instance, resources, "0000")
    Image.effect_noise((64, 48), 99).convert("RGB").save(tmp_path / "photos/index/00.png")
    assert register(instance, resources) == {"index_shards": ["0001"]}
    assert materialize(index_photos, instance, resources, "0000")["unchanged"]
    assert materialize(index_photos, instance, resources, "0001")["dagster/row_count"] == 1


def test_a_folder_that_went_away_leaves_what_is_stored(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    resources = folder(tmp_path)
    register(instance, resources)
    materialize(index_photos, instance, resources, "0000")
    stored = resources["store"].path("index/photos", "0000").read_bytes()
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    with pytest.raises(Exception, match="There is no photo folder"):
        materialize(index_photos, instance, resources, "0000")
    assert resources["store"].path("index/photos", "0000").read_bytes() == stored


@pytest.mark.parametrize(
    ("good", "bad", "passed", "severity"),
    [
        (200, 1, True, dg.AssetCheckSeverity.WARN),
        (50, 1, False, dg.AssetCheckSeverity.WARN),
        (3, 1, False, dg.AssetCheckSeverity.ERROR),
    ],
    ids=["under 1 %", "2 %", "25 %"],
)
def test_the_check_warns_above_one_percent_and_fails_above_twenty(
    good: int, bad: int, passed: bool, severity: dg.AssetCheckSeverity, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    index = tmp_path / "photos" / "index"
    resources = folder(tmp_path, photos_per_shard=1000)
    for path in index.iterdir():
        path.unlink()
    for number in range(good):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(index / f"{number:03d}.png")
    for number in range(bad):
        (index / f"bad{number}.jpg").write_text("<html>not found</html>")
    register(instance, resources)
    result = dg.materialize(
        [index_photos, index_readable], instance=instance, resources=resources, partition_key="0000"
    )
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (passed, severity)
    assert resources["store"].read("index/unreadable", UNREADABLE, "0000").height == bad
