"""Query expansion and database augmentation against a plain sum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.retrieval.reranking import query_expansion
from landmark_dag.retrieval.reranking.database_augmentation import database_augmentation
from landmark_dag.retrieval.reranking.query_expansion import alpha_query_expansion
from tests.support.vectors import unit_vectors


def plain(query: np.ndarray, index: np.ndarray, nearest: list[int], similarity: list[float], alpha: float) -> list:
    total = query.astype(float)
    for position, value in zip(nearest, similarity, strict=True):
        if position >= 0 and value >= 0:
            total = total + value**alpha * index[position].astype(float)
    return (total / np.sqrt(np.sum(total**2))).tolist()


@settings(deadline=None)
@given(st.integers(0, 9), st.sampled_from([0.0, 1.0, 3.0]), st.integers(0, 5), st.sampled_from(["float16", "float32"]))
def test_an_expanded_query_is_the_weighted_sum(seed: int, alpha: float, count: int, dtype: str) -> None:
    index, queries = unit_vectors(7, 5, seed, dtype), unit_vectors(4, 5, seed + 100, dtype)
    similarity = queries.astype(np.float32) @ index.T.astype(np.float32)
    nearest = np.argsort(-similarity, axis=1).astype(np.int32)[:, :4]
    similarity = np.take_along_axis(similarity, nearest, axis=1)
    nearest[0, 1] = -1
    expanded = alpha_query_expansion(queries, index, nearest, similarity, alpha, count)
    assert expanded.dtype == np.float32
    for row in range(4):
        expected = plain(queries[row], index, nearest[row, :count].tolist(), similarity[row, :count].tolist(), alpha)
        np.testing.assert_allclose(expanded[row], expected, atol=1e-5)


def test_results_do_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, index = unit_vectors(50, 16, 1, np.float32), unit_vectors(30, 16, 2, np.float32)
    nearest = np.random.default_rng(3).integers(0, 30, (50, 10))
    similarity = np.random.default_rng(4).random((50, 10), np.float32)
    whole = alpha_query_expansion(queries, index, nearest, similarity, 3.0, 10)
    monkeypatch.setattr(query_expansion, "BLOCK", 7)
    assert np.array_equal(whole, alpha_query_expansion(queries, index, nearest, similarity, 3.0, 10))


def test_augmentation_adds_a_vector_to_itself_never() -> None:
    index = unit_vectors(3, 4, 5, np.float32)
    nearest = np.array([[0, 1], [1, 0], [0, 2]])
    similarity = np.take_along_axis(index @ index.T, nearest, axis=1)
    augmented = database_augmentation(index, nearest, similarity, 0.0)
    for row, others in enumerate([[1], [0], [0]]):
        others = [other for other in others if similarity[row][list(nearest[row]).index(other)] >= 0]
        np.testing.assert_allclose(augmented[row], plain(index[row], index, others, [1.0] * len(others), 0), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(augmented, axis=1), 1, atol=1e-6)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        alpha_query_expansion(
            unit_vectors(2, 3, 1, np.float32),
            unit_vectors(4, 3, 2, np.float32),
            np.zeros((2, 3), int),
            np.zeros((2, 2), np.float32),
            1,
            2,
        )
