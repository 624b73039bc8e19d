"""Local features in memory: joined, and descriptors as 8-bit integers."""

import numpy as np
import pytest

from landmark_dag.errors import InputError
from landmark_dag.matching.features import JoinedFeatures, quantised_descriptors
from tests.matching.scenes import lookup, planted


def test_joined_shards_count_positions_through_all_of_them() -> None:
    photos = [part for seed in range(3) for part in planted(seed, 5, np.eye(2, 3), others=seed)]
    joined = JoinedFeatures([lookup(*photos[:1]), lookup(), lookup(*photos[1:4]), lookup(*photos[4:])])
    assert len(joined.image_ids) == len(photos)
    for position, expected in enumerate(photos):
        assert np.array_equal(joined.photo(position).keypoints, expected.keypoints)
        assert np.array_equal(joined.photo(position).orientations, expected.orientations)
        assert np.array_equal(joined.photo(position).descriptors, expected.descriptors)


def test_quantising_keeps_angles() -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 40)).astype(np.float32)
    rounded = quantised_descriptors(vectors, "a").astype(float)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    rounded /= np.linalg.norm(rounded, axis=1, keepdims=True)
    assert (unit * rounded).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_descriptors_that_are_not_finite_or_zero_are_refused(value: float) -> None:
    vectors = np.ones((3, 40), np.float32)
    vectors[1] = value
    with pytest.raises(InputError, match="Photo bad7"):
        quantised_descriptors(vectors, "bad7")
