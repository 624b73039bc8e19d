"""Sizes by aspect ratio, and resizing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from landmark_dag.errors import InputError
from landmark_dag.photos.resizing import decoded, photo_sizes, resized, scaled, size_for
from landmark_dag.photos.source import PhotoLocation


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


def test_an_unreadable_photo_is_named_by_its_id(tmp_path: Path) -> None:
    path = tmp_path / "words.jpg"
    path.write_text("words")
    with pytest.raises(InputError, match="Photo words: "):
        decoded(PhotoLocation("words", str(path), 0, 5), 32)
