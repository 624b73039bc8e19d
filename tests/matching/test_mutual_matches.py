"""Mutual matches: the compiled and the batched rule against a plain one."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.matching.mutual_matches import (
    SimilarityBuffer,
    first_at_its_place,
    first_at_its_place_batched,
    integer_steps,
    mutual_matches,
    mutual_matches_batched,
)
from tests.matching import oracles

descriptor_sets = st.integers(0, 6).flatmap(
    lambda n: st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=n, max_size=n)
)
place_lists = st.lists(st.tuples(*[st.integers(0, 2)] * 4), max_size=12)


def array(rows: list, width: int, dtype: type) -> np.ndarray:
    return np.array(rows, dtype).reshape(-1, width)


@settings(deadline=None)
@given(descriptor_sets.filter(len), descriptor_sets.filter(len))
def test_matches_are_mutual_and_sorted_best_first(first: list, second: list) -> None:
    similarity = array(first, 3, np.int32) @ array(second, 3, np.int32).T
    rows, columns = mutual_matches(similarity)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == oracles.mutual_matches(similarity.tolist())


@settings(deadline=None)
@given(st.lists(st.tuples(descriptor_sets, descriptor_sets), min_size=1, max_size=5))
def test_a_batch_gives_each_pair_what_it_gives_alone(pairs: list) -> None:
    sides = []
    for side in (0, 1):
        counts = torch.tensor([len(pair[side]) for pair in pairs])
        stacked = torch.zeros(len(pairs), max(1, int(counts.max())), 3)
        for number, pair in enumerate(pairs):
            stacked[number, : counts[number]] = torch.from_numpy(array(pair[side], 3, np.float32))
        sides.append((stacked, counts))
    (first, counts_first), (second, counts_second) = sides
    rows, columns, real = mutual_matches_batched(first, second, counts_first, counts_second)
    for number, (a, b) in enumerate(pairs):
        similarity = array(a, 3, np.int64) @ array(b, 3, np.int64).T
        found = list(zip(rows[number][real[number]].tolist(), columns[number][real[number]].tolist(), strict=True))
        assert found == (oracles.mutual_matches(similarity.tolist()) if a and b else [])


@settings(deadline=None)
@given(place_lists)
def test_a_place_counts_once_in_either_photo(matches: list) -> None:
    first = [
        all(match[:2] != before[:2] and match[2:] != before[2:] for before in matches[:number])
        for number, match in enumerate(matches)
    ]
    places = array(matches, 4, np.float32)
    source, target = np.ascontiguousarray(places[:, :2]), np.ascontiguousarray(places[:, 2:])
    assert first_at_its_place(source, target).tolist() == first
    real = torch.ones(1, len(first), dtype=torch.bool)
    batched = first_at_its_place_batched(torch.from_numpy(source)[None], torch.from_numpy(target)[None], real)
    assert batched[0].tolist() == first


@pytest.mark.parametrize("integers", [True, False])
@pytest.mark.parametrize("value", [-127, 127])
def test_products_are_exact_even_of_the_largest_descriptors(integers: bool, value: int) -> None:
    generator = np.random.default_rng(5)
    first = generator.integers(-127, 128, (50, 128)).astype(np.int8)
    second = generator.integers(-127, 128, (70, 128)).astype(np.int8)
    first[:2], second[:2] = value, 127
    buffer = SimilarityBuffer(integers)
    for rows in (50, 3):
        product = buffer.product(first[:rows], second)
        assert np.array_equal(product, first[:rows].astype(np.int64) @ second.astype(np.int64).T)


@pytest.mark.parametrize("instructions", ["AVX2", "AVX512_CORE"])
def test_integers_are_kept_small_where_their_products_would_overflow(instructions: str) -> None:
    """oneDNN, which multiplies them, uses the instructions of older processors."""
    code = "from landmark_dag.matching.mutual_matches import integer_steps; print(integer_steps())"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": instructions},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.strip() == ("(127, 63)" if all(integer_steps()) else "(0, 0)")
