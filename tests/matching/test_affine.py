"""The robust affine map: planted maps are found, and nothing degenerate collects inliers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.matching.affine import fit_affine, inverse_affine, sampling_table
from landmark_dag.matching.affine_batched import Matches, fit_affine_batched

LIMIT = np.float32((8 * 16) ** 2)
TABLE = sampling_table(512)


def fit(x: np.ndarray, y: np.ndarray, s: np.ndarray | None = None, t: np.ndarray | None = None) -> tuple:
    """Return inliers and map of matches given in pixels, and check that the batched implementation agrees."""
    places = [np.rint(np.asarray(points, float) * 16).astype(np.float32).reshape(-1, 2) for points in (x, y)]
    unknown = np.zeros_like(places[0])
    vectors = [np.asarray(unknown if given is None else given, np.float32) for given in (s, t)]
    best = np.zeros(6, np.float32)
    inliers = fit_affine(*places, *vectors, TABLE, LIMIT, best)
    padded = [torch.nn.functional.pad(torch.from_numpy(array), (0, 0, 0, 3))[None] for array in (*places, *vectors)]
    matches = Matches(*(array.repeat(2, 1, 1) for array in padded), torch.tensor([len(places[0]), 2]))
    most, maps = fit_affine_batched(matches, torch.tensor(TABLE), float(LIMIT))
    assert most.tolist() == [inliers, 0]
    assert np.array_equal(maps[0].numpy(), best)
    affine = best.reshape(2, 3).copy()
    affine[:, 2] /= 16
    return inliers, affine


def rotation(degrees: float, scale: float = 1.0) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def places(seed: int, count: int, size: float = 400) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, size, (count, 2))


maps = st.builds(
    lambda turn, scale, stretch, tilt: rotation(turn, scale) @ np.diag([1, stretch]) @ rotation(tilt),
    st.floats(0, 360),
    st.floats(0.4, 2.5),
    st.floats(0.4, 1),
    st.floats(0, 180),
)


@settings(deadline=None, max_examples=40)
@given(maps, st.integers(0, 2**32 - 1), st.integers(12, 60), st.integers(0, 60))
def test_a_planted_map_is_recovered(linear: np.ndarray, seed: int, true: int, false: int) -> None:
    generator = np.random.default_rng(seed)
    x = generator.uniform(0, 400, (true + false, 2))
    y = generator.uniform(0, 400, (true + false, 2))
    y[:true] = x[:true] @ linear.T + [30, -20] + generator.normal(0, 0.5, (true, 2))
    inliers, affine = fit(x, y)
    assert inliers >= true
    moved = x[:true] @ affine[:, :2].T + affine[:, 2]
    assert (np.linalg.norm(moved - y[:true], axis=1) < 8.1).mean() > 0.6


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 80), st.booleans(), st.integers(1, 400))
def test_both_implementations_agree_on_any_matches(seed: int, count: int, oriented: bool, size: int) -> None:
    generator = np.random.default_rng(seed)
    x, y = generator.integers(0, size, (2, count, 2)) / 4
    s, t = generator.normal(size=(2, count, 2)) * 5 if oriented else (None, None)
    fit(x, y, s, t)


@pytest.mark.parametrize(
    "linear",
    [
        np.diag([1, -1]),
        np.zeros((2, 2)),
        np.diag([1, 0.01]),
        rotation(30, 6),
        rotation(30, 1 / 6),
        np.array([[1, 6], [0, 1]]),
    ],
    ids=["mirrored", "collapsed to a point", "collapsed to a line", "too large", "too small", "sheared"],
)
def test_a_map_that_no_camera_makes_collects_few_inliers(linear: np.ndarray) -> None:
    x = places(1, 100)
    inliers, _ = fit(x, x @ linear.T + 100)
    assert inliers < 30


def test_places_on_a_line_give_no_inliers() -> None:
    along = np.linspace(0, 400, 50)[:, None]
    assert fit(along * [1, 0.5], along * [1, 0.5] + 7)[0] == 0


def test_one_place_for_all_matches_gives_no_inliers() -> None:
    assert fit(np.full((40, 2), 5.0), places(2, 40))[0] == 0
    assert fit(places(2, 40), np.full((40, 2), 5.0))[0] == 0


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_matches_give_no_inliers(count: int) -> None:
    inliers, affine = fit(places(3, count), places(3, count))
    assert inliers == 0 and not affine.any()


def test_three_matches_give_three_inliers() -> None:
    corners = np.array([[0, 0], [100, 0], [0, 100]])
    inliers, affine = fit(corners, corners + 10)
    assert inliers == 3
    assert np.allclose(affine, [[1, 0, 10], [0, 1, 10]], atol=1e-4)


def test_an_inlier_turns_and_grows_with_the_map() -> None:
    x, linear = places(4, 60), rotation(40, 1.5)
    y = x @ linear.T + 12
    s = np.random.default_rng(5).normal(size=(60, 2)) * 6
    t = s @ linear.T
    assert fit(x, y, s, t)[0] == 60
    t[:10] = t[:10] @ rotation(45).T
    t[10:20] *= 2.5
    t[20:30] /= 2.5
    t[30:35] = t[30:35] @ rotation(20).T
    t[35:40] *= 1.8
    assert fit(x, y, s, t)[0] == 30


def test_a_residual_beyond_the_limit_is_no_inlier() -> None:
    x = places(6, 40)
    y = x.copy()
    y[:10, 0] += 30
    assert fit(x, y)[0] == 30


def test_samples_prefer_the_first_matches_and_are_always_the_same() -> None:
    assert TABLE.shape == (512, 3) and TABLE.min() >= 0 and TABLE.max() < 1
    assert (TABLE < 0.25).mean() > 0.45
    assert np.array_equal(sampling_table(512), TABLE) and np.array_equal(sampling_table(100), TABLE[:100])


def test_an_inverse_undoes_its_map() -> None:
    affine = np.concatenate([rotation(25, 1.3), [[40], [-7]]], axis=1)
    inverse = inverse_affine(affine)
    there = places(7, 5) @ affine[:, :2].T + affine[:, 2]
    assert np.allclose(there @ inverse[:, :2].T + inverse[:, 2], places(7, 5), atol=1e-3)
