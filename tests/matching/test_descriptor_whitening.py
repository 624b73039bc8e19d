"""The whitening of local descriptors, against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.matching.descriptor_whitening import fit_descriptor_whitening, with_fixed_signs
from tests.support.vectors import normalised


def descriptors(count: int, channels: int) -> np.ndarray:
    generator = np.random.default_rng(3)
    mixed = generator.normal(size=(count, channels)) * np.linspace(3, 0.5, channels)
    vectors = mixed @ generator.normal(size=(channels, channels)) + generator.normal(size=channels)
    return normalised(vectors).astype(np.float32)


def test_whitened_descriptors_have_mean_zero_and_uncorrelated_numbers_of_variance_one() -> None:
    vectors = descriptors(4000, 24)
    whitening = fit_descriptor_whitening([vectors], 10)
    mapped = (vectors - whitening.mean) @ whitening.weight.T
    assert mapped.shape == (4000, 10) and whitening.weight.dtype == np.float32
    assert np.allclose(mapped.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(mapped.T @ mapped / 4000, np.eye(10), atol=1e-3)


def test_the_directions_of_largest_variance_are_kept() -> None:
    vectors = descriptors(4000, 24)
    kept = fit_descriptor_whitening([vectors], 5).weight.astype(float)
    variances, axes = np.linalg.eigh(np.cov(vectors.T.astype(float), bias=True))
    expected = axes[:, ::-1][:, :5]
    cosine = np.abs((normalised(kept) * expected.T).sum(axis=1))
    assert (cosine > 0.999).all() and variances[-1] > variances[0]


def test_blocks_give_what_the_whole_gives() -> None:
    vectors = descriptors(900, 12)
    whole = fit_descriptor_whitening([vectors], 6)
    parts = fit_descriptor_whitening(iter([vectors[:1], vectors[1:400], vectors[400:]]), 6)
    assert np.allclose(whole.weight, parts.weight, atol=1e-5) and np.allclose(whole.mean, parts.mean, atol=1e-7)


def test_more_dimensions_than_channels_are_refused() -> None:
    with pytest.raises(InputError, match="12 channels cannot be whitened to 13 dimensions"):
        fit_descriptor_whitening([descriptors(100, 12)], 13)


@pytest.mark.parametrize("vectors", [np.ones((50, 8), np.float32), descriptors(3, 8)])
def test_descriptors_too_few_or_too_alike_are_refused(vectors: np.ndarray) -> None:
    with pytest.raises(InputError, match=f"{len(vectors)} local descriptors do not vary in 6 directions"):
        fit_descriptor_whitening([vectors], 6)


@given(st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=5))
def test_a_direction_and_its_negative_get_the_same_sign(rows: list[list[int]]) -> None:
    directions = np.array(rows, float)
    fixed = with_fixed_signs(directions)
    for row, direction in zip(fixed, directions, strict=True):
        assert row[np.abs(row).argmax()] >= 0
        assert np.array_equal(row, direction) or np.array_equal(row, -direction)
    assert np.array_equal(with_fixed_signs(-directions), fixed)
