"""RootSIFT of photos, and the file of a shard's local features."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from landmark_dag.errors import InputError
from landmark_dag.matching.local_features import (
    JoinedFeatures,
    LocalFeatures,
    extract_shard,
    quantised_descriptors,
    read_local_features,
    rootsift,
    write_local_features,
)
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.matching import LocalFeatureSettings
from landmark_dag.storage.schemas import LOCAL_FEATURES
from tests.matching.scenes import facade, lookup, planted
from tests.support.photos import located
from tests.support.vectors import normalised

SETTINGS = LocalFeatureSettings()


def extracted(photos: list[PhotoLocation], settings: LocalFeatureSettings = SETTINGS) -> LocalFeatures:
    (features,) = extract_shard(photos, settings)
    return features


def same(first: LocalFeatures, second: LocalFeatures) -> bool:
    return (
        first.image_ids == second.image_ids
        and np.array_equal(first.offsets, second.offsets)
        and np.array_equal(first.rows.keypoints, second.rows.keypoints)
        and np.array_equal(first.rows.orientations, second.rows.orientations)
        and np.array_equal(first.rows.descriptors, second.rows.descriptors)
    )


@pytest.fixture
def photos(tmp_path: Path) -> list[PhotoLocation]:
    for seed in range(5):
        Image.fromarray(facade(seed)).save(tmp_path / f"photo{seed}.png")
    return [located(tmp_path / f"photo{seed}.png") for seed in range(5)]


def test_descriptors_are_unit_vectors_and_keypoints_lie_in_the_photo() -> None:
    features = rootsift(facade(1), SETTINGS)
    norms = np.linalg.norm(features.descriptors.astype(float) / 256, axis=1)
    assert len(features.keypoints) > 100
    assert abs(norms - 1).max() < 0.05
    assert (features.keypoints >= 0).all() and (features.keypoints < (320, 240)).all()
    assert features.descriptors.dtype == np.int8 and features.descriptors.min() >= 0


def test_only_the_strongest_keypoints_stay_and_they_are_the_first_of_more() -> None:
    some = rootsift(facade(1), LocalFeatureSettings(max_keypoints=40))
    more = rootsift(facade(1), SETTINGS)
    assert len(some.keypoints) == 40
    assert np.array_equal(some.keypoints, more.keypoints[:40])


@pytest.mark.parametrize("shape", [(1, 1, 3), (60, 80, 3)])
def test_a_photo_without_texture_has_no_keypoints(shape: tuple[int, int, int]) -> None:
    features = rootsift(np.full(shape, 90, np.uint8), SETTINGS)
    assert features.keypoints.shape == (0, 2)
    assert features.orientations.shape == (0, 2)
    assert features.descriptors.shape == (0, 128)


def test_a_shard_gives_the_same_bytes_twice_and_each_photo_its_own(photos: list[PhotoLocation]) -> None:
    features = extracted(photos)
    assert same(features, extracted(photos))
    alone = extracted(photos[3:4])
    assert np.array_equal(features.descriptors(3), alone.descriptors(0))
    assert np.array_equal(features.keypoints(3), alone.keypoints(0))


def test_photos_are_shrunk_to_the_long_side(photos: list[PhotoLocation]) -> None:
    features = extracted(photos, LocalFeatureSettings(long_side=80))
    assert features.rows.keypoints.max() < 80


def test_a_file_that_is_no_photo_is_named(tmp_path: Path) -> None:
    path = tmp_path / "letter.jpg"
    path.write_text("Dear reader")
    with pytest.raises(InputError, match=r"letter\.jpg"):
        extracted([located(path)])


def test_a_file_reads_back_memory_mapped_chunk_by_chunk(photos: list[PhotoLocation], tmp_path: Path) -> None:
    features = extracted(photos)
    path = tmp_path / "shard.arrow"
    written = write_local_features(path, [extracted(photos[:2]), extracted(photos[2:])], "version 7")
    stored = read_local_features(path)
    assert written == len(photos) and stored.image_ids == features.image_ids
    for position in range(len(photos)):
        assert np.array_equal(stored.keypoints(position), features.keypoints(position))
        assert np.array_equal(stored.orientations(position), features.orientations(position))
        descriptors = stored.descriptors(position)
        assert np.array_equal(descriptors, features.descriptors(position))
        assert not descriptors.flags.owndata and not descriptors.flags.writeable
    schema = pa.ipc.open_file(str(path)).schema
    assert schema.metadata[b"landmark_dag.version"] == b"version 7"
    assert schema.names == list(LOCAL_FEATURES.schema)


def test_a_shard_is_written_while_it_is_extracted(
    photos: list[PhotoLocation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landmark_dag.matching.local_features.CHUNK", 2)
    chunks = list(extract_shard(photos, SETTINGS))
    assert [chunk.image_ids for chunk in chunks] == [["photo0", "photo1"], ["photo2", "photo3"], ["photo4"]]
    assert same(chunks[2], extracted(photos[4:]))


def test_a_chunk_that_fails_leaves_the_file_as_it_was(photos: list[PhotoLocation], tmp_path: Path) -> None:
    path = tmp_path / "shard.arrow"
    write_local_features(path, [extracted(photos[:1])], "1")
    before = path.read_bytes()
    broken = [*photos, PhotoLocation("lost", str(tmp_path / "lost.png"), 0, 9)]
    with pytest.raises(InputError, match=r"lost\.png"):
        write_local_features(path, extract_shard(broken, SETTINGS), "2")
    assert path.read_bytes() == before and sorted(tmp_path.glob("*.arrow*")) == [path]


def test_a_shard_without_photos_reads_back(tmp_path: Path) -> None:
    write_local_features(tmp_path / "empty.arrow", extract_shard([], SETTINGS), "1")
    assert read_local_features(tmp_path / "empty.arrow").image_ids == []


def test_a_shard_of_flat_photos_reads_back(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), (9, 9, 9)).save(tmp_path / "flat.png")
    write_local_features(tmp_path / "s.arrow", extract_shard([located(tmp_path / "flat.png")], SETTINGS), "1")
    assert read_local_features(tmp_path / "s.arrow").descriptors(0).shape == (0, 128)


@pytest.mark.parametrize("content", [None, b"", b"not an arrow file at all"])
def test_a_file_that_is_missing_or_something_else_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "features.arrow"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"features\.arrow"):
        read_local_features(path)


def test_a_file_of_another_layout_is_refused(tmp_path: Path) -> None:
    batch = pa.record_batch([pa.array(["a"])], names=["image_id"], metadata={b"landmark_dag.format": b"0"})
    with pa.ipc.new_file(str(tmp_path / "old.arrow"), batch.schema) as writer:
        writer.write_batch(batch)
    with pytest.raises(InputError, match="which recomputes it"):
        read_local_features(tmp_path / "old.arrow")


def test_joined_shards_count_positions_through_all_of_them() -> None:
    photos = [part for seed in range(3) for part in planted(seed, 5, np.eye(2, 3), others=seed)]
    joined = JoinedFeatures([lookup(*photos[:1]), lookup(), lookup(*photos[1:4]), lookup(*photos[4:])])
    assert len(joined.image_ids) == len(photos)
    for position, expected in enumerate(photos):
        assert np.array_equal(joined.keypoints(position), expected.keypoints)
        assert np.array_equal(joined.orientations(position), expected.orientations)
        assert np.array_equal(joined.descriptors(position), expected.descriptors)


def test_quantising_keeps_angles() -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 40)).astype(np.float32)
    rounded = quantised_descriptors(vectors, "a").astype(float)
    assert (normalised(vectors) * normalised(rounded)).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_descriptors_that_are_not_finite_or_zero_are_refused(value: float) -> None:
    vectors = np.ones((3, 40), np.float32)
    vectors[1] = value
    with pytest.raises(InputError, match="Photo bad7"):
        quantised_descriptors(vectors, "bad7")
