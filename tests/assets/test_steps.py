"""Steps: what is stored is not computed again, and what fails leaves what was stored."""

import errno
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets.steps import (
    Metadata,
    Upstream,
    deps,
    every,
    every_shard,
    markdown_table,
    materialize_stored,
    on_retry,
    same,
)
from landmark_dag.errors import InputError
from landmark_dag.orchestration.code_version import installed_code_version
from landmark_dag.orchestration.partitions import SHARDS
from landmark_dag.settings.definition import hashed_fields
from landmark_dag.settings.retrieval import EmbeddingSettings
from landmark_dag.storage.tables import LABELS, write_table
from resources.store import Store
from tests.buckets import BUCKET, ask_for_credentials, s3_server


@dataclass(frozen=True)
class Settings:
    """What `doubled` depends on besides its input."""

    factor: int = 2


class World:
    """Three small assets over a store: one a shard, one from it shard by shard, one from all shards."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root=str(root))
        self.computed: list[str] = []
        self.content = {"0000": "a", "0001": "b"}
        self.factor = 2
        self.fails = False
        self.failures: list[Exception] = []
        self.batches: list[int] = []
        self.refuses = ""
        self.meanwhile: Callable[[str, str], None] = lambda name, shard: None

    def assets(self) -> list[dg.AssetsDefinition]:
        world = self

        def write(name: str, shard: str, path: Path, version: str) -> Metadata:
            world.computed.append(f"{name} {shard}".strip())
            frame = pl.DataFrame({"image_id": [version], "landmark_id": [1], "landmark": ["x"]})
            if world.failures:
                raise world.failures.pop()
            if world.fails:
                raise RuntimeError("the disk is on fire")
            world.meanwhile(name, shard)
            write_table(path, LABELS, frame, version)
            if world.refuses:
                ask_for_credentials(world.refuses, True)
            return {"rows": 1, "dagster/row_count": 1}

        sharded = {"partitions_def": SHARDS["index"], "backfill_policy": dg.BackfillPolicy.single_run()}

        @dg.asset(key=["index", "root"], code_version="1", **sharded)
        def root(context: dg.AssetExecutionContext, store: Store) -> dg.MaterializeResult:
            return materialize_stored(
                context, store, lambda *args: write("root", *args), source=lambda shard: world.content[shard]
            )

        @dg.asset(key=["index", "doubled"], deps=deps([same("index/root")]), code_version="1", **sharded)
        def doubled(context: dg.AssetExecutionContext, store: Store) -> dg.MaterializeResult:
            return materialize_stored(
                context,
                store,
                lambda *args: write("doubled", *args),
                inputs=[same("index/root")],
                settings=[Settings(world.factor)],
            )

        total_inputs: list[Upstream] = [every("index/doubled", "index")]

        @dg.asset(deps=deps(total_inputs), code_version="1")
        def total(context: dg.AssetExecutionContext, store: Store) -> dg.MaterializeResult:
            assert every_shard(context, "index") == ["0000", "0001"]
            world.batches.append(on_retry(context, EmbeddingSettings(batch_size=32)).batch_size)
            return materialize_stored(
                context, store, lambda *args: write("total", *args), inputs=total_inputs, rows="photos counted"
            )

        return [root, doubled, total]

    def run(self, instance: dg.DagsterInstance, selection: str = "*", **more: str) -> dg.ExecuteInProcessResult:
        self.computed.clear()
        tags = {"dagster/asset_partition_range_start": "0000", "dagster/asset_partition_range_end": "0001"} | more
        return dg.materialize(
            self.assets(), instance=instance, resources={"store": self.store}, tags=tags, selection=selection
        )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("index_shards", ["0000", "0001"])
        yield instance


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


EVERYTHING = ["root 0000", "root 0001", "doubled 0000", "doubled 0001", "total"]


def test_a_first_run_computes_every_shard(world: World, instance: dg.DagsterInstance) -> None:
    world.run(instance)
    assert world.computed == EVERYTHING


def test_a_second_run_computes_nothing_and_reports_what_the_first_did(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.run(instance)
    result = world.run(instance)
    assert world.computed == []
    metadata = result.asset_materializations_for_node("total")[0].metadata
    assert (metadata["rows"].value, metadata["unchanged"].value) == (1, True)


def test_a_changed_shard_is_computed_with_what_depends_on_it(world: World, instance: dg.DagsterInstance) -> None:
    world.run(instance)
    world.content["0001"] = "changed"
    world.run(instance)
    assert world.computed == ["root 0001", "doubled 0001", "total"]


def test_a_changed_setting_recomputes_only_what_has_it_and_what_follows(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.run(instance)
    world.factor = 3
    world.run(instance)
    assert world.computed == ["doubled 0000", "doubled 0001", "total"]


def test_every_shard_of_a_run_shows_its_own_metadata(world: World, instance: dg.DagsterInstance) -> None:
    result = world.run(instance)
    events = result.asset_materializations_for_node("index__doubled")
    versions = {event.partition: event.metadata["version"].value for event in events}
    assert versions.keys() == {"0000", "0001"}
    assert versions["0000"] != versions["0001"]


def test_a_step_that_fails_leaves_what_was_stored(world: World, instance: dg.DagsterInstance) -> None:
    world.run(instance)
    before = world.store.path("index/root", "0000").read_bytes()
    world.content["0000"], world.fails = "changed", True
    with pytest.raises(RuntimeError, match="on fire"):
        world.run(instance)
    assert world.store.path("index/root", "0000").read_bytes() == before


def test_of_two_runs_on_one_shard_the_second_waits_and_finds_it_stored(
    world: World, instance: dg.DagsterInstance
) -> None:
    results: list[bool] = []
    other = threading.Thread(target=lambda: results.append(_run_beside(world, instance)))

    def start_another(name: str, shard: str) -> None:
        if (name, shard) == ("root", "0000"):
            world.meanwhile = lambda name, shard: None
            other.start()
            other.join(timeout=2)  # it waits for this very shard
            assert other.is_alive()

    world.meanwhile = start_another
    assert world.run(instance, "index/root").success
    other.join()
    assert results == [True] and sorted(world.computed) == ["root 0000", "root 0001"]


def _run_beside(world: World, instance: dg.DagsterInstance) -> bool:
    tags = {"dagster/asset_partition_range_start": "0000", "dagster/asset_partition_range_end": "0001"}
    resources = {"store": world.store}
    return dg.materialize(
        world.assets(), instance=instance, resources=resources, tags=tags, selection="index/root"
    ).success


def test_what_another_run_replaced_meanwhile_is_never_mixed_in(world: World, instance: dg.DagsterInstance) -> None:
    world.run(instance)
    doubled, root = (world.store.path(f"index/{name}", "0001") for name in ("doubled", "root"))
    world.factor = 3

    def replace_the_input(name: str, shard: str) -> None:
        if (name, shard) == ("doubled", "0001"):
            frame = pl.DataFrame({"image_id": ["other"], "landmark_id": [1], "landmark": ["x"]})
            write_table(root, LABELS, frame, "made by another run")

    world.meanwhile = replace_the_input
    with pytest.raises(InputError, match="index/doubled of shard 0001 is made of was made anew by another run"):
        world.run(instance, "index/doubled")
    assert not doubled.exists()
    world.meanwhile = lambda name, shard: None
    assert world.run(instance).success and doubled.exists()


def test_names_from_outside_are_text_in_markdown() -> None:
    names = ["<script>", "a|b", "![x](http://elsewhere/x.png)", "two\nlines", "`code`"]
    table = markdown_table(pl.DataFrame({"name": names})).value
    cells = [line.removeprefix("| ").removesuffix(" |") for line in table.splitlines()[2:]]
    assert cells == [r"\<script\>", r"a\|b", r"![x]\(http://elsewhere/x.png)", "two lines", r"\`code\`"]


def test_a_missing_shard_is_named(world: World, instance: dg.DagsterInstance) -> None:
    world.run(instance)
    world.store.path("index/doubled", "0001").unlink()
    with pytest.raises(Exception, match="index/doubled of shard 0001 is not materialized yet"):
        world.run(instance, selection="total")


def test_settings_that_change_only_speed_are_no_part_of_a_version() -> None:
    assert "batch_size" not in hashed_fields(EmbeddingSettings())
    assert hashed_fields(EmbeddingSettings(batch_size=1)) == hashed_fields(EmbeddingSettings(batch_size=2))
    assert hashed_fields(EmbeddingSettings(square_size=1)) != hashed_fields(EmbeddingSettings(square_size=2))


def test_storage_that_does_not_answer_is_asked_again(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landmark_dag.orchestration.retries._FIRST_WAIT", 0)
    world.failures = [ConnectionResetError(), OSError(errno.ETIMEDOUT, "timed out")]
    assert world.run(instance).success
    assert world.computed == ["root 0000", "root 0000", *EVERYTHING]


def test_memory_that_ran_out_is_tried_again_with_half_the_batch(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landmark_dag.orchestration.retries._FIRST_WAIT", 0)
    world.run(instance)
    world.store.path("total").unlink()
    world.batches.clear()
    world.failures = [MemoryError(), MemoryError()]
    assert world.run(instance).success
    assert world.batches == [32, 16, 8]


def test_a_failure_that_stays_is_raised_as_it_is(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landmark_dag.orchestration.retries._FIRST_WAIT", 0)
    world.failures = [ConnectionResetError("gone again")] * 9
    with pytest.raises(ConnectionResetError, match="gone again"):
        world.run(instance)
    assert len(world.computed) == 4


def test_a_run_is_tagged_with_what_it_counted(world: World, instance: dg.DagsterInstance) -> None:
    runs = [world.run(instance).run_id for _ in range(2)]
    tags = [instance.get_run_by_id(run_id).tags["landmark/total"] for run_id in runs]
    assert tags == ["1 photos counted, computed 1 of 1", "0 photos counted, computed 0 of 1"]


def test_what_was_computed_is_measured_and_previewed(world: World, instance: dg.DagsterInstance) -> None:
    metadata = world.run(instance).asset_materializations_for_node("total")[0].metadata
    assert metadata["stored bytes"].value == world.store.path("total").stat().st_size
    assert metadata["photos per second"].value > 0
    assert metadata["preview"].value.startswith("| image_id | landmark_id | landmark |\n| --- | --- | --- |\n| ")


@pytest.fixture
def machines(tmp_path: Path) -> tuple[World, World]:
    (tmp_path / "shared").mkdir()
    one, other = World(tmp_path / "one"), World(tmp_path / "other")
    for world in (one, other):
        world.store = Store(root=world.store.root, shared=f"file://{tmp_path}/shared")
    return one, other


def test_another_machine_computes_nothing_that_is_shared(
    machines: tuple[World, World], instance: dg.DagsterInstance
) -> None:
    one, other = machines
    one.run(instance)
    other.run(instance)
    assert (one.computed, other.computed) == (EVERYTHING, [])


def test_another_machine_goes_on_from_what_is_shared(
    machines: tuple[World, World], instance: dg.DagsterInstance
) -> None:
    one, other = machines
    one.run(instance, selection='key:"index/root"')
    other.run(instance, selection='key:"index/doubled"')
    one.run(instance, selection="total")
    assert (one.computed, other.computed) == (["total"], ["doubled 0000", "doubled 0001"])
    other.content["0000"] = "changed"
    other.run(instance)
    one.content = other.content
    one.run(instance)
    assert one.computed == []
    versions = [world.store.input_version("total") for world in machines]
    assert versions[0] == versions[1]


def test_an_output_that_could_not_be_shared_is_shared_by_the_next_run_and_not_computed_again(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server(monkeypatch) as address:
        one, other = World(tmp_path / "one"), World(tmp_path / "other")
        for world in (one, other):
            world.store = Store(root=world.store.root, shared=f"s3://{BUCKET}/home")
        one.refuses = address
        with pytest.raises(Exception, match="refuses this machine's credentials"):
            one.run(instance)
        assert one.computed == ["root 0000"]
        ask_for_credentials(address, False)
        one.refuses = ""
        one.run(instance)
        assert one.computed == ["root 0001", "doubled 0000", "doubled 0001", "total"]
        other.run(instance)
        assert other.computed == []


def test_a_shard_that_arrived_later_than_the_run_takes_is_left_out(world: World, instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("index_shards", ["0002"])
    taken = {"landmark/last_index_shard": "0001"}
    assert world.run(instance, **taken).success
    assert world.computed == EVERYTHING


def test_a_step_launched_by_other_code_fails_naming_both_and_the_run_is_resumed_with_the_same(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run(instance, selection='key:"index/root"')
    monkeypatch.setenv("LANDMARK_CODE", "0.0.9 (abcdef)")
    with pytest.raises(Exception, match=r"launched by code 0.0.9 \(abcdef\), and the machine .* runs .*; install"):
        world.run(instance)
    assert world.computed == []
    monkeypatch.setenv("LANDMARK_CODE", installed_code_version())
    world.run(instance)
    assert world.computed == ["doubled 0000", "doubled 0001", "total"]
