"""k-reciprocal re-ranking against a plain oracle with sets and dense rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.retrieval.reranking.graph import Neighbours
from landmark_dag.retrieval.reranking.k_reciprocal import reciprocal_lists
from landmark_dag.settings.reranking import ReciprocalSettings
from tests.retrieval.reranking.graphs import neighbours, unit


class Oracle:
    """Sets and encodings of queries (numbered from -1 down) and index photos, over the dense similarity."""

    def __init__(self, queries: Neighbours, index: Neighbours, k1: int, k2: int) -> None:
        self.size, self.k1, self.k2 = len(index.positions), k1, k2
        self.rows = {-1 - q: row for q, row in enumerate(zip(*queries, strict=True))}
        self.rows |= dict(enumerate(zip(*index, strict=True)))

    def reciprocal(self, photo: int, k: int) -> set[int]:
        similarity, nearest = self.rows[photo]
        if photo >= 0:
            return {photo} | {int(g) for g in nearest[:k] if photo in self.rows[int(g)][1][:k]}
        last = {int(g): self.rows[int(g)][0][:k][-1] for g in nearest[:k]}
        return {int(g) for g, s in zip(nearest[:k], similarity, strict=False) if s >= last[int(g)]}

    def encoding(self, photo: int) -> np.ndarray:
        core = self.reciprocal(photo, self.k1)
        members = set(core)
        for candidate in core:
            part = self.reciprocal(candidate, round(self.k1 / 2))
            if 3 * len(core & part) > 2 * len(part):
                members |= part
        similarity, nearest = self.rows[photo]
        known = {int(g): float(s) for g, s in zip(nearest, similarity, strict=True)} | {photo: 1.0}
        row = np.zeros(self.size)
        for member in members:
            row[member] = np.exp(known.get(member, float(similarity[-1])) - 1)
        return row / max(row.sum(), 1e-12)

    def expanded(self, photo: int) -> np.ndarray:
        near = self.rows[photo][1][: self.k2 - 1]
        return (self.encoding(photo) + sum((self.encoding(int(g)) for g in near), np.zeros(self.size))) / self.k2

    def distances(self, photo: int, weight: float) -> list[float]:
        own = self.expanded(photo)
        found = []
        for similarity, other in zip(*self.rows[photo], strict=True):
            row = self.expanded(int(other))
            jaccard = 1 - np.minimum(own, row).sum() / np.maximum(own, row).sum()
            found.append((1 - weight) * jaccard + weight * (1 - float(similarity)))
        return found


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 99), st.integers(1, 8), st.integers(1, 4), st.sampled_from([0.0, 0.3, 1.0]))
def test_lists_go_by_the_oracles_distance(seed: int, k1: int, k2: int, weight: float) -> None:
    index = unit(18, seed)
    queries, graph = neighbours(unit(3, seed + 1), index, 12), neighbours(index, index, 10, of_itself=True)
    lists = reciprocal_lists(queries, graph, 12, ReciprocalSettings(k1=k1, k2=k2, original_weight=weight))
    oracle = Oracle(queries, graph, k1, k2)
    for query in range(3):
        expected = dict(zip(queries.positions[query].tolist(), oracle.distances(-1 - query, weight), strict=True))
        assert set(lists[query]) == set(expected)
        assert (np.diff([expected[int(photo)] for photo in lists[query]]) >= -1e-9).all()


def test_a_query_is_ranked_the_same_beside_any_other() -> None:
    index = unit(18, 1)
    asked, graph = unit(6, 2), neighbours(index, index, 17, of_itself=True)
    together = reciprocal_lists(neighbours(asked, index, 18), graph, 9, ReciprocalSettings(k1=5, k2=3))
    alone = reciprocal_lists(neighbours(asked[2:3], index, 18), graph, 9, ReciprocalSettings(k1=5, k2=3))
    assert together[2].tolist() == alone[0].tolist()


def test_places_that_nothing_fills_are_minus_one() -> None:
    graph = Neighbours(np.float32([[0.5], [0.5]]), np.int32([[1], [0]]))
    queries = Neighbours(np.float32([[0.9, -np.inf]]), np.int32([[1, -1]]))
    assert reciprocal_lists(queries, graph, 3, ReciprocalSettings()).tolist() == [[1, -1, -1]]


def test_settings_that_the_graph_cannot_answer_are_refused() -> None:
    index = unit(18, 1)
    with pytest.raises(InputError, match="lower k1"):
        reciprocal_lists(
            neighbours(index[:2], index, 5), neighbours(index, index, 10, of_itself=True), 5, ReciprocalSettings(k1=11)
        )
