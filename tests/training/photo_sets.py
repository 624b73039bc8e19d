"""Small generated photo sets: each landmark is a pattern, each photo adds noise."""

from pathlib import Path

import numpy as np
from PIL import Image

from landmark_dag.photos.source import PhotoLocation
from landmark_dag.training.labelled_photos import LabelledPhotos
from tests.support.photos import landmark_picture, located, write_pixels


def write_photo_set(folder: Path, landmarks: int, photos: int) -> tuple[list[PhotoLocation], np.ndarray]:
    """Write `photos` photos of each landmark, of several shapes; return locations and class ids."""
    shapes = [(96, 80), (120, 70), (70, 120)]
    pairs = [(landmark, photo) for landmark in range(landmarks) for photo in range(photos)]
    locations = [
        located(
            write_pixels(
                folder / f"{landmark:02d}_{photo:02d}.png", landmark_picture(landmark, photo, *shapes[photo % 3])
            )
        )
        for landmark, photo in pairs
    ]
    return locations, np.array([landmark for landmark, _ in pairs])


def write_labelled_photos(folder: Path, landmarks: int, photos: int) -> LabelledPhotos:
    """Write a photo set; return it as photos to train on."""
    locations, class_ids = write_photo_set(folder, landmarks, photos)
    sizes = [Image.open(location.path).size for location in locations]
    return LabelledPhotos(locations, np.array(sizes, np.int32), class_ids.astype(np.int64))
