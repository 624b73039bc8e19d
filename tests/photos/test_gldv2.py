"""The GLDv2 source against a bucket of its layout on a real server: shards, TARs, kills, sums, ground truth."""

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from landmark_dag.errors import InputError
from landmark_dag.photos.download import WRITTEN_AT_ONCE, DownloadError
from landmark_dag.photos.gldv2 import Gldv2Source
from landmark_dag.photos.manifest import build_manifest
from landmark_dag.photos.reading import decode_photo, read_bytes
from landmark_dag.photos.source import SPLITS
from landmark_dag.settings.photos import Gldv2Settings
from tests.photos.bucket import (
    BucketServer,
    Fault,
    bucket_settings,
    build_bucket,
    image_id,
    publish_md5,
    serving,
    write_tar,
)
from tests.support.photos import jpeg


@pytest.fixture
def bucket(tmp_path: Path) -> tuple[Path, dict[str, bytes]]:
    root = tmp_path / "bucket"
    return root, build_bucket(root)


@pytest.fixture
def server(bucket: tuple[Path, dict[str, bytes]]) -> Iterator[BucketServer]:
    with serving(bucket[0]) as server:
        yield server


def source(base_url: str, cache: Path, **changes: object) -> Gldv2Source:
    return Gldv2Source(bucket_settings(base_url, **changes), cache)


def bytes_of(photos: Gldv2Source) -> dict[str, bytes]:
    """Every photo of every shard, read at its place."""
    return {
        where.image_id: read_bytes(where.path, where.offset, where.size)
        for split in SPLITS
        for shard in photos.shards(split)
        for where in photos.locations(split, shard)
    }


def test_the_published_dataset_makes_120_shards(tmp_path: Path) -> None:
    photos = Gldv2Source(Gldv2Settings(), tmp_path)
    assert [len(photos.shards(split)) for split in SPLITS] == [50, 50, 20]
    assert photos.shards("train")[:2] == ["000-009", "010-019"]
    assert photos.shards("train")[-1] == "490-499"
    assert photos.shards("index")[-1] == "098-099"
    assert photos.shards("query")[-1] == "019-019"


def test_every_photo_of_the_bucket_is_read_from_inside_its_tar(
    bucket: tuple[Path, dict[str, bytes]], server: BucketServer, tmp_path: Path
) -> None:
    photos = source(server.url, tmp_path / "cache")
    assert photos.shards("train") == ["000-001", "002-003"]
    assert bytes_of(photos) == bucket[1]
    files = {path.suffix for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert files == {".tar", ".lock"}


def test_locations_are_sorted_by_id_and_nothing_is_fetched_twice(server: BucketServer, tmp_path: Path) -> None:
    photos = source(server.url, tmp_path / "cache")
    first = photos.locations("train", "000-001")
    assert [where.image_id for where in first] == sorted(where.image_id for where in first)
    asked = len(server.asked)
    assert photos.locations("train", "000-001") == first
    assert len(server.asked) == asked
    assert not server.ranges("train/images_002.tar")


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_other_roots_give_the_same_photos(bucket: tuple[Path, dict[str, bytes]], tmp_path: Path, scheme: str) -> None:
    base = f"file://{bucket[0]}"
    if scheme == "memory":
        fsspec.filesystem("memory").put(str(bucket[0]), "/gld", recursive=True)
        base = "memory://gld"
    photos = source(base, tmp_path / "cache")
    assert bytes_of(photos) == bucket[1]
    assert photos.labels().height == 24
    assert photos.retrieval_ground_truth() is not None
    copies = list((tmp_path / "cache").rglob("*.tar"))
    assert len(copies) == (7 if scheme == "memory" else 0)


def test_shards_named_in_the_settings_are_the_only_ones(server: BucketServer, tmp_path: Path) -> None:
    photos = source(server.url, tmp_path, shards=("train/002-003", "query/000-000"))
    assert [photos.shards(split) for split in SPLITS] == [["002-003"], [], ["000-000"]]
    with pytest.raises(InputError, match="no shard '000-001' among those in use"):
        photos.locations("train", "000-001")
    with pytest.raises(InputError, match=r"has no shard 'train/000-009'; its shards have names such as index/000-000"):
        source(server.url, tmp_path, shards=("train/000-009",)).shards("train")
    with pytest.raises(InputError, match="There is no split 'test'"):
        photos.shards("test")


def test_labels_and_ground_truth_come_from_the_bucket(server: BucketServer, tmp_path: Path) -> None:
    photos = source(server.url, tmp_path / "cache")
    labels = photos.labels()
    assert labels.row(0) == ("0000000000001e10", 7, "Pont d'Avignon")
    retrieval, recognition = photos.retrieval_ground_truth(), photos.recognition_ground_truth()
    assert retrieval is not None
    assert recognition is not None
    assert image_id("test", 0, 0) in retrieval.read_text()
    assert recognition.name == "recognition_solution_v2.1.csv"
    assert photos.metadata("train_clean").read_text().startswith("landmark_id,images")


def test_a_bucket_without_ground_truth_has_none(server: BucketServer, tmp_path: Path) -> None:
    shutil.rmtree(server.root / "ground_truth")
    assert source(server.url, tmp_path / "cache").retrieval_ground_truth() is None
    assert source(f"file://{server.root}", tmp_path / "cache").recognition_ground_truth() is None


@pytest.mark.parametrize("local", [False, True])
def test_a_wrong_sum_is_an_error_until_it_is_accepted(server: BucketServer, tmp_path: Path, local: bool) -> None:
    name, published = "train/images_000.tar", "825975" + "0" * 26
    publish_md5(server.root, name, published)
    base = f"file://{server.root}" if local else server.url
    with pytest.raises(
        InputError, match=rf"{name} has the md5 sum \w{{32}}, expected is {published}.*accepted_md5"
    ) as told:
        source(base, tmp_path / "cache").locations("train", "000-001")
    found = str(told.value).split("md5 sum ")[1][:32]
    accepting = source(base, tmp_path / "cache", accepted_md5={name: found})
    assert len(accepting.locations("train", "000-001")) == 12
    assert len(source(base, tmp_path / "cache").locations("train", "002-003")) == 12


def test_a_published_sum_that_is_none_is_an_error(server: BucketServer, tmp_path: Path) -> None:
    publish_md5(server.root, "train/images_000.tar", "<html>")
    with pytest.raises(InputError, match=r"md5\.images_000\.txt is '<html>.*not an md5 sum"):
        source(server.url, tmp_path).locations("train", "000-001")
    with pytest.raises(InputError, match=r"accepted_md5 of train/images_000\.tar is 'yes', not an md5 sum"):
        source(server.url, tmp_path, accepted_md5={"train/images_000.tar": "yes"}).locations("train", "000-001")


def test_a_tar_replaced_in_a_file_root_is_noticed(bucket: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    photos = source(f"file://{bucket[0]}", tmp_path / "cache")
    photos.locations("index", "000-000")
    version, other = photos.version("index", "000-000"), photos.version("index", "001-001")
    (bucket[0] / "index/images_000.tar").write_bytes(b"something else")
    assert photos.version("index", "000-000") != version
    assert photos.version("index", "001-001") == other
    with pytest.raises(DownloadError, match="has the md5 sum"):
        photos.locations("index", "000-000")


def test_the_version_needs_no_server_and_changes_when_a_tar_is_lost(server: BucketServer, tmp_path: Path) -> None:
    photos = source(server.url, tmp_path / "cache")
    missing = photos.version("index", "000-000")
    assert server.asked == []
    photos.locations("index", "000-000")
    here = photos.version("index", "000-000")
    assert here == photos.version("index", "000-000") != missing
    assert photos.version("index", "001-001") != here
    next((tmp_path / "cache").rglob("images_000.tar")).unlink()
    assert photos.version("index", "000-000") == missing


def test_a_tar_that_is_missing_is_named(server: BucketServer, tmp_path: Path) -> None:
    (server.root / "index/images_001.tar").unlink()
    for base in (server.url, f"file://{server.root}"):
        with pytest.raises(InputError, match=r"index/images_001\.tar does not exist"):
            source(base, tmp_path / "cache").locations("index", "001-001")


def test_of_one_id_in_two_tars_of_a_shard_the_first_is_taken_with_a_warning(
    server: BucketServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_tar(server.root, "train/images_001.tar", {"x/0000000000001e10.jpg": jpeg(7)})
    found = source(server.url, tmp_path).locations("train", "000-001")
    assert [Path(one.path).name for one in found if one.image_id == "0000000000001e10"] == ["images_000.tar"]
    assert "skipped '0000000000001e10'" in caplog.text


def test_two_base_urls_share_no_cache(server: BucketServer, tmp_path: Path) -> None:
    first = source(server.url, tmp_path / "cache").locations("query", "000-000")
    write_tar(server.root, "test/images_000.tar", {"new.jpg": jpeg(8)})
    second = source(f"{server.url}/.", tmp_path / "cache").locations("query", "000-000")
    assert len(first) == 6
    assert [where.image_id for where in second] == ["new"]


def test_broken_photos_in_a_tar_land_in_the_unreadable_table(server: BucketServer, tmp_path: Path) -> None:
    members = {"a.jpg": jpeg(1), "b.jpg": b"<html>gone</html>", "c.jpg": b"", "d.jpg": jpeg(2)[:700]}
    write_tar(server.root, "test/images_000.tar", members)
    manifest, unreadable = build_manifest(source(server.url, tmp_path).locations("query", "000-000"))
    assert manifest["image_id"].to_list() == ["a"]
    assert unreadable["image_id"].to_list() == ["b", "c", "d"]


def test_real_photos_go_through_the_bucket_unchanged(server: BucketServer, tmp_path: Path) -> None:
    real = sorted((Path(__file__).parents[3] / "shared/photos").glob("*/query/*.jpg"))[:20]
    members = {f"{path.stem}.jpg": path.read_bytes() for path in real} or {"r.jpg": jpeg(3, 640, 480)}
    write_tar(server.root, "test/images_000.tar", members)
    manifest, unreadable = build_manifest(source(server.url, tmp_path).locations("query", "000-000"))
    assert unreadable.is_empty()
    for name, path, offset, size, width, height, _ in manifest.iter_rows():
        assert read_bytes(path, offset, size) == members[f"{name}.jpg"]
        assert decode_photo(members[f"{name}.jpg"]).shape == (height, width, 3)


FETCH = """
import sys
from pathlib import Path
from landmark_dag.photos.gldv2 import Gldv2Source
from tests.photos.bucket import bucket_settings
Gldv2Source(bucket_settings(sys.argv[1]), Path(sys.argv[2])).locations("train", "000-001")
"""


def kill_while_fetching(server: BucketServer, cache: Path, tar: str, sent: int, settled: bool) -> None:
    """Start a process that fetches a shard, and SIGKILL it once the server has sent `sent` bytes of a TAR.

    When `settled`, the process is first given the time to write what it received.
    """
    server.holding.clear()
    server.faults[f"/{tar}"] = [Fault(hold_after=sent)]
    repository = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", FETCH, server.url, str(cache)], cwd=repository)
    try:
        assert server.holding.wait(60)
        while settled and sum(part.stat().st_size for part in cache.rglob(f"{Path(tar).name}.part")) < (
            sent // WRITTEN_AT_ONCE * WRITTEN_AT_ONCE
        ):
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    server.faults.clear()


def assert_resumes_to_the_same(server: BucketServer, tmp_path: Path, kills: int, seed: int) -> None:
    whole = build_manifest(source(server.url, tmp_path / "whole").locations("train", "000-001"))[0]
    rng = random.Random(seed)
    server.asked.clear()
    for kill in range(kills):
        cache = tmp_path / f"killed{kill}"
        tar = f"train/images_{rng.randrange(2):03d}.tar"
        kill_while_fetching(
            server, cache, tar, rng.randrange((server.root / tar).stat().st_size), settled=kill % 2 == 0
        )
        assert not list(cache.rglob(Path(tar).name))
        resumed = build_manifest(source(server.url, cache).locations("train", "000-001"))[0]
        assert resumed.drop("path").equals(whole.drop("path"))
        for fetched in sorted(cache.rglob("*.tar")):
            assert fetched.read_bytes() == (server.root / "train" / fetched.name).read_bytes()
        assert len(list(cache.rglob("*.tar"))) == 2
        assert not list(cache.rglob("*.part"))
    assert any(asked for path, asked in server.asked if path.endswith(".tar"))  # some part was worth resuming


def test_a_download_killed_midway_is_resumed_to_the_same_bytes(server: BucketServer, tmp_path: Path) -> None:
    assert_resumes_to_the_same(server, tmp_path, kills=2, seed=5)


@pytest.mark.slow
def test_a_download_killed_at_ten_random_points_is_resumed_to_the_same_bytes(
    server: BucketServer, tmp_path: Path
) -> None:
    assert_resumes_to_the_same(server, tmp_path, kills=10, seed=2)
