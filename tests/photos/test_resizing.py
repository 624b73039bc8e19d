"""Sizes by aspect ratio, resizing and augmentation."""

from pathlib import Path

import numpy as np
import pytest
import torch

from landmark_dag.errors import InputError
from landmark_dag.photos.resizing import decoded, photo_sizes, resized, scaled, size_for
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.training import AUGMENTATIONS, Augmentation
from landmark_dag.training.augmentation import augmented


def test_the_sizes_are_those_of_the_paper() -> None:
    assert photo_sizes(448, 512) == ((352, 512), (384, 512), (448, 448), (512, 384), (512, 352))
    assert photo_sizes(800, 800) == ((544, 800), (608, 800), (800, 800), (800, 608), (800, 544))


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(60, 100, 0), (70, 100, 1), (100, 100, 2), (140, 100, 3), (200, 100, 4), (133, 100, 2), (1000, 16, 4)],
)
def test_a_photo_gets_the_size_of_its_aspect_ratio(width: int, height: int, expected: int) -> None:
    sizes = photo_sizes(448, 512)
    assert size_for(np.zeros((height, width, 3), np.uint8), sizes) == sizes[expected]


def test_scaling_keeps_the_smallest_side_and_the_multiple() -> None:
    assert scaled((800, 544), 0.75, 128, 1) == (600, 408)
    assert scaled((160, 96), 0.75, 128, 1) == (213, 128)
    assert scaled((160, 96), 0.75, 16, 14) == (126, 70)


def test_resizing_a_flat_photo_keeps_its_colour() -> None:
    photo = np.full((50, 70, 3), (10, 120, 250), np.uint8)
    shrunk = resized(photo, (32, 24))
    assert shrunk.shape == (3, 24, 32) and shrunk.dtype == torch.uint8
    assert torch.equal(shrunk.amax((1, 2)), torch.tensor([10, 120, 250], dtype=torch.uint8))


@pytest.mark.parametrize("name", ["soft", "middle"])
def test_augmentation_follows_its_generator_and_nothing_else(name: str) -> None:
    photo = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    before = torch.random.get_rng_state()
    views = [augmented(photo, (32, 24), AUGMENTATIONS[name], np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert torch.equal(views[0], views[1]) and not torch.equal(views[0], views[2])
    assert all(view.shape == (3, 24, 32) and view.dtype == torch.uint8 and view.is_contiguous() for view in views)
    assert torch.equal(before, torch.random.get_rng_state())


def test_brightness_stays_within_its_bounds() -> None:
    photo = np.full((60, 80, 3), 100, np.uint8)
    photo[:, :40] = 50
    views = [augmented(photo, (32, 24), AUGMENTATIONS["soft"], np.random.default_rng(seed)) for seed in range(20)]
    assert all(int(view.min()) >= 40 and int(view.max()) <= 115 for view in views)
    assert len({int(view.max()) for view in views}) > 5


def test_contrast_spreads_values_about_the_mean() -> None:
    photo = np.full((40, 40, 3), 60, np.uint8)
    photo[:, ::2] = 180
    seen = set()
    for seed in range(20):
        view = augmented(photo, (40, 40), Augmentation(contrast=0.5), np.random.default_rng(seed))
        bright, dark = view[0, 0, :2].tolist()
        assert dark + bright == pytest.approx(240, abs=1) and 29 <= dark <= 91
        seen.add(dark)
    assert min(seen) < 45 and max(seen) > 75


def test_a_shear_turns_lines_by_at_most_its_angle_about_the_centre() -> None:
    photo = np.zeros((101, 101, 3), np.uint8)
    photo[48:53, :] = 200
    slopes = []
    for seed in range(20):
        view = augmented(photo, (101, 101), Augmentation(shear=10.0), np.random.default_rng(seed))[0].float()
        rows = torch.arange(101.0)[:, None]
        line = (rows * view).sum(dim=0) / view.sum(dim=0)
        assert line[50].item() == pytest.approx(50, abs=0.2)
        slopes.append(((line[90] - line[10]) / 80).item())
    largest = np.tan(np.radians(10.0))
    assert max(map(abs, slopes)) <= largest + 0.01
    assert min(slopes) < -0.5 * largest and max(slopes) > 0.5 * largest


def test_a_sheared_photo_has_no_empty_corners() -> None:
    photo = np.full((50, 50, 3), 77, np.uint8)
    view = augmented(photo, (32, 32), Augmentation(shear=20.0), np.random.default_rng(0))
    assert view.unique().tolist() == [77]


def test_without_any_change_augmentation_is_resizing() -> None:
    photo = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    view = augmented(photo, (32, 32), AUGMENTATIONS["none"], np.random.default_rng(0))
    assert torch.equal(view, resized(photo, (32, 32)))


def test_an_unreadable_photo_is_named_by_its_id(tmp_path: Path) -> None:
    path = tmp_path / "words.jpg"
    path.write_text("words")
    with pytest.raises(InputError, match="Photo words: "):
        decoded(PhotoLocation("words", str(path), 0, 5), 32)
