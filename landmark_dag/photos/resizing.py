"""From a decoded photo to the input of a network: its size by aspect ratio, and resizing."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from landmark_dag.photos.reading import UnreadablePhoto, read_photo
from landmark_dag.photos.source import PhotoLocation

_ASPECT_BORDERS = (0.67, 0.77, 1.33, 1.5)
"""Borders (width / height) between the five sizes (authors' code, training and inference)."""

_STEP = 32


def photo_sizes(square_size: int, long_side: int) -> tuple[tuple[int, int], ...]:
    """Return the five (width, height) in pixels, from the narrowest photos to the widest.

    Shorter sides are 0.68 and 0.76 of the longer, rounded to multiples of 32 pixels. `square_size` 448 and `long_side`
    512 give the sizes that the paper's authors train at, 800 and 800 those that they embed at.
    """
    narrow, wide = (max(_STEP, round(share * long_side / _STEP) * _STEP) for share in (0.68, 0.76))
    return (
        (narrow, long_side),
        (wide, long_side),
        (square_size, square_size),
        (long_side, wide),
        (long_side, narrow),
    )


def aspect_bucket(width: NDArray[np.floating] | int, height: NDArray[np.floating] | int) -> NDArray[np.int64]:
    """Return which of the five sizes a photo has, int64 from 0 (the narrowest) to 4; also for arrays (n,)."""
    return np.searchsorted(_ASPECT_BORDERS, width / height).astype(np.int64)


def size_for(photo: NDArray[np.uint8], sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the (width, height) of `sizes`, five of `photo_sizes`, for a photo of shape (height, width, 3)."""
    height, width = photo.shape[:2]
    return sizes[int(aspect_bucket(width, height))]


def scaled(size: tuple[int, int], scale: float, smallest_side: int, multiple: int) -> tuple[int, int]:
    """Return `size` times `scale`, with no side below `smallest_side`, and sides that are multiples of `multiple`."""
    factor = max(scale, smallest_side / min(size))
    width, height = (max(multiple, round(side * factor / multiple) * multiple) for side in size)
    return width, height


def decoded(location: PhotoLocation, smallest_side: int) -> NDArray[np.uint8]:
    """Read a photo as uint8 RGB (height, width, 3); no side is reduced below `smallest_side` pixels.

    Raises UnreadablePhoto, naming the photo.
    """
    try:
        return read_photo(location.path, location.offset, location.size, smallest_side=smallest_side)
    except UnreadablePhoto as error:
        raise UnreadablePhoto(f"Photo {location.image_id}: {error}") from error


def resized(photo: NDArray[np.uint8], size: tuple[int, int]) -> torch.Tensor:
    """Return a photo (height, width, 3) as a uint8 tensor (3, size[1], size[0]); bicubic, antialiased."""
    return resize(torch.from_numpy(np.ascontiguousarray(photo)).permute(2, 0, 1), size)


def resize(photo: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return a uint8 tensor (3, h, w) resized to (3, size[1], size[0]); bicubic, antialiased."""
    width, height = size
    return torch.nn.functional.interpolate(photo[None], (height, width), mode="bicubic", antialias=True)[0]
