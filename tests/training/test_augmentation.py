"""Augmentation: random changes within their bounds, which depend on the generator alone."""

import numpy as np
import pytest
import torch

from landmark_dag.photos.resizing import resized
from landmark_dag.settings.training import AUGMENTATIONS, Augmentation
from landmark_dag.training.augmentation import augmented


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
