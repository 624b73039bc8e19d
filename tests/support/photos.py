"""Small photos, made when a test needs them, the same for the same numbers."""

import functools
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from landmark_dag.photos.source import PhotoLocation


def picture(seed: int = 0, width: int = 64, height: int = 48) -> Image.Image:
    """Return a smooth RGB picture with some noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((width, height))
    noise = rng.integers(-8, 9, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse).astype(int) + noise, 0, 255).astype(np.uint8))


def landmark_picture(
    landmark: int, photo: int, width: int = 96, height: int = 80, own_squares: int = 0
) -> NDArray[np.uint8]:
    """Return the pixels (height, width, 3) of a photo of a landmark: the landmark's coloured squares, and noise.

    `own_squares` of the 30 squares, at most, have colours of this photo alone: an untrained network tells it by them.
    """
    squares = np.random.default_rng([1, landmark]).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    own = np.random.default_rng([3, landmark, photo])
    rows, columns = own.integers(0, 5, own_squares), own.integers(0, 6, own_squares)
    squares[rows, columns] = own.integers(0, 256, (own_squares, 3))
    large = np.asarray(Image.fromarray(squares).resize((width, height), Image.Resampling.NEAREST), np.int16)
    noise = np.random.default_rng([2, landmark, photo]).integers(-25, 25, large.shape)
    return np.clip(large + noise, 0, 255).astype(np.uint8)


def encoded(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    """Return the picture as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@functools.cache
def jpeg(seed: int = 0, width: int = 64, height: int = 48) -> bytes:
    """Return `picture` as a JPEG file's bytes."""
    return encoded(picture(seed, width, height), "JPEG", quality=90)


def write_photo(path: Path, seed: int = 0) -> Path:
    """Write `jpeg` to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(seed))
    return path


def write_pixels(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """Write the pixels (height, width, 3) to `path`, in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_landmark_photo(path: Path, landmark: int, photo: int) -> Path:
    """Write a `landmark_picture` with own squares to `path`."""
    return write_pixels(path, landmark_picture(landmark, photo, 144, 120, own_squares=2))


def write_photo_folder(folder: Path, photos: int = 6) -> Path:
    """Write a folder of one's own: so many photos of two landmarks in each split, t0 ..., i0 ... and q0 ...."""
    for number in range(photos):
        landmark = number % 2
        for split in (f"train/landmark{landmark}", "index", "query"):
            write_landmark_photo(folder / split / f"{split[0]}{number}.png", landmark, number)
    return folder


def located(path: Path) -> PhotoLocation:
    """Return where a photo's bytes are; its id is the file's stem."""
    return PhotoLocation(path.stem, str(path), 0, path.stat().st_size)
