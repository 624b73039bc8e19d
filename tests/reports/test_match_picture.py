"""Matching two photo files, and the picture of their inliers."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_dag.errors import InputError
from landmark_dag.matching.features import gather
from landmark_dag.matching.rootsift import rootsift
from landmark_dag.matching.verification import verify_pairs
from landmark_dag.reports.match_picture import match_photos, match_picture
from landmark_dag.settings.matching import LocalFeatureSettings, VerificationSettings
from tests.matching.scenes import facade, warped

TURNED = np.array([[0.95, -0.2, 30], [0.2, 0.95, -25]], np.float32)


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "front.png", tmp_path / "turned.png"
    Image.fromarray(facade(1)).save(paths[0])
    Image.fromarray(warped(facade(1), TURNED)).save(paths[1])
    return paths


def test_inliers_are_those_that_verification_counts(photos: tuple[Path, Path]) -> None:
    result = match_photos(*photos)
    pictures = facade(1), warped(facade(1), TURNED)
    lookup = gather(["front", "turned"], [rootsift(picture, LocalFeatureSettings()) for picture in pictures])
    inliers, affine = verify_pairs(lookup, np.array([[0, 1]]), VerificationSettings())
    assert result.inliers == inliers[0] > 60
    assert np.array_equal(result.affine, affine[0])
    moved = result.places_a @ TURNED[:, :2].T + TURNED[:, 2]
    assert np.abs(moved - result.places_b).max() < 9


def test_the_other_way_round_gives_the_same_inliers_turned(photos: tuple[Path, Path]) -> None:
    there, back = match_photos(*photos), match_photos(*reversed(photos))
    assert np.array_equal(there.places_a, back.places_b) and np.array_equal(there.places_b, back.places_a)
    moved = back.places_a @ back.affine[:, :2].T + back.affine[:, 2]
    assert np.abs(moved - back.places_b).max() < 9


def test_the_picture_shows_both_photos_and_a_line_for_each_inlier(photos: tuple[Path, Path]) -> None:
    result = match_photos(*photos)
    picture = np.asarray(Image.open(io.BytesIO(match_picture(result))))
    assert picture.shape == (240, 320 + 8 + 320, 3)
    green = (picture == (0, 170, 90)).all(axis=2)
    assert green[:, 322].sum() > 20
    for x, y in np.rint(result.places_a).astype(int):
        assert green[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].any()


def test_photos_of_nothing_in_common_make_a_picture_of_both(tmp_path: Path) -> None:
    Image.fromarray(facade(1)).save(tmp_path / "a.png")
    Image.new("RGB", (100, 300), (9, 9, 9)).save(tmp_path / "b.png")
    result = match_photos(tmp_path / "a.png", tmp_path / "b.png")
    assert result.inliers == 0 and not result.affine.any()
    picture = np.asarray(Image.open(io.BytesIO(match_picture(result))))
    assert picture.shape == (300, 320 + 8 + 100, 3)
    assert np.array_equal(picture[:240, :320], facade(1))


@pytest.mark.parametrize("content", [None, b"", b"Dear reader"])
def test_a_file_that_is_missing_or_no_photo_is_named(
    photos: tuple[Path, Path], tmp_path: Path, content: bytes | None
) -> None:
    bad = tmp_path / "letter.jpg"
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(InputError, match=r"letter\.jpg"):
        match_photos(photos[0], bad)
