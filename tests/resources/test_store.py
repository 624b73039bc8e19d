"""The store: where files lie, and which version each carries."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from landmark_dag.errors import InputError
from landmark_dag.retrieval.embeddings import Embeddings, write_embeddings
from landmark_dag.tables import LABELS, write_table
from resources.store import Store, digest

LABEL = pl.DataFrame({"image_id": ["a"], "landmark_id": [7], "landmark": ["tower"]})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(root=str(tmp_path))


def test_a_shard_is_a_file_in_the_folder_of_its_asset(store: Store) -> None:
    assert store.path("index/photos", "0003") == Path(store.root) / "index/photos/0003.parquet"
    assert store.path("index/embeddings", "0003") == Path(store.root) / "index/embeddings/0003.arrow"
    assert store.path("trained_model") == Path(store.root) / "trained_model.json"


def test_each_kind_of_file_carries_its_version(store: Store) -> None:
    write_table(store.path("train/labels"), LABELS, LABEL, "v1")
    vectors = np.ones((1, 4), dtype=np.float16) / 2
    write_embeddings(store.path("index/embeddings", "0000"), Embeddings(["a"], vectors, "model"), "v2")
    store.path("gallery").with_suffix(".html").write_text("page")
    store.write_record(store.path("gallery"), "v3", {"file": "gallery.html"})
    assert store.input_version("train/labels") == "v1"
    assert store.input_version("index/embeddings", "0000") == "v2"
    assert store.input_version("gallery") == "v3"
    assert store.read_record("gallery") == {"version": "v3", "file": "gallery.html"}


def test_what_is_not_there_has_no_version_and_is_named_when_read(store: Store) -> None:
    assert store.version(store.path("train/labels")) is None
    with pytest.raises(InputError, match="train/labels is not materialized yet"):
        store.read("train/labels", LABELS)
    with pytest.raises(InputError, match="index/embeddings of shard 0001 is not materialized yet"):
        store.read_embeddings("index/embeddings", ["0001"])


def test_shards_are_read_one_below_the_other(store: Store) -> None:
    for shard in ("0000", "0001"):
        write_table(store.path("x", shard), LABELS, LABEL.with_columns(image_id=pl.lit(shard)), "v")
    assert store.read_shards("x", LABELS, ["0000", "0001"])["image_id"].to_list() == ["0000", "0001"]
    assert store.read_shards("x", LABELS, []).height == 0


def test_a_digest_depends_on_content_and_not_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert len(digest([])) == 32
