"""Whitening of features within landmarks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.training.whitening import whitening


def within_landmark_covariance(features: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    residual = features.astype(np.float64).copy()
    for class_id in np.unique(class_ids):
        residual[class_ids == class_id] -= residual[class_ids == class_id].mean(axis=0)
    return residual.T @ residual / (len(features) - len(np.unique(class_ids)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 6))
def test_without_shrinkage_photos_of_a_landmark_differ_alike_in_every_direction(seed: int, width: int) -> None:
    random = np.random.default_rng(seed)
    class_ids = random.permutation(np.repeat(np.arange(5), 20))
    features = (random.normal(size=(100, width)) * np.arange(1, width + 1) + class_ids[:, None]).astype(np.float32)
    weight, bias = whitening(features, class_ids, width, shrinkage=0.0)
    mapped = features @ weight.T + bias
    assert np.allclose(within_landmark_covariance(mapped, class_ids), np.eye(width), atol=1e-2)
    assert np.allclose(mapped.mean(axis=0), 0, atol=1e-3)


def test_the_kept_directions_are_those_that_distinguish_landmarks() -> None:
    random = np.random.default_rng(0)
    class_ids = np.repeat(np.arange(2), 50)
    features = random.normal(size=(100, 3)) * [9, 1, 1]  # the first direction varies most, within landmarks
    features[:, 2] += 8 * class_ids
    weight, _ = whitening(features.astype(np.float32), class_ids, 1, shrinkage=0.0)
    assert np.abs(weight[0]).argmax() == 2


def test_full_shrinkage_is_a_rotation_up_to_scale() -> None:
    features = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    weight, _ = whitening(features, np.repeat(np.arange(3), 10), 4, shrinkage=1.0)
    product = weight @ weight.T
    assert np.allclose(product, product[0, 0] * np.eye(4), atol=1e-5)


def test_fewer_photos_than_features_still_give_finite_directions() -> None:
    features = np.random.default_rng(0).normal(size=(6, 20)).astype(np.float32)
    weight, bias = whitening(features, np.array([0, 0, 0, 1, 1, 1]), 10, shrinkage=0.1)
    assert weight.shape == (10, 20) and np.isfinite(weight).all() and np.isfinite(bias).all()


def test_more_dimensions_than_features_are_refused() -> None:
    with pytest.raises(InputError, match=r"8 dimensions.*4 features.*at most 4"):
        whitening(np.ones((4, 4), np.float32), np.array([0, 0, 1, 1]), 8, 0.1)


def test_landmarks_of_one_photo_each_are_refused() -> None:
    with pytest.raises(InputError, match="No landmark has two photos"):
        whitening(np.eye(3, dtype=np.float32), np.arange(3), 2, 0.1)
