"""Candidate pairs against a plain oracle."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.cleaning.candidates import candidate_pairs
from landmark_dag.errors import InputError
from landmark_dag.settings.cleaning import CandidateSettings
from tests.cleaning import oracles


@st.composite
def photo_sets(draw: st.DrawFn) -> tuple[list[str], np.ndarray, np.ndarray]:
    ids = draw(st.lists(st.text("abc", min_size=1, max_size=4), max_size=12, unique=True))
    landmarks = draw(st.lists(st.integers(-1, 2), min_size=len(ids), max_size=len(ids)))
    values = draw(st.lists(st.integers(-3, 3), min_size=2 * len(ids), max_size=2 * len(ids)))
    return ids, np.array(landmarks, np.int64), np.array(values, np.float32).reshape(-1, 2)


@settings(deadline=None)
@given(photo_sets(), st.integers(1, 5))
def test_pairs_are_each_photos_nearest_of_its_landmark(photos, neighbours: int) -> None:
    ids, landmarks, vectors = photos
    pairs, similarity = candidate_pairs(ids, landmarks, vectors, CandidateSettings(neighbours))
    products = (vectors @ vectors.T).tolist()
    assert [(ids[a], ids[b]) for a, b in pairs] == oracles.candidates(ids, landmarks, products, neighbours)
    assert similarity.tolist() == [products[a][b] for a, b in pairs]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(1, 6), st.integers(1, 12))
def test_the_papers_rule_looks_among_the_nearest_of_all_landmarks(
    seed: int, photos: int, neighbours: int, among: int
) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(photos, 8)).astype(np.float32)
    landmarks = generator.integers(0, 3, photos)
    ids = [f"{number:02}" for number in generator.permutation(photos)]
    pairs, _ = candidate_pairs(ids, landmarks, vectors, CandidateSettings(neighbours, among))
    expected = oracles.candidates(ids, landmarks, (vectors @ vectors.T).tolist(), neighbours, among)
    assert [(ids[a], ids[b]) for a, b in pairs] == expected


@pytest.mark.parametrize("rule", [CandidateSettings(2), CandidateSettings(2, among_nearest=6)])
def test_blocks_do_not_change_the_pairs(rule: CandidateSettings) -> None:
    generator = np.random.default_rng(3)
    ids, landmarks = [f"{number:03}" for number in range(40)], generator.integers(0, 2, 40)
    vectors = generator.normal(size=(40, 8)).astype(np.float32)
    whole, _ = candidate_pairs(ids, landmarks, vectors, rule)
    assert np.array_equal(candidate_pairs(ids, landmarks, vectors, rule, block=7)[0], whole)


def test_a_landmark_of_5000_photos_takes_a_block_of_memory_and_not_a_square() -> None:
    photos, neighbours = 5000, 100
    vectors = np.random.default_rng(1).normal(size=(photos, 16)).astype(np.float32)
    ids = [f"{number:05}" for number in range(photos)]
    tracemalloc.start()
    pairs, _ = candidate_pairs(ids, np.zeros(photos, np.int64), vectors, CandidateSettings(neighbours))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert photos * neighbours / 2 <= len(pairs) <= photos * neighbours
    assert np.bincount(pairs.ravel(), minlength=photos).min() >= neighbours
    assert peak < photos * photos * 8


@pytest.mark.parametrize("photos", [0, 1, 3])
def test_landmarks_of_one_photo_have_no_pairs(photos: int) -> None:
    ids = [str(number) for number in range(photos)]
    pairs, similarity = candidate_pairs(ids, np.arange(photos), np.ones((photos, 4)), CandidateSettings())
    assert pairs.shape == (0, 2) and pairs.dtype == np.int32
    assert similarity.shape == (0,) and similarity.dtype == np.float32


def test_half_precision_embeddings_give_float32_similarities() -> None:
    _, similarity = candidate_pairs(
        ["a", "b"], np.zeros(2, np.int64), np.full((2, 4), 0.5, np.float16), CandidateSettings()
    )
    assert similarity.dtype == np.float32 and similarity.tolist() == [1.0]


def test_a_photo_that_is_listed_twice_is_named() -> None:
    with pytest.raises(InputError, match="Photo twin "):
        candidate_pairs(["a", "twin", "twin"], np.zeros(3, np.int64), np.ones((3, 2)), CandidateSettings())


def test_an_embedding_that_is_not_finite_is_named() -> None:
    vectors = np.ones((3, 2))
    vectors[1, 0] = np.nan
    with pytest.raises(InputError, match="photo b "):
        candidate_pairs(["a", "b", "c"], np.zeros(3, np.int64), vectors, CandidateSettings())


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="2 photos came with 3 labels and 2 embeddings"):
        candidate_pairs(["a", "b"], np.zeros(3, np.int64), np.ones((2, 2)), CandidateSettings())
