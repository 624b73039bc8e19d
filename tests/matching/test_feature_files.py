"""The file of a shard's local features."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from landmark_dag.errors import InputError
from landmark_dag.matching.feature_files import read_local_features, write_local_features
from landmark_dag.matching.feature_kinds import extract_features
from landmark_dag.matching.features import LocalFeatures
from landmark_dag.matching.rootsift import photos_rootsift
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.matching import LocalFeatureSettings
from landmark_dag.storage.schemas import LOCAL_FEATURES
from tests.matching.scenes import location, write_facades

SETTINGS = LocalFeatureSettings()


@pytest.fixture
def photos(tmp_path: Path) -> list[PhotoLocation]:
    return write_facades(tmp_path, 5)


def chunks(photos: list[PhotoLocation], photos_per_chunk: int = 1024) -> Iterator[LocalFeatures]:
    return extract_features(photos, partial(photos_rootsift, settings=SETTINGS), photos_per_chunk)


def test_a_file_reads_back_memory_mapped_chunk_by_chunk(photos: list[PhotoLocation], tmp_path: Path) -> None:
    features = photos_rootsift(photos, SETTINGS)
    path = tmp_path / "shard.arrow"
    written = write_local_features(path, chunks(photos, 2), "version 7")
    stored = read_local_features(path)
    assert written == len(photos) and stored.image_ids == [photo.image_id for photo in photos]
    for position, expected in enumerate(features):
        found = stored.photo(position)
        assert np.array_equal(found.keypoints, expected.keypoints)
        assert np.array_equal(found.orientations, expected.orientations)
        assert np.array_equal(found.descriptors, expected.descriptors)
        assert not found.descriptors.flags.owndata and not found.descriptors.flags.writeable
    schema = pa.ipc.open_file(str(path)).schema
    assert schema.metadata[b"landmark_dag.version"] == b"version 7"
    assert schema.names == list(LOCAL_FEATURES.schema)


def test_a_chunk_that_fails_leaves_the_file_as_it_was(photos: list[PhotoLocation], tmp_path: Path) -> None:
    path = tmp_path / "shard.arrow"
    write_local_features(path, chunks(photos[:1]), "1")
    before = path.read_bytes()
    broken = [*photos, PhotoLocation("lost", str(tmp_path / "lost.png"), 0, 9)]
    with pytest.raises(InputError, match=r"lost\.png"):
        write_local_features(path, chunks(broken), "2")
    assert path.read_bytes() == before and sorted(tmp_path.glob("*.arrow*")) == [path]


def test_a_shard_without_photos_reads_back(tmp_path: Path) -> None:
    write_local_features(tmp_path / "empty.arrow", chunks([]), "1")
    assert read_local_features(tmp_path / "empty.arrow").image_ids == []


def test_a_shard_of_flat_photos_reads_back(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), (9, 9, 9)).save(tmp_path / "flat.png")
    write_local_features(tmp_path / "s.arrow", chunks([location(tmp_path / "flat.png")]), "1")
    assert read_local_features(tmp_path / "s.arrow").photo(0).descriptors.shape == (0, 128)


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
