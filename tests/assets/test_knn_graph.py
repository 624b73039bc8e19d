"""Embeddings and the kNN graph through Dagster: ensembles, and a graph that grows by new index shards."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from assets.retrieval import graph_recall, index_embeddings, knn_graph
from landmark_dag.orchestration.partitions import SHARDS
from landmark_dag.photos.manifest import build_manifest
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.storage.embeddings import Embeddings, read_embeddings, write_embeddings
from landmark_dag.storage.hashing import digest
from landmark_dag.storage.parquet_tables import write_table
from landmark_dag.storage.schemas import MANIFEST, NEIGHBOURS
from landmark_dag.training.artifact import save_model
from landmark_dag.training.network import build_network
from resources.accelerator import Accelerator
from resources.store import Store


class World:
    """A store with the embeddings of three index shards and two query shards, of which some are registered."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.store = Store(root=str(root))
        for split in ("index", "query"):
            for shard in ("0000", "0001", "0002"):
                self.embed(split, shard)

    def embed(self, split: str, shard: str, change: int = 0, photos: int = 12) -> None:
        generator = np.random.default_rng([len(split), int(shard), change])
        ids = [f"{split}-{shard}-{number:04}" for number in range(photos)]
        path = self.store.path(f"{split}/embeddings", shard)
        path.parent.mkdir(parents=True, exist_ok=True)
        vectors = generator.normal(size=(len(ids), 8))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        version = digest([split, shard, change])
        write_embeddings(path, Embeddings(ids, vectors.astype(np.float16), "model"), version)

    def register(self, split: str, *shards: str) -> None:
        self.instance.add_dynamic_partitions(SHARDS[split].name, list(shards))

    def graph(self, shard: str, **config: object) -> dict:
        result = dg.materialize(
            [knn_graph, graph_recall],
            instance=self.instance,
            resources={"store": self.store, "accelerator": Accelerator(device="cpu")},
            partition_key=shard,
            run_config={"ops": {"knn_graph": {"config": {"neighbours": 20, **config}}}},
        )
        (check,) = result.get_asset_check_evaluations()
        metadata = result.asset_materializations_for_node("knn_graph")[0].metadata
        return {name: value.value for name, value in metadata.items()} | {"passed": check.passed}

    def rows(self, shard: str) -> list:
        return self.store.read("knn_graph", NEIGHBOURS, shard).rows()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with dg.instance_for_test() as instance:
        yield World(tmp_path / "store", instance)


@pytest.fixture
def from_nothing(tmp_path: Path) -> Iterator[World]:
    with dg.instance_for_test() as instance:
        world = World(tmp_path / "other", instance)
        world.register("query", "0000")
        world.register("index", "0000", "0001", "0002")
        yield world


def test_a_new_index_shard_is_merged_into_the_graph_that_one_from_nothing_equals(
    world: World, from_nothing: World
) -> None:
    world.register("query", "0000")
    world.register("index", "0000", "0001")
    assert world.graph("0000")["index shards searched"] == 2
    world.register("index", "0002")
    grown = world.graph("0000")
    assert (grown["index shards searched"], grown["unchanged"], grown["passed"]) == (1, False, True)
    assert from_nothing.graph("0000")["index shards searched"] == 3
    assert world.rows("0000") == from_nothing.rows("0000")
    assert world.graph("0000")["unchanged"]


def test_a_changed_index_shard_is_not_mixed_with_what_it_was(world: World, from_nothing: World) -> None:
    world.register("query", "0000")
    world.register("index", "0000", "0001", "0002")
    world.graph("0000")
    for one in (world, from_nothing):
        one.embed("index", "0001", change=1)
    assert world.graph("0000")["index shards searched"] == 3
    from_nothing.graph("0000")
    assert world.rows("0000") == from_nothing.rows("0000")


def test_other_settings_make_the_graph_anew(world: World) -> None:
    world.register("query", "0000")
    world.register("index", "0000", "0001")
    world.graph("0000")
    assert world.graph("0000", neighbours=5)["index shards searched"] == 2
    assert len(world.rows("0000")) == 12 * 5


def test_a_new_query_shard_touches_no_other(world: World) -> None:
    world.register("query", "0000")
    world.register("index", "0000", "0001")
    world.graph("0000")
    before = world.store.path("knn_graph", "0000").read_bytes()
    world.register("query", "0001")
    world.graph("0001")
    assert world.store.path("knn_graph", "0000").read_bytes() == before
    assert world.graph("0000")["unchanged"]


def test_a_photo_in_two_index_shards_is_refused_when_the_graph_grows(world: World) -> None:
    world.register("query", "0000")
    world.register("index", "0000", "0001")
    world.graph("0000")
    before = world.rows("0000")
    source, target = (world.store.path("index/embeddings", shard) for shard in ("0000", "0002"))
    target.write_bytes(source.read_bytes())
    world.register("index", "0002")
    with pytest.raises(Exception, match="index-0000-0000 is in two shards of index/embeddings"):
        world.graph("0000")
    assert world.rows("0000") == before


def test_an_index_shard_of_another_model_is_refused_with_both_named(world: World) -> None:
    world.register("query", "0000")
    world.register("index", "0000", "0001")
    path = world.store.path("index/embeddings", "0001")
    write_embeddings(path, Embeddings(["other"], np.ones((1, 8), np.float16), "another model"), "1")
    with pytest.raises(Exception, match=r"shard 0000 is by model model \(8 .*, of shard 0001 by another model"):
        world.graph("0000")
    assert not world.store.path("knn_graph", "0000").exists()


def test_a_registered_shard_that_is_not_embedded_is_named(world: World) -> None:
    world.register("query", "0000")
    world.register("index", "0000", "0009")
    with pytest.raises(Exception, match="index/embeddings of shard 0009 is not materialized yet"):
        world.graph("0000")


def test_a_shard_without_photos_changes_no_list_and_has_none(world: World) -> None:
    world.register("query", "0000", "0001")
    world.register("index", "0000")
    world.graph("0000", backend="float")
    before = world.rows("0000")
    world.embed("index", "0001", photos=0)
    world.embed("query", "0001", photos=0)
    world.register("index", "0001")
    world.graph("0000", backend="torch")
    world.graph("0001")
    assert world.rows("0000") == before
    assert world.rows("0001") == []


def test_an_approximate_graph_reports_its_recall_and_fails_its_check_when_it_is_low(world: World) -> None:
    world.embed("index", "0000", photos=12_000)
    world.register("query", "0000")
    world.register("index", "0000")
    good = world.graph("0000", search="ivf", effort=64)
    assert good["recall"] > 0.9 and good["passed"]
    poor = world.graph("0000", search="ivf", effort=1)
    assert poor["recall"] < 0.9 and not poor["passed"]
    assert world.graph("0000")["passed"]


def test_an_ensemble_names_its_members_and_is_embedded_anew_when_one_of_them_changes(tmp_path: Path) -> None:
    (tmp_path / "photos" / "index").mkdir(parents=True)
    for number in range(3):
        picture = Image.effect_noise((64, 48), 40 + number).convert("RGB")
        picture.save(tmp_path / "photos" / "index" / f"{number}.png")
    files = sorted((tmp_path / "photos" / "index").iterdir())
    locations = [PhotoLocation(file.stem, str(file), 0, file.stat().st_size) for file in files]
    store = Store(root=str(tmp_path / "store"))
    write_table(store.path("index/photos", "0000"), MANIFEST, build_manifest(locations)[0], "photos")
    settings = NetworkSettings(backbone="test_resnet", embedding_dim=8)
    fingerprints = [
        save_model(tmp_path / name, build_network(settings, seed), settings, {0: 1}, [])
        for seed, name in enumerate(("store/own", "other", "third"))
    ]
    store.write_record(store.path("trained_model"), "1", {"folder": "own"})
    sizes = {"square_size": 64, "long_side": 64, "scales": [1.0], "smallest_side": 32}

    def embed(instance: dg.DagsterInstance) -> tuple[str, bool]:
        ensemble = {"folders": [str(tmp_path / "other")], "weights": [1.0, 0.25]}
        result = dg.materialize(
            [index_embeddings],
            instance=instance,
            resources={"store": store, "accelerator": Accelerator(device="cpu")},
            partition_key="0000",
            run_config={"ops": {"index__embeddings": {"config": {**sizes, "ensemble": ensemble}}}},
        )
        (event,) = result.asset_materializations_for_node("index__embeddings")
        return event.metadata["model"].value, bool(event.metadata["unchanged"].value)

    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(SHARDS["index"].name, ["0000"])
        assert embed(instance) == (f"1 x {fingerprints[0]} + 0.25 x {fingerprints[1]}", False)
        assert embed(instance)[1]
        (tmp_path / "other").rename(tmp_path / "before")
        (tmp_path / "third").rename(tmp_path / "other")
        assert embed(instance) == (f"1 x {fingerprints[0]} + 0.25 x {fingerprints[2]}", False)
    assert read_embeddings(store.path("index/embeddings", "0000")).vectors.shape == (3, 16)
