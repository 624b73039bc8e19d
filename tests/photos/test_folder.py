"""The folder source: ids, labels, lasting shards, and everything that can be wrong with a folder."""

import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.photos.folder import FolderSource
from landmark_dag.photos.manifest import build_manifest, manifest_changes
from landmark_dag.storage.schemas import LABELS
from tests.support.photos import jpeg, write_photo


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of two landmarks, three index photos and a query."""
    root = tmp_path / "photos"
    names = "train/Tower/t1.jpg train/Bridge/b1.jpg train/Bridge/b2.JPG index/i3.png index/deep/er/i1.jpg index/i2.jpeg"
    for seed, name in enumerate([*names.split(), "query/q1.webp"]):
        write_photo(root / name, seed)
    return root


def source(root: Path, photos_per_shard: int = 2) -> FolderSource:
    return FolderSource(root, photos_per_shard, root.parent / "memory")


def ids(photos: FolderSource, split: str, shard: str) -> list[str]:
    return [location.image_id for location in photos.locations(split, shard)]


def test_photos_are_found_at_any_depth_and_sliced_by_sorted_id(root: Path) -> None:
    photos = source(root)
    assert photos.shards("index") == ["0000", "0001"]
    assert ids(photos, "index", "0000") == ["i1", "i2"]
    assert ids(photos, "index", "0001") == ["i3"]
    location = photos.locations("index", "0000")[0]
    assert location.path == str(root / "index/deep/er/i1.jpg")
    assert (location.offset, location.size) == (0, Path(location.path).stat().st_size)


def test_a_landmark_is_numbered_by_its_sorted_name(root: Path) -> None:
    (root / "train/Abbey").mkdir()
    labels = source(root).labels()
    assert labels.schema == LABELS.schema
    assert labels.rows() == [("b1", 0, "Bridge"), ("b2", 0, "Bridge"), ("t1", 1, "Tower")]


def test_files_that_are_no_photos_and_hidden_files_are_skipped(root: Path) -> None:
    for name in ("notes.txt", ".hidden.jpg", "._i1.jpg", ".thumbnails/i9.jpg", "photo"):
        write_photo(root / "index" / name)
    os.mkfifo(root / "index/pipe.jpg")
    photos = source(root, 100)
    assert ids(photos, "index", "0000") == ["i1", "i2", "i3"]


def test_photos_added_later_make_new_shards_and_leave_old_ones_as_they_are(root: Path) -> None:
    photos = source(root)
    before = {shard: photos.locations("index", shard) for shard in photos.shards("index")}
    versions = {shard: photos.version("index", shard) for shard in before}
    for name in ("a1", "i25", "z1"):
        write_photo(root / f"index/{name}.jpg")
    assert photos.shards("index") == ["0000", "0001", "0002", "0003"]
    assert {shard: photos.locations("index", shard) for shard in before} == before
    assert {shard: photos.version("index", shard) for shard in before} == versions
    assert ids(photos, "index", "0002") == ["a1", "i25"]
    assert ids(photos, "index", "0003") == ["z1"]


@given(st.lists(st.sets(st.text("abc", min_size=1, max_size=4), min_size=1), min_size=1, max_size=5), st.data())
@settings(max_examples=25, deadline=None)
def test_the_members_of_a_shard_never_change(batches: list[set[str]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "photos")
        shard_of: dict[str, str] = {}
        for batch in batches:
            for name in batch:
                write_photo(root / f"index/{name}.jpg")
            photos = source(root, data.draw(st.integers(1, 4)))
            now = {image_id: shard for shard in photos.shards("index") for image_id in ids(photos, "index", shard)}
            assert now.keys() == shard_of.keys() | batch
            assert shard_of.items() <= now.items()
            fresh = sorted(now.keys() - shard_of.keys())
            assert [now[name] for name in fresh] == sorted(now[name] for name in fresh)
            shard_of = now


def test_a_photo_that_is_gone_stays_in_its_shard_and_is_found_unreadable(root: Path) -> None:
    photos = source(root)
    before, _ = build_manifest(photos.locations("index", "0000"))
    version = photos.version("index", "0000")
    (root / "index/i2.jpeg").unlink()
    assert photos.version("index", "0000") != version
    after, unreadable = build_manifest(photos.locations("index", "0000"))
    assert after["image_id"].to_list() == ["i1"]
    assert unreadable.rows() == [("i2", str(root / "index/i2.jpeg"), 0, 0, "the file is gone")]
    assert manifest_changes(before, after).removed == ["i2"]
    assert photos.shards("index") == ["0000", "0001"]


def test_a_photo_replaced_under_its_id_is_noticed(root: Path) -> None:
    photos = source(root)
    before, _ = build_manifest(photos.locations("index", "0000"))
    version = photos.version("index", "0000")
    write_photo(root / "index/i2.jpeg", seed=99)
    assert photos.version("index", "0000") != version
    after, _ = build_manifest(photos.locations("index", "0000"))
    changes = manifest_changes(before, after)
    assert (changes.added, changes.removed, changes.replaced) == ([], [], ["i2"])


def test_a_photo_moved_to_another_landmark_keeps_its_shard(root: Path) -> None:
    photos = source(root)
    photos.shards("train")
    shutil.move(root / "train/Bridge/b2.JPG", root / "train/Tower/b2.JPG")
    assert [location.path for location in photos.locations("train", "0000")][1] == str(root / "train/Tower/b2.JPG")
    assert photos.labels().filter(pl.col("image_id") == "b2")["landmark"].item() == "Tower"


def test_a_shard_whose_photos_are_all_gone_is_an_error_and_the_memory_stays(root: Path) -> None:
    photos = source(root)
    photos.shards("index")
    remembered = (root.parent / "memory/index.parquet").read_bytes()
    (root / "index/i3.png").unlink()
    with pytest.raises(InputError, match=r"All 1 photos of shard 0001 are gone from .*index; bring them back"):
        photos.locations("index", "0001")
    shutil.move(root / "index", root / "elsewhere")
    with pytest.raises(InputError, match="has no folder index/"):
        photos.shards("index")
    (root / "index").mkdir()
    with pytest.raises(InputError, match="index holds no photo"):
        photos.shards("index")
    assert (root.parent / "memory/index.parquet").read_bytes() == remembered
    (root / "index").rmdir()
    shutil.move(root / "elsewhere", root / "index")
    write_photo(root / "index/i3.png", 3)
    assert ids(photos, "index", "0001") == ["i3"]


def test_many_readers_at_once_agree_on_the_shards(root: Path) -> None:
    for number in range(30):
        write_photo(root / f"index/n{number}.jpg")
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda size: source(root, size).shards("index"), range(1, 9)))
    assert all(keys == seen[0] for keys in seen)


def test_the_memory_says_its_format_version(root: Path) -> None:
    source(root).shards("index")
    assert pl.read_parquet_metadata(root.parent / "memory/index.parquet")["landmark_dag.format"] == "1"


@pytest.mark.parametrize("content", [b"", b"PAR1 rubbish PAR1"])
def test_a_broken_memory_is_an_error_that_names_it_and_is_not_overwritten(root: Path, content: bytes) -> None:
    memory = root.parent / "memory/index.parquet"
    memory.parent.mkdir()
    memory.write_bytes(content)
    with pytest.raises(InputError, match=r"memory/index\.parquet, which keeps the shards, is broken"):
        source(root).shards("index")
    assert memory.read_bytes() == content


def test_a_memory_of_another_format_is_an_error(root: Path) -> None:
    memory = root.parent / "memory/index.parquet"
    memory.parent.mkdir()
    pl.DataFrame({"image_id": ["i1"]}).write_parquet(memory, metadata={"landmark_dag.format": "2"})
    with pytest.raises(InputError, match="has format 2, this release writes format 1"):
        source(root).shards("index")


def test_linked_folders_and_files_are_followed_but_never_in_circles(root: Path) -> None:
    elsewhere = root.parent / "elsewhere"
    write_photo(elsewhere / "i7.jpg")
    (root / "index/more").symlink_to(elsewhere, target_is_directory=True)
    (root / "index/deep/loop").symlink_to(root / "index", target_is_directory=True)
    (root / "index/i8.jpg").symlink_to(elsewhere / "i7.jpg")
    (root / "index/i9.jpg").symlink_to(elsewhere / "nothing.jpg")
    photos = source(root, 100)
    assert ids(photos, "index", "0000") == ["i1", "i2", "i3", "i7", "i8", "i9"]
    _, unreadable = build_manifest(photos.locations("index", "0000"))
    assert unreadable.select("image_id", "reason").rows() == [("i9", "the file is gone")]


def test_two_files_of_one_id_are_both_named(root: Path) -> None:
    write_photo(root / "index/other/i1.png")
    with pytest.raises(InputError) as error:
        source(root).shards("index")
    for name in ("index/deep/er/i1.jpg", "index/other/i1.png", "same image id 'i1'"):
        assert name in str(error.value)


def test_two_splits_may_hold_the_same_id(root: Path) -> None:
    write_photo(root / "query/i1.jpg")
    assert ids(source(root), "query", "0000") == ["i1", "q1"]


def test_a_photo_beside_the_landmark_folders_is_an_error(root: Path) -> None:
    write_photo(root / "train/lost.jpg")
    with pytest.raises(InputError, match=r"train/lost\.jpg belongs to no landmark; move it to"):
        source(root).labels()


def test_a_name_that_no_table_can_hold_is_an_error(root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root / "index") + b"/caf\xe9.jpg")).write_bytes(jpeg())
    with pytest.raises(InputError, match=r"caf\\udce9\.jpg' is not valid UTF-8"):
        source(root).shards("index")


def test_a_missing_folder_a_missing_split_and_an_unknown_shard_are_named(root: Path) -> None:
    with pytest.raises(InputError, match=r"There is no photo folder .*nowhere"):
        source(root / "nowhere").shards("train")
    shutil.rmtree(root / "train")
    with pytest.raises(InputError, match=r"has no folder train/; put its photos in .*train/<landmark name>/"):
        source(root).labels()
    with pytest.raises(InputError, match="has no shard '0009'"):
        source(root).locations("index", "0009")
    with pytest.raises(InputError, match="There is no split 'test'"):
        source(root).shards("test")
    with pytest.raises(InputError, match="photos_per_shard is 0"):
        source(root, 0).shards("index")


def test_ground_truth_is_found_where_there_is_some(root: Path) -> None:
    assert source(root).retrieval_ground_truth() is None
    assert source(root).recognition_ground_truth() is None
    for name in ("retrieval_solution.csv", "recognition_solution.csv"):
        (root / "ground_truth").mkdir(exist_ok=True)
        (root / "ground_truth" / name).write_text("id\n")
    assert source(root).retrieval_ground_truth() == root / "ground_truth/retrieval_solution.csv"
    assert source(root).recognition_ground_truth() == root / "ground_truth/recognition_solution.csv"
