"""Positions of ids, for any ids and hashes."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.retrieval.reranking import positions
from landmark_dag.retrieval.reranking.positions import positions_of

texts = st.lists(st.text(max_size=3))


def series(ids: list[str]) -> pl.Series:
    return pl.Series(ids, dtype=pl.String)


@settings(deadline=None)
@given(texts, st.lists(st.text(max_size=3), unique=True), st.data())
def test_every_id_is_found_where_it_stands(ids: list[str], known: list[str], data: st.DataObject) -> None:
    ids = ids + (data.draw(st.lists(st.sampled_from(known))) if known else [])
    found = positions_of(series(ids), series(known))
    assert found.dtype == np.int32
    assert found.tolist() == [known.index(image_id) if image_id in known else -1 for image_id in ids]


@pytest.mark.parametrize("ids", [["a", "b", "c"], ["c", "zz"]])
def test_ids_of_one_hash_are_told_apart(ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = positions._look_up
    same = lambda hashes, known, *rest: genuine(np.zeros_like(hashes), np.zeros_like(known), *rest)  # noqa: E731
    monkeypatch.setattr(positions, "_look_up", same)
    known = ["a", "b", "c"]
    assert positions_of(series(ids), series(known)).tolist() == [known.index(i) if i in known else -1 for i in ids]
