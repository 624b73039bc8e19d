"""Schemas: a frame has a table's columns, and no two rows with the same key, or is refused in one sentence."""

from itertools import product

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.storage.schemas import LABELS, RANKING, refuse_repeats

LABEL = pl.DataFrame({"landmark": ["tower"], "image_id": ["a"], "landmark_id": ["7"]})


def test_columns_come_back_in_order_and_in_their_dtypes() -> None:
    assert LABELS.conform(LABEL, "labels.csv").schema == LABELS.schema


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (LABEL.drop("landmark"), "labels.csv has no column 'landmark'"),
        (LABEL.with_columns(colour=1), "labels.csv has an unknown column 'colour'"),
        (LABEL.with_columns(landmark_id=pl.lit("seven")), "labels.csv does not fit the table labels"),
        (LABEL.with_columns(landmark_id=None), "labels.csv has no value in column 'landmark_id' of row 1"),
    ],
)
def test_a_frame_that_does_not_conform_is_refused(frame: pl.DataFrame, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        LABELS.conform(frame, "labels.csv")


def test_only_columns_that_may_be_null_may_be_null() -> None:
    row = {"query_id": ["q"], "rank": [1], "index_id": ["i"], "similarity": [None], "reason": ["inserted"]}
    assert RANKING.conform(pl.DataFrame(row), "r").height == 1


KEYS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=12)


@given(KEYS, st.booleans())
def test_two_rows_with_the_same_values_are_found_whatever_their_order(keys: list, in_order: bool) -> None:
    keys = sorted(keys) if in_order else keys
    frame = pl.DataFrame(keys, schema={"query_id": pl.String, "rank": pl.Int32}, orient="row")
    repeats = [row for row, key in enumerate(keys) if key in keys[:row]]
    if not repeats:
        refuse_repeats("t.csv", frame, ["query_id", "rank"])
        return
    query_id, rank = keys[repeats[0]]
    sentence = f"t.csv has query_id {query_id} rank {rank} twice, again in row {repeats[0] + 1}; keep one of the two."
    with pytest.raises(InputError, match=f"^{sentence}$"):
        refuse_repeats("t.csv", frame, ["query_id", "rank"])


def test_rows_that_differ_in_one_column_of_the_key_are_accepted() -> None:
    frame = pl.DataFrame(list(product("ba", (2, 1))), schema=["query_id", "rank"], orient="row")
    refuse_repeats("t.csv", frame, ["query_id", "rank"])
