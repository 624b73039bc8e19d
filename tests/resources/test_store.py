"""The store: the path and the version of every stored output."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from landmark_dag.errors import InputError
from landmark_dag.storage.embeddings import Embeddings, write_embeddings
from landmark_dag.storage.hashing import digest
from landmark_dag.storage.parquet_tables import write_table
from landmark_dag.storage.schemas import LABELS
from resources.store import Store

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
    assert store.read_record("gallery") == {"format": 1, "version": "v3", "file": "gallery.html"}


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


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Store, Store]:
    (tmp_path / "shared").mkdir()
    url = f"file://{tmp_path}/shared"
    return Store(root=str(tmp_path / "one"), shared=url), Store(root=str(tmp_path / "other"), shared=url)


def test_another_machine_reads_a_shared_table_and_its_version(machines: tuple[Store, Store]) -> None:
    one, other = machines
    one.write("train/labels", LABELS, LABEL, "v1")
    assert other.read("train/labels", LABELS).equals(LABEL)
    assert other.input_version("train/labels") == "v1"
    assert other.stored("index/photos", ["0000"]) == []
    with pytest.raises(InputError, match="index/photos of shard 0000 is not materialized yet"):
        other.read_shards("index/photos", LABELS, ["0000"])


def test_another_machine_finds_a_model_whole(machines: tuple[Store, Store]) -> None:
    one, other = machines
    for version in ("v1", "v2"):
        folder = Path(one.root) / "models" / version
        folder.mkdir(parents=True)
        for name in ("model.json", "weights.safetensors"):
            (folder / name).write_text(f"{name} {version}")
        one.write_record(one.path("trained_model"), version, {"folder": f"models/{version}"})
        one.sync([one.path("trained_model")])
        assert other.version(other.path("trained_model")) == version
        found = {path.name: path.read_text() for path in other.model_folder().iterdir()}
        assert found == {"model.json": f"model.json {version}", "weights.safetensors": f"weights.safetensors {version}"}


def test_a_model_that_was_not_shared_yet_is_shared_before_the_record_that_names_it(
    machines: tuple[Store, Store],
) -> None:
    one, other = machines
    folder = Path(one.root) / "models/v1"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_text("weights")
    one.write_record(one.path("trained_model"), "v1", {"folder": "models/v1"})
    (Path(one.shared.removeprefix("file://")) / "models").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="cannot be reached"):
        one.sync([one.path("trained_model")])
    assert other.version(other.path("trained_model")) is None


def test_a_page_is_shared_with_its_record(machines: tuple[Store, Store]) -> None:
    one, other = machines
    one.path("gallery").parent.mkdir(parents=True)
    one.path("gallery").with_suffix(".html").write_text("<p>")
    one.write_record(one.path("gallery"), "v1", {"file": "gallery.html"})
    one.sync([one.path("gallery")])
    assert other.input_version("gallery") == "v1"
    assert other.path("gallery").with_suffix(".html").read_text() == "<p>"
