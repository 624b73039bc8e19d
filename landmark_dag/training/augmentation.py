"""Augmentation: random changes of crop, shear, brightness and contrast of a photo to train on."""

import numpy as np
import torch
from numpy.typing import NDArray

from landmark_dag.photos.resizing import resize
from landmark_dag.settings.training import Augmentation


def augmented(
    photo: NDArray[np.uint8], size: tuple[int, int], augmentation: Augmentation, generator: np.random.Generator
) -> torch.Tensor:
    """Return a photo, randomly cropped, resized, sheared and relit, as a uint8 tensor (3, size[1], size[0]).

    Width and height each lose a share of up to `crop`. The crop is sheared about its centre, along both axes, by up to
    `shear` degrees either way; its edges are mirrored. Contrast, about the mean of the crop, and brightness are
    multiplied by 1 - change to 1 + change. All random numbers come from `generator`.
    """
    view = resize(_random_crop(photo, augmentation.crop, generator), size)
    brightness = 1 + augmentation.brightness * generator.uniform(-1, 1)
    contrast = 1 + augmentation.contrast * generator.uniform(-1, 1)
    angles = np.radians(augmentation.shear * generator.uniform(-1, 1, 2))
    return _relit(_sheared(view, angles) if augmentation.shear else view, brightness, contrast)


def _random_crop(photo: NDArray[np.uint8], crop: float, generator: np.random.Generator) -> torch.Tensor:
    """Return a random crop (3, h, w) of a photo (height, width, 3)."""
    height, width = photo.shape[:2]
    kept = 1 - crop * generator.random(2)
    kept_height, kept_width = (max(1, round(side * share)) for side, share in zip((height, width), kept, strict=True))
    top = int(generator.integers(height - kept_height + 1))
    left = int(generator.integers(width - kept_width + 1))
    return torch.from_numpy(photo[top : top + kept_height, left : left + kept_width]).permute(2, 0, 1)


def _sheared(view: torch.Tensor, angles: NDArray[np.float64]) -> torch.Tensor:
    """Return a uint8 view (3, h, w) sheared about its centre by `angles` (2,) along x and y, radians."""
    import cv2  # imported here, because a machine that only embeds may lack it

    height, width = view.shape[1:]
    along_x, along_y = np.tan(angles)
    matrix = np.array([[1, along_x, -along_x * (height - 1) / 2], [along_y, 1, -along_y * (width - 1) / 2]])
    pixels = np.ascontiguousarray(view.permute(1, 2, 0).numpy())
    warped = cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return torch.from_numpy(np.ascontiguousarray(warped.transpose(2, 0, 1)))


def _relit(view: torch.Tensor, brightness: float, contrast: float) -> torch.Tensor:
    """Return a uint8 view with its contrast (about its mean) and brightness multiplied."""
    values = torch.arange(256, dtype=torch.float32)
    if contrast != 1:
        mean = float(view.sum(dtype=torch.int64)) / view.numel()
        values = mean + contrast * (values - mean)
    table = (values * brightness).round_().clamp_(0, 255).to(torch.uint8)
    return torch.from_numpy(np.take(table.numpy(), view.numpy()))
