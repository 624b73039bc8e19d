"""The keep rule and its grid against a plain oracle."""

import itertools

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.cleaning.keep_rule import clean, cleaning_grid
from landmark_dag.errors import InputError
from landmark_dag.settings.cleaning import KeepRule
from landmark_dag.storage.schemas import CLEANED_DATASET, CLEANING_GRID, LABELS, VERIFIED_MATCHES
from tests.cleaning import oracles

PAPER = KeepRule()


def label_frame(labels: dict[str, int]) -> pl.DataFrame:
    rows = [(name, landmark, f"landmark {landmark}") for name, landmark in labels.items()]
    return pl.DataFrame(rows, schema=LABELS.schema, orient="row")


def match_frame(labels: dict[str, int], matches: list[tuple[str, str, int]]) -> pl.DataFrame:
    rows = [(a, b, labels.get(a, 0), inliers, [0.0] * 6) for a, b, inliers in matches]
    return pl.DataFrame(rows, schema=VERIFIED_MATCHES.schema, orient="row")


@st.composite
def verified_sets(draw: st.DrawFn) -> tuple[dict[str, int], list[tuple[str, str, int]]]:
    labels = draw(st.dictionaries(st.text("abcd", min_size=1, max_size=3), st.integers(-2, 2), max_size=12))
    pairs = [(a, b) for a, b in itertools.combinations(sorted(labels), 2) if labels[a] == labels[b]]
    inliers = draw(st.lists(st.sampled_from([0, 3, 19, 20, 30, 31, 40, 55]), min_size=len(pairs), max_size=len(pairs)))
    return labels, [(a, b, count) for (a, b), count in zip(pairs, inliers, strict=True)]


rules = st.builds(KeepRule, st.sampled_from([1, 20, 30, 50]), st.integers(0, 4), st.integers(0, 3))


@settings(deadline=None)
@given(verified_sets(), rules)
def test_photos_with_enough_verified_neighbours_stay(verified, rule: KeepRule) -> None:
    labels, matches = verified
    cleaned = clean(label_frame(labels), match_frame(labels, matches), rule)
    expected = oracles.kept(labels, matches, rule.min_inliers, rule.min_verified, rule.min_photos)
    numbers = {landmark: number for number, landmark in enumerate(sorted(set(expected.values())))}
    assert cleaned.schema == CLEANED_DATASET.schema
    assert cleaned.rows() == [(name, expected[name], numbers[expected[name]]) for name in sorted(expected)]


@settings(deadline=None, max_examples=30)
@given(verified_sets())
def test_every_cell_of_the_grid_counts_what_the_rule_would_keep(verified) -> None:
    labels, matches = verified
    frames = label_frame(labels), match_frame(labels, matches)
    grid = cleaning_grid(*frames, PAPER)
    assert grid.schema == CLEANING_GRID.schema
    assert grid.height == 40
    assert set(grid["min_inliers"]) == {20, 30, 40, 50} and set(grid["min_verified"]) == set(range(1, 11))
    for min_inliers, min_verified, photos, landmarks in grid.iter_rows():
        cleaned = clean(*frames, KeepRule(min_inliers, min_verified))
        assert (photos, landmarks) == (cleaned.height, cleaned["landmark_id"].n_unique())


def test_one_photo_of_a_landmark_is_never_kept() -> None:
    labels = {"alone": 1, "a": 2, "b": 2, "c": 2, "d": 2}
    matches = [(a, b, 99) for a, b in itertools.combinations("abcd", 2)]
    cleaned = clean(label_frame(labels), match_frame(labels, matches), PAPER)
    assert cleaned["image_id"].to_list() == ["a", "b", "c", "d"]


def test_no_matches_keep_nothing() -> None:
    cleaned = clean(label_frame({"a": 1, "b": 1}), match_frame({}, []), PAPER)
    assert cleaned.rows() == []


@pytest.mark.parametrize("labels", [{"a": 1}, {"a": 1, "b": 2}], ids=["a photo without label", "another label"])
def test_matches_of_other_labels_are_refused(labels: dict[str, int]) -> None:
    matches = match_frame({"a": 1, "b": 1}, [("a", "b", 40)])
    with pytest.raises(InputError, match=r"photo b as one of landmark 1.*verify the matches again"):
        clean(label_frame(labels), matches, PAPER)
