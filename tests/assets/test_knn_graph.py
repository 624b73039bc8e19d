"""Embeddings and the kNN graph through Dagster: ensembles, and a graph that grows by new index shards."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from assets.retrieval import graph_recall, index_embeddings, knn_graph
from landmark_dag.photos.manifest import build_manifest
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.storage.embeddings import Embeddings, read_embeddings, write_embeddings
from landmark_dag.storage.hashing import digest
from landmark_dag.storage.schemas import MANIFEST, NEIGHBOURS
from landmark_dag.training.artifact import save_model
from landmark_dag.training.network import build_network
from tests.support.photos import located, write_photo
from tests.support.vectors import unit_vectors
from tests.support.worlds import World, reported


class Graphs(World):
    """Embeddings of three index and three query shards, of which tests register some; and the graphs made of them."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        super().__init__(root, instance)
        for split in ("index", "query"):
            for shard in ("0000", "0001", "0002"):
                self.write_embeddings(split, shard)

    def write_embeddings(self, split: str, shard: str, change: int = 0, photos: int = 12) -> None:
        ids = [f"{split}-{shard}-{number:04}" for number in range(photos)]
        vectors = unit_vectors(photos, 8, seed=[len(split), int(shard), change])
        self.embed(split, Embeddings(ids, vectors, "model"), shard, digest([split, shard, change]))

    def graph(self, shard: str, **config: object) -> dict:
        """Materialize a shard of the graph with its check; return its metadata, and whether the check passed."""
        configs = {"knn_graph": {"neighbours": 20, **config}}
        result = self.materialize(knn_graph, graph_recall, shard=shard, configs=configs)
        (check,) = result.get_asset_check_evaluations()
        return reported(result, knn_graph) | {"passed": check.passed}

    def rows(self, shard: str) -> list:
        return self.store.read("knn_graph", NEIGHBOURS, shard).rows()


@pytest.fixture
def world(tmp_path: Path, instance: dg.DagsterInstance) -> Graphs:
    return Graphs(tmp_path, instance)


@pytest.fixture
def from_nothing(tmp_path: Path) -> Iterator[Graphs]:
    """Another home with every index shard registered from the start."""
    with dg.DagsterInstance.ephemeral() as instance:
        graphs = Graphs(tmp_path / "other", instance)
        graphs.register("query", "0000")
        graphs.register("index", "0000", "0001", "0002")
        yield graphs


def test_a_graph_that_grew_by_a_new_index_shard_equals_one_computed_from_nothing(
    world: Graphs, from_nothing: Graphs
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


def test_a_changed_index_shard_recomputes_the_whole_graph(world: Graphs, from_nothing: Graphs) -> None:
    world.register("query", "0000")
    world.register("index", "0000", "0001", "0002")
    world.graph("0000")
    for one in (world, from_nothing):
        one.write_embeddings("index", "0001", change=1)
    assert world.graph("0000")["index shards searched"] == 3
    from_nothing.graph("0000")
    assert world.rows("0000") == from_nothing.rows("0000")


def test_changed_settings_recompute_the_whole_graph(world: Graphs) -> None:
    world.register("query", "0000")
    world.register("index", "0000", "0001")
    world.graph("0000")
    assert world.graph("0000", neighbours=5)["index shards searched"] == 2
    assert len(world.rows("0000")) == 12 * 5


def test_a_new_query_shard_changes_no_other_shard(world: Graphs) -> None:
    world.register("query", "0000")
    world.register("index", "0000", "0001")
    world.graph("0000")
    before = world.store.path("knn_graph", "0000").read_bytes()
    world.register("query", "0001")
    world.graph("0001")
    assert world.store.path("knn_graph", "0000").read_bytes() == before
    assert world.graph("0000")["unchanged"]


def test_a_photo_in_two_index_shards_is_refused_when_the_graph_grows(world: Graphs) -> None:
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


def test_an_index_shard_of_another_model_is_refused_with_both_named(world: Graphs) -> None:
    world.register("query", "0000")
    world.register("index", "0000", "0001")
    path = world.store.path("index/embeddings", "0001")
    write_embeddings(path, Embeddings(["other"], np.ones((1, 8), np.float16), "another model"), "1")
    with pytest.raises(Exception, match=r"shard 0000 is by model model \(8 .*, of shard 0001 by another model"):
        world.graph("0000")
    assert not world.store.path("knn_graph", "0000").exists()


def test_a_registered_shard_that_is_not_embedded_is_named(world: Graphs) -> None:
    world.register("query", "0000")
    world.register("index", "0000", "0009")
    with pytest.raises(Exception, match="index/embeddings of shard 0009 is not materialized yet"):
        world.graph("0000")


def test_a_shard_without_photos_changes_no_list_and_has_none(world: Graphs) -> None:
    world.register("query", "0000", "0001")
    world.register("index", "0000")
    world.graph("0000", backend="float")
    before = world.rows("0000")
    world.write_embeddings("index", "0001", photos=0)
    world.write_embeddings("query", "0001", photos=0)
    world.register("index", "0001")
    world.graph("0000", backend="torch")
    world.graph("0001")
    assert world.rows("0000") == before
    assert world.rows("0001") == []


def test_an_approximate_graph_reports_its_recall_and_fails_its_check_when_it_is_low(world: Graphs) -> None:
    world.write_embeddings("index", "0000", photos=12_000)
    world.register("query", "0000")
    world.register("index", "0000")
    good = world.graph("0000", search="ivf", effort=64)
    assert good["recall"] > 0.9 and good["passed"]
    poor = world.graph("0000", search="ivf", effort=1)
    assert poor["recall"] < 0.9 and not poor["passed"]
    assert world.graph("0000")["passed"]


def test_an_ensemble_names_its_members_and_is_recomputed_when_one_of_them_changes(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    world = World(tmp_path, instance)
    photos = [located(write_photo(tmp_path / f"photos/index/{number}.jpg", number)) for number in range(3)]
    world.write("index/photos", MANIFEST, build_manifest(photos)[0], "0000")
    world.register("index", "0000")
    network = NetworkSettings(backbone="test_resnet", embedding_dim=8)
    fingerprints = [
        save_model(tmp_path / name, build_network(network, seed), network, {0: 1}, [])
        for seed, name in enumerate(("store/own", "other", "third"))
    ]
    world.store.write_record(world.store.path("trained_model"), "1", {"folder": "own"})
    sizes = {"square_size": 64, "long_side": 64, "scales": [1.0], "smallest_side": 32}
    ensemble = {"folders": [str(tmp_path / "other")], "weights": [1.0, 0.25]}

    def embed() -> tuple[str, bool]:
        metadata = world.reported(
            index_embeddings, shard="0000", configs={"index__embeddings": {**sizes, "ensemble": ensemble}}
        )
        return metadata["model"], metadata["unchanged"]

    assert embed() == (f"1 x {fingerprints[0]} + 0.25 x {fingerprints[1]}", False)
    assert embed()[1]
    (tmp_path / "other").rename(tmp_path / "before")
    (tmp_path / "third").rename(tmp_path / "other")
    assert embed() == (f"1 x {fingerprints[0]} + 0.25 x {fingerprints[2]}", False)
    assert read_embeddings(world.store.path("index/embeddings", "0000")).vectors.shape == (3, 16)
