"""Small generated photo sets: each landmark is a pattern, each photo adds noise."""

from pathlib import Path

import numpy as np
from PIL import Image

from landmark_dag.photos.source import PhotoLocation
from landmark_dag.training.labelled_photos import LabelledPhotos


def pattern_photo(landmark: int, photo: int, width: int = 96, height: int = 80) -> np.ndarray:
    """Return a uint8 photo (height, width, 3): coarse coloured squares of the landmark, noise of the photo."""
    squares = np.random.default_rng([1, landmark]).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    large = np.asarray(Image.fromarray(squares).resize((width, height), Image.Resampling.NEAREST), np.int16)
    noise = np.random.default_rng([2, landmark, photo]).integers(-25, 25, large.shape)
    return np.clip(large + noise, 0, 255).astype(np.uint8)


def write_photo(path: Path, photo: np.ndarray) -> PhotoLocation:
    """Write `photo` as a PNG and return where its bytes lie; its id is the file's stem."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo).save(path)
    return PhotoLocation(path.stem, str(path), 0, path.stat().st_size)


def write_photo_set(folder: Path, landmarks: int, photos: int) -> tuple[list[PhotoLocation], np.ndarray]:
    """Write `photos` photos of each landmark, of several shapes; return locations and class ids."""
    shapes = [(96, 80), (120, 70), (70, 120)]
    pairs = [(landmark, photo) for landmark in range(landmarks) for photo in range(photos)]
    locations = [
        write_photo(folder / f"{landmark:02d}_{photo:02d}.png", pattern_photo(landmark, photo, *shapes[photo % 3]))
        for landmark, photo in pairs
    ]
    return locations, np.array([landmark for landmark, _ in pairs])


def write_labelled_photos(folder: Path, landmarks: int, photos: int) -> LabelledPhotos:
    """Write a photo set; return it as photos to train on."""
    locations, class_ids = write_photo_set(folder, landmarks, photos)
    sizes = [Image.open(location.path).size for location in locations]
    return LabelledPhotos(locations, np.array(sizes, np.int32), class_ids.astype(np.int64))
