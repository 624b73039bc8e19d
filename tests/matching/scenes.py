"""Photos and local features whose matches are known."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from landmark_dag.matching.features import LocalFeatures, PhotoFeatures, gather, quantised_descriptors
from landmark_dag.photos.source import PhotoLocation


def facade(seed: int, height: int = 240, width: int = 320) -> NDArray[np.uint8]:
    """Return a textured picture (h, w, 3) that differs for each seed."""
    generator = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 128, np.uint8)
    for _ in range(250):
        x, y = int(generator.integers(0, width)), int(generator.integers(0, height))
        size = generator.integers(3, 25, 2)
        colour = tuple(int(value) for value in generator.integers(0, 256, 3))
        cv2.rectangle(picture, (x, y), (x + int(size[0]), y + int(size[1])), colour, -1)
    return np.asarray(cv2.GaussianBlur(picture, (3, 3), 0.8))


def location(path: Path) -> PhotoLocation:
    """Return where the bytes of a photo file are; the id is the file's stem."""
    return PhotoLocation(path.stem, str(path), 0, path.stat().st_size)


def write_facades(folder: Path, count: int) -> list[PhotoLocation]:
    """Write the first `count` facades as photo0.png, photo1.png, ..."""
    for seed in range(count):
        Image.fromarray(facade(seed)).save(folder / f"photo{seed}.png")
    return [location(folder / f"photo{seed}.png") for seed in range(count)]


def warped(picture: NDArray[np.uint8], affine: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the picture seen through an affine map (2, 3) of its pixels."""
    height, width = picture.shape[:2]
    return np.asarray(cv2.warpAffine(picture, affine, (width, height), borderValue=(128, 128, 128)))


def photo(keypoints: NDArray, descriptors: NDArray, orientations: NDArray | None = None) -> PhotoFeatures:
    """Return a photo's features; without `orientations` these are unknown."""
    keypoints = np.asarray(keypoints, np.float32).reshape(-1, 2)
    unknown = np.zeros_like(keypoints)
    return PhotoFeatures(
        keypoints,
        unknown if orientations is None else np.asarray(orientations, np.float32),
        np.asarray(descriptors, np.int8),
    )


def planted(
    seed: int,
    true: int,
    affine: NDArray[np.floating],
    others: int = 60,
    dimensions: int = 32,
    oriented: bool = False,
) -> tuple[PhotoFeatures, PhotoFeatures]:
    """Return two photos with `true` matches that follow `affine` (2, 3) and `others` features of their own."""
    generator = np.random.default_rng(seed)
    count = true + others
    keypoints = generator.uniform(0, 400, (2, count, 2))
    keypoints[1, :true] = keypoints[0, :true] @ affine[:, :2].T + affine[:, 2]
    orientations = generator.normal(size=(2, count, 2)) * 6
    orientations[1, :true] = orientations[0, :true] @ affine[:, :2].T
    descriptors = generator.normal(size=(2, count, dimensions))
    descriptors[1, :true] = descriptors[0, :true] + 0.2 * generator.normal(size=(true, dimensions))
    shuffled = generator.permutation(count)
    first, second = (
        photo(points, quantised_descriptors(vectors, "planted"), vectors_of if oriented else None)
        for points, vectors, vectors_of in zip(keypoints, descriptors, orientations, strict=True)
    )
    return first, photo(second.keypoints[shuffled], second.descriptors[shuffled], second.orientations[shuffled])


def lookup(*photos: PhotoFeatures, names: list[str] | None = None) -> LocalFeatures:
    """Return photos as one lookup, named p000, p001, ... unless `names` are given."""
    return gather(names or [f"p{number:03}" for number in range(len(photos))], photos)
