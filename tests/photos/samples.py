"""Small photos, made when a test needs them."""

import functools
import io
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int = 0, width: int = 64, height: int = 48) -> Image.Image:
    """A smooth RGB picture with some noise, the same for the same seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((width, height))
    noise = rng.integers(-8, 9, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse).astype(int) + noise, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    """The picture as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@functools.cache
def jpeg(seed: int = 0, width: int = 64, height: int = 48) -> bytes:
    return encoded(picture(seed, width, height), "JPEG", quality=90)


def write_photo(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(seed))
    return path
