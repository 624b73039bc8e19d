"""RootSIFT of photos."""

from pathlib import Path

import numpy as np
import pytest

from landmark_dag.errors import InputError
from landmark_dag.matching.features import PhotoFeatures
from landmark_dag.matching.rootsift import photos_rootsift, rootsift
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.matching import LocalFeatureSettings
from tests.matching.scenes import facade, location, write_facades

SETTINGS = LocalFeatureSettings()


@pytest.fixture
def photos(tmp_path: Path) -> list[PhotoLocation]:
    return write_facades(tmp_path, 5)


def same(first: PhotoFeatures, second: PhotoFeatures) -> bool:
    return (
        np.array_equal(first.keypoints, second.keypoints)
        and np.array_equal(first.orientations, second.orientations)
        and np.array_equal(first.descriptors, second.descriptors)
    )


def test_descriptors_are_unit_vectors_and_keypoints_are_in_the_photo() -> None:
    features = rootsift(facade(1), SETTINGS)
    norms = np.linalg.norm(features.descriptors.astype(float) / 256, axis=1)
    assert len(features.keypoints) > 100
    assert abs(norms - 1).max() < 0.05
    assert (features.keypoints >= 0).all() and (features.keypoints < (320, 240)).all()
    assert features.descriptors.dtype == np.int8 and features.descriptors.min() >= 0


def test_only_the_strongest_keypoints_are_kept_and_they_are_the_first_of_more() -> None:
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


def test_photos_give_the_same_bytes_twice_and_in_any_list(photos: list[PhotoLocation]) -> None:
    features, again = photos_rootsift(photos, SETTINGS), photos_rootsift(photos, SETTINGS)
    assert all(same(first, second) for first, second in zip(features, again, strict=True))
    (alone,) = photos_rootsift(photos[3:4], SETTINGS)
    assert same(features[3], alone)


def test_photos_are_shrunk_to_the_long_side(photos: list[PhotoLocation]) -> None:
    features = photos_rootsift(photos, LocalFeatureSettings(long_side=80))
    assert all(photo.keypoints.max() < 80 for photo in features)


def test_a_file_that_is_no_photo_is_named(tmp_path: Path) -> None:
    path = tmp_path / "letter.jpg"
    path.write_text("Dear reader")
    with pytest.raises(InputError, match=r"letter\.jpg"):
        photos_rootsift([location(path)], SETTINGS)
