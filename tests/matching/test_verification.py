"""Verification of pairs: right counts, one result in any order and on any device, clear errors."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.matching.features import JoinedFeatures, LocalFeatures, PhotoFeatures
from landmark_dag.matching.rootsift import rootsift
from landmark_dag.matching.verification import verify_pairs
from landmark_dag.settings.matching import LocalFeatureSettings, VerificationSettings
from tests.matching.scenes import facade, lookup, photo, planted, warped

SETTINGS = VerificationSettings(hypotheses=256)
MAP = np.array([[0.9, -0.3, 50], [0.25, 1.1, 20]])
GRID = np.array([[x, y] for x in range(0, 200, 20) for y in range(0, 200, 20)])


def batched(features: LocalFeatures, pairs: np.ndarray, rule: VerificationSettings) -> tuple:
    """Verify by the code for accelerators, on the processor."""
    return verify_pairs(features, pairs, rule, in_batches=True)


@pytest.fixture(params=[verify_pairs, batched], ids=["compiled", "batched"])
def verify(request: pytest.FixtureRequest) -> Callable:
    return request.param


@pytest.fixture(scope="module")
def street() -> LocalFeatures:
    """Six photos: three views of one facade, two of another, and a flat one."""
    turned = np.array([[0.95, -0.2, 30], [0.2, 0.95, -25]], np.float32)
    nearer = np.array([[1.4, 0.1, -60], [0, 1.3, -40]], np.float32)
    pictures = [facade(1), warped(facade(1), turned), warped(facade(1), nearer), facade(2), warped(facade(2), turned)]
    pictures.append(np.full((240, 320, 3), 77, np.uint8))
    return lookup(*(rootsift(picture, LocalFeatureSettings()) for picture in pictures))


def all_pairs(count: int) -> np.ndarray:
    return np.array([(a, b) for a in range(count) for b in range(a + 1, count)], np.int32)


def test_photos_of_one_wall_share_many_inliers_and_others_few(street: LocalFeatures, verify: Callable) -> None:
    inliers, affine = verify(street, all_pairs(6), SETTINGS)
    by_pair = dict(zip(map(tuple, all_pairs(6).tolist()), inliers.tolist(), strict=True))
    same = {(0, 1), (0, 2), (1, 2), (3, 4)}
    assert min(by_pair[pair] for pair in same) >= 60
    assert max(count for pair, count in by_pair.items() if pair not in same) <= 5
    assert np.allclose(affine[0], [[0.95, -0.2, 30], [0.2, 0.95, -25]], atol=1)


def test_the_compiled_and_the_batched_implementation_agree_to_the_bit(street: LocalFeatures) -> None:
    compiled, in_batches = verify_pairs(street, all_pairs(6), SETTINGS), batched(street, all_pairs(6), SETTINGS)
    assert np.array_equal(compiled[0], in_batches[0])
    assert np.array_equal(compiled[1], in_batches[1])


@settings(deadline=None, max_examples=15)
@given(
    st.permutations(range(15)),
    st.lists(st.booleans(), min_size=15, max_size=15),
    st.integers(1, 15),
    st.sampled_from([verify_pairs, batched]),
)
def test_order_direction_and_batches_change_nothing(
    street: LocalFeatures, order: list[int], turned: list[bool], size: int, verify: Callable
) -> None:
    pairs = all_pairs(6)
    inliers, affine = verify_pairs(street, pairs, SETTINGS)
    shuffled = pairs[order]
    shuffled[turned] = shuffled[turned][:, ::-1]
    rule = VerificationSettings(hypotheses=SETTINGS.hypotheses, pairs_per_batch=size)
    again, maps = verify(street, shuffled, rule)
    assert np.array_equal(again, inliers[order])
    straight = ~np.array(turned)
    assert np.array_equal(maps[straight], affine[order][straight])


def test_the_map_of_a_turned_pair_is_the_inverse(street: LocalFeatures, verify: Callable) -> None:
    _, affine = verify(street, np.array([[0, 1], [1, 0]]), SETTINGS)
    there = GRID @ affine[0, :, :2].T + affine[0, :, 2]
    assert np.allclose(there @ affine[1, :, :2].T + affine[1, :, 2], GRID, atol=0.01)


def test_direction_is_by_image_id_not_by_position(street: LocalFeatures) -> None:
    renamed = LocalFeatures(street.image_ids[::-1], street.offsets, street.rows)
    reversed_photos = lookup(*(street.photo(i) for i in range(5, -1, -1)))
    by_position, _ = verify_pairs(renamed, np.array([[0, 2]]), SETTINGS)
    by_name, _ = verify_pairs(reversed_photos, np.array([[5, 3]]), SETTINGS)
    assert by_position[0] == by_name[0] > 0


def test_shards_change_nothing(street: LocalFeatures) -> None:
    parts = [lookup(street.photo(i), names=[street.image_ids[i]]) for i in range(6)]
    expected = verify_pairs(street, all_pairs(6), SETTINGS)
    joined = verify_pairs(JoinedFeatures(parts), all_pairs(6), SETTINGS)
    assert np.array_equal(expected[0], joined[0]) and np.array_equal(expected[1], joined[1])


def test_threads_change_nothing(street: LocalFeatures) -> None:
    expected = verify_pairs(street, all_pairs(6), SETTINGS)[1]
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        rule = VerificationSettings(hypotheses=SETTINGS.hypotheses, pairs_per_batch=2)
        assert np.array_equal(verify_pairs(street, all_pairs(6), rule)[1], expected)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(15, 60), st.booleans(), st.sampled_from([verify_pairs, batched]))
def test_planted_matches_are_counted_and_their_map_found(
    seed: int, true: int, oriented: bool, verify: Callable
) -> None:
    features = lookup(*planted(seed, true, MAP, oriented=oriented))
    inliers, affine = verify(features, np.array([[0, 1]]), SETTINGS)
    assert true - 3 <= inliers[0] <= true + 6
    astray = affine[0] - MAP
    distance = np.linalg.norm(features.photo(0).keypoints[:true] @ astray[:, :2].T + astray[:, 2], axis=1)
    assert (distance < 8.1).mean() > 0.6


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_a_photo_with_few_keypoints_has_zero_inliers(street: LocalFeatures, verify: Callable, rows: int) -> None:
    whole = street.photo(0)
    few = photo(whole.keypoints[:rows], whole.descriptors[:rows], np.ones((rows, 2)))
    features = lookup(few, street.photo(0), few)
    inliers, affine = verify(features, np.array([[0, 1], [1, 0], [0, 2]]), SETTINGS)
    assert inliers.tolist() == [0, 0, 0] and not affine.any()


def test_equal_descriptors_have_zero_inliers(verify: Callable) -> None:
    same = photo(np.random.default_rng(1).uniform(0, 300, (50, 2)), np.full((50, 16), 9))
    assert verify(lookup(same, same), np.array([[0, 1]]), SETTINGS)[0].tolist() == [0]


def test_keypoints_at_one_place_have_zero_inliers(verify: Callable) -> None:
    descriptors = np.random.default_rng(2).integers(-90, 90, (50, 16))
    heap = photo(np.full((50, 2), 33.0), descriptors)
    spread = photo(np.random.default_rng(1).uniform(0, 300, (50, 2)), descriptors)
    assert verify(lookup(heap, spread, heap), all_pairs(3), SETTINGS)[0].tolist() == [0, 0, 0]


def test_keypoints_on_a_line_have_zero_inliers(verify: Callable) -> None:
    line = photo(np.linspace(0, 300, 50)[:, None] * [1, 0.4], np.random.default_rng(2).integers(-90, 90, (50, 16)))
    assert verify(lookup(line, line), np.array([[0, 1]]), SETTINGS)[0].tolist() == [0]


def test_keypoints_that_occur_twice_count_once(street: LocalFeatures, verify: Callable) -> None:
    once = street.photo(0)
    twice = PhotoFeatures(
        np.repeat(once.keypoints, 2, axis=0),
        np.repeat(once.orientations, 2, axis=0),
        np.repeat(once.descriptors, 2, axis=0),
    )
    places = len(np.unique(once.keypoints, axis=0))
    assert 0 < verify(lookup(twice, twice), np.array([[0, 1]]), SETTINGS)[0][0] <= places


def test_no_pairs_give_empty_arrays(street: LocalFeatures, verify: Callable) -> None:
    inliers, affine = verify(street, np.zeros((0, 2), np.int32), SETTINGS)
    assert inliers.shape == (0,) and inliers.dtype == np.int32
    assert affine.shape == (0, 2, 3) and affine.dtype == np.float32


@pytest.mark.parametrize("pair", [(0, 6), (-1, 0)])
def test_a_pair_outside_the_photos_is_refused(street: LocalFeatures, pair: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="outside the 6 photos"):
        verify_pairs(street, np.array([pair]), SETTINGS)


def test_a_photo_paired_with_itself_is_named(street: LocalFeatures) -> None:
    with pytest.raises(InputError, match="Photo p003 is paired with itself"):
        verify_pairs(street, np.array([[0, 1], [3, 3]]), SETTINGS)


def test_descriptors_that_are_not_8_bit_integers_are_refused() -> None:
    vectors = np.full((4, 16), np.nan, np.float32)
    bad = PhotoFeatures(np.zeros((4, 2), np.float32), np.zeros((4, 2), np.float32), vectors)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="descriptors of photo p000 are float32"):
        verify_pairs(lookup(bad, bad), np.array([[0, 1]]), SETTINGS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_keypoint_that_is_not_finite_is_named(value: float) -> None:
    good = planted(1, 5, MAP)[0]
    keypoints = good.keypoints.copy()
    keypoints[2, 1] = value
    bad = PhotoFeatures(keypoints, good.orientations, good.descriptors)
    with pytest.raises(InputError, match="Photo p001 has a keypoint"):
        verify_pairs(lookup(good, bad), np.array([[0, 1]]), SETTINGS)


def test_photos_with_other_descriptors_are_refused() -> None:
    with pytest.raises(InputError, match=r"p000 .*32.*p001.*16"):
        verify_pairs(
            _Mixed([planted(1, 5, MAP)[0], planted(1, 5, MAP, dimensions=16)[0]]), np.array([[0, 1]]), SETTINGS
        )


class _Mixed:
    """Photos whose descriptors have different dimensions."""

    def __init__(self, photos: list[PhotoFeatures]) -> None:
        self.image_ids = [f"p{number:03}" for number in range(len(photos))]
        self.photos = photos

    def photo(self, position: int) -> PhotoFeatures:
        return self.photos[position]


def test_verification_needs_neither_opencv_nor_polars_nor_faiss() -> None:
    modules = ["cv2", "polars", "faiss", "dagster"]
    code = f"import sys; sys.modules.update(dict.fromkeys({modules})); import landmark_dag.matching.verification"
    subprocess.run([sys.executable, "-c", code], check=True)
