"""Files of another release: each kind names its format, is refused in one sentence, and is recomputed by its step."""

import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch

from assets.steps import materialize_stored
from landmark_dag.errors import InputError
from landmark_dag.matching.feature_files import read_local_features, write_local_features
from landmark_dag.photos.folder import FolderSource
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.storage.embeddings import Embeddings, read_embeddings, write_embeddings
from landmark_dag.storage.parquet_tables import read_table, write_table
from landmark_dag.storage.schemas import LABELS
from landmark_dag.training.artifact import load_model, save_model
from landmark_dag.training.checkpoint import Checkpoint
from landmark_dag.training.network import build_network
from resources.store import Store
from tests.support.photos import write_photo


def table(path: Path) -> None:
    write_table(path, LABELS, pl.DataFrame([("a", 1, "one")], schema=LABELS.schema, orient="row"), "v")


def embeddings(path: Path) -> None:
    write_embeddings(path, Embeddings(["a"], np.ones((1, 4), np.float16), "m"), "v")


def local_features(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_local_features(path, [], "v")


def age(path: Path) -> None:
    """Make the file one of format 0."""
    if path.suffix == ".parquet":
        metadata = pl.read_parquet_metadata(path) | {"landmark_dag.format": "0"}
        metadata.pop("ARROW:schema", None)
        pl.read_parquet(path).write_parquet(path, metadata=metadata)
        return
    with pa.OSFile(str(path)) as source:
        content = pa.ipc.open_file(source).read_all()
    content = content.replace_schema_metadata({**content.schema.metadata, b"landmark_dag.format": b"0"})
    with pa.OSFile(str(path), "wb") as target, pa.ipc.new_file(target, content.schema) as writer:
        writer.write_table(content)


KINDS: dict[str, tuple[str, Callable[[Path], None], Callable[[Path], object]]] = {
    "table": ("train/labels", table, lambda path: read_table(path, LABELS)),
    "embeddings": ("index/embeddings", embeddings, read_embeddings),
    "local features": ("train/local_features", local_features, read_local_features),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_stored_file_of_another_format_is_refused_with_the_command_and_counts_as_not_stored(
    tmp_path: Path, kind: str
) -> None:
    asset, write, read = KINDS[kind]
    store = Store(root=str(tmp_path))
    path = store.path(asset, "0000")
    write(path)
    read(path)
    assert store.input_version(asset, "0000") == "v"
    age(path)
    with pytest.raises(InputError, match=r"0000.* format .*landmark-dag run` on the home again"):
        read(path)
    assert store.version(path) is None
    with pytest.raises(InputError, match="written by another release; run `landmark-dag run` on the home again"):
        store.input_version(asset, "0000")


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_damaged_stored_file_counts_as_not_stored(tmp_path: Path, kind: str) -> None:
    asset, write, _ = KINDS[kind]
    store = Store(root=str(tmp_path))
    path = store.path(asset, "0000")
    write(path)
    for damaged in (b"", b"PAR1", path.read_bytes()[:-20], bytes(500)):
        path.write_bytes(damaged)
        assert store.version(path) is None


@pytest.mark.parametrize("spoil", [age, lambda path: path.write_bytes(b"")], ids=["another format", "damaged"])
def test_a_step_recomputes_an_output_of_another_format_or_a_damaged_one(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    store = Store(root=str(tmp_path))
    labels = pl.DataFrame([("a", 1, "one")], schema=LABELS.schema, orient="row")

    @dg.asset(key=["train", "labels"], code_version="1")
    def step(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        def compute(shard: str, path: Path, version: str) -> dict[str, object]:
            write_table(path, LABELS, labels, version)
            return {}

        return materialize_stored(context, store, compute)

    assert dg.materialize([step]).success
    path = store.path("train/labels")
    whole = path.read_bytes()
    spoil(path)
    assert dg.materialize([step]).success
    assert path.read_bytes() == whole


def test_a_model_of_another_format_is_refused(tmp_path: Path) -> None:
    settings = NetworkSettings(backbone="test_resnet", embedding_dim=4)
    save_model(tmp_path / "model", build_network(settings, 0), settings, {0: 7}, [])
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "format": 0}))
    with pytest.raises(InputError, match=r"config\.json is not a model of format 1; delete the folder and train"):
        load_model(tmp_path / "model")


def test_a_record_of_another_format_or_of_a_missing_folder_counts_as_not_stored(tmp_path: Path) -> None:
    store = Store(root=str(tmp_path))
    (tmp_path / "models" / "v").mkdir(parents=True)
    store.write_record(store.path("trained_model"), "v", {"folder": "models/v"})
    assert store.version(store.path("trained_model")) == "v"
    record = store.path("trained_model")
    record.write_text(record.read_text().replace('"format": 1', '"format": 0'))
    assert store.version(record) is None
    store.write_record(record, "v", {"folder": "models/v"})
    (tmp_path / "models" / "v").rmdir()
    assert store.version(record) is None


def test_a_checkpoint_of_another_format_is_refused(tmp_path: Path) -> None:
    torch.save({"format": 0}, tmp_path / "a.checkpoint")
    with pytest.raises(InputError, match=r"a\.checkpoint is not a checkpoint of format 1; delete it"):
        Checkpoint(tmp_path / "a.checkpoint", {}).load()


def test_a_shard_memory_of_another_format_is_refused(tmp_path: Path) -> None:
    write_photo(tmp_path / "photos" / "index" / "a.jpg")
    source = FolderSource(tmp_path / "photos", 10, tmp_path / "memory")
    source.shards("index")
    age(tmp_path / "memory" / "index.parquet")
    with pytest.raises(InputError, match=r"index\.parquet has format 0, this release writes format 1"):
        source.shards("index")
