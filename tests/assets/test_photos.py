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
from landmark_dag.storage.schemas import CLEANED_DATASET, LABELS, MANIFEST, UNREADABLE
from tests.photos.bucket import BucketServer, bucket_settings, build_bucket, image_id, serving
from tests.support.photos import write_photo
from tests.support.worlds import World


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bucket")
    build_bucket(folder)
    return folder


@pytest.fixture
def server(bucket: Path) -> Iterator[BucketServer]:
    with serving(bucket) as server:
        yield server


def take_dataset(world: World, url: str, **changes: object) -> None:
    settings = asdict(bucket_settings(url)) | changes
    del settings["base_url"]
    world.take_photos_from(url, dataset=settings)


@pytest.fixture
def photos(world: World) -> Path:
    """The index folder of the world's photos: four of them, and four of each other split."""
    for split in ("train/tower", "index", "query"):
        for number in range(4):
            write_photo(world.root / "photos" / split / f"{number}.jpg", number)
    world.take_photos_from(world.root / "photos")
    return world.root / "photos" / "index"


def register_new_shards(world: World) -> dict[str, list[str]]:
    """Let the sensor look once; return the partitions that it adds."""
    with dg.build_sensor_context(instance=world.instance, resources=world.resources) as context:
        result = new_shards(context)
    if isinstance(result, dg.SkipReason):
        return {}
    added = {
        request.partitions_def_name: list(request.partition_keys) for request in result.dynamic_partitions_requests
    }
    for name, keys in added.items():
        world.instance.add_dynamic_partitions(name, keys)
    return added


def test_the_sensor_registers_the_shards_of_a_dataset_once(server: BucketServer, world: World) -> None:
    take_dataset(world, server.url)
    expected = {
        "train_shards": ["000-001", "002-003"],
        "index_shards": ["000-000", "001-001"],
        "query_shards": ["000-000"],
    }
    assert register_new_shards(world) == expected
    assert register_new_shards(world) == {}


def test_settings_that_name_shards_add_no_others_and_remove_none(server: BucketServer, world: World) -> None:
    take_dataset(world, server.url)
    register_new_shards(world)
    take_dataset(world, server.url, shards=["train/000-001"])
    assert register_new_shards(world) == {}
    assert len(world.instance.get_dynamic_partitions("train_shards")) == 2


def test_a_shard_of_a_dataset_is_fetched_indexed_and_read_from_its_tar(server: BucketServer, world: World) -> None:
    take_dataset(world, server.url)
    register_new_shards(world)
    metadata = world.reported(train_photos, shard="000-001")
    manifest = world.store.read("train/photos", MANIFEST, "000-001")
    assert (metadata["dagster/row_count"], manifest.height) == (12, 12)
    assert {Path(path).name for path in manifest["path"]} == {"images_000.tar", "images_001.tar"}
    first = locations_of(manifest)[0]
    assert first.image_id == "0000000000001e10"
    assert read_photo(first.path, first.offset, first.size).shape == (700, 800, 3)
    assert not list(world.root.rglob("*.jpg"))


def test_a_second_materialization_fetches_nothing_and_a_lost_tar_is_fetched_again(
    server: BucketServer, world: World
) -> None:
    take_dataset(world, server.url)
    register_new_shards(world)
    world.reported(index_photos, shard="000-000")
    asked = len(server.asked)
    assert world.reported(index_photos, shard="000-000")["unchanged"]
    assert len(server.asked) == asked
    next(world.root.rglob("images_000.tar")).unlink()
    assert world.reported(index_photos, shard="000-000")["unchanged"]
    assert next(world.root.rglob("images_000.tar")).exists()


def test_the_published_cleaned_set_can_replace_our_own_cleaning(server: BucketServer, world: World) -> None:
    take_dataset(world, server.url)
    world.materialize(train_labels, cleaned_dataset, configs={"cleaned_dataset": {"published": True}})
    cleaned = world.store.read("cleaned_dataset", CLEANED_DATASET)
    ids = [image_id("train", 0, photo) for photo in (0, 3, 5)]
    expected = pl.DataFrame({"image_id": ids, "landmark_id": [7, 7, 9], "class_id": [0, 0, 1]})
    assert cleaned.equals(expected.cast({"class_id": pl.Int32}).sort("image_id"))
    assert world.store.read("train/labels", LABELS).height == 24


def test_a_photo_replaced_in_a_folder_is_reported_and_a_touched_one_is_not(world: World, photos: Path) -> None:
    register_new_shards(world)
    first = world.reported(index_photos, shard="0000")
    assert (first["added"], first["removed"], first["replaced"]) == (4, 0, 0)
    (photos / "1.jpg").touch()
    assert world.reported(index_photos, shard="0000")["version"] == first["version"]
    write_photo(photos / "1.jpg", 99)
    changed = world.reported(index_photos, shard="0000")
    assert (changed["added"], changed["removed"], changed["replaced"]) == (0, 0, 1)
    assert changed["version"] != first["version"]


def test_photos_added_to_a_folder_make_a_new_shard_and_leave_the_old_one(world: World, photos: Path) -> None:
    register_new_shards(world)
    world.reported(index_photos, shard="0000")
    write_photo(photos / "00.jpg", 99)
    assert register_new_shards(world) == {"index_shards": ["0001"]}
    assert world.reported(index_photos, shard="0000")["unchanged"]
    assert world.reported(index_photos, shard="0001")["dagster/row_count"] == 1


def test_a_missing_folder_leaves_the_stored_shard_unchanged(world: World, photos: Path) -> None:
    register_new_shards(world)
    world.reported(index_photos, shard="0000")
    stored = world.store.path("index/photos", "0000").read_bytes()
    photos.parent.rename(world.root / "elsewhere")
    with pytest.raises(Exception, match="There is no photo folder"):
        world.reported(index_photos, shard="0000")
    assert world.store.path("index/photos", "0000").read_bytes() == stored


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
    good: int, bad: int, passed: bool, severity: dg.AssetCheckSeverity, world: World, photos: Path
) -> None:
    world.take_photos_from(photos.parent, photos_per_shard=1000)
    for path in photos.iterdir():
        path.unlink()
    for number in range(good):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(photos / f"{number:03d}.png")
    for number in range(bad):
        (photos / f"bad{number}.jpg").write_text("<html>not found</html>")
    register_new_shards(world)
    result = world.materialize(index_photos, index_readable, shard="0000")
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (passed, severity)
    assert world.store.read("index/unreadable", UNREADABLE, "0000").height == bad
