"""Photos to train on, and their classes."""

from dataclasses import replace

import numpy as np
import pytest

from landmark_dag.errors import InputError
from landmark_dag.training.labelled_photos import LabelledPhotos
from tests.training.photo_sets import write_labelled_photos


@pytest.fixture(scope="module")
def photo_set(tmp_path_factory: pytest.TempPathFactory) -> LabelledPhotos:
    return write_labelled_photos(tmp_path_factory.mktemp("photos"), landmarks=4, photos=6)


def test_one_landmark_is_refused(photo_set: LabelledPhotos) -> None:
    with pytest.raises(InputError, match=r"1 landmark.*at least 2"):
        replace(photo_set, class_ids=np.zeros(24, np.int64))


def test_class_ids_with_a_gap_are_refused(photo_set: LabelledPhotos) -> None:
    with pytest.raises(InputError, match="without gaps"):
        replace(photo_set, class_ids=np.where(photo_set.class_ids == 3, 7, photo_set.class_ids))


def test_a_size_is_needed_for_every_photo(photo_set: LabelledPhotos) -> None:
    with pytest.raises(InputError, match="24 photos, 23 sizes and 24 class ids"):
        replace(photo_set, sizes=photo_set.sizes[1:])
