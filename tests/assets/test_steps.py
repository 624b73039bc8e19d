"""Steps: what is stored is not computed again, and what fails leaves what was stored."""

import errno
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets import steps
from assets.steps import (
    Metadata,
    Upstream,
    deps,
    every,
    every_shard,
    materialize_stored,
    on_retry,
    same,
)
from landmark_dag.errors import InputError
from landmark_dag.orchestration.code_version import installed_code_version
from landmark_dag.orchestration.partitions import SHARDS
from landmark_dag.orchestration.retries import retry_wait
from landmark_dag.settings.definition import hashed_fields
from landmark_dag.settings.retrieval import EmbeddingSettings
from landmark_dag.storage.parquet_tables import write_table
from landmark_dag.storage.schemas import LABELS
from resources.store import Store
from tests.support.s3_server import BUCKET, ask_for_credentials, s3_server
from tests.support.worlds import World


@dataclass(frozen=True)
class Settings:
    """What `doubled` depends on besides its input."""

    factor: int = 2


class Steps(World):
    """Three small assets over a store: one for each shard, one made of it shard by shard, and one of all shards."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        super().__init__(root, instance)
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

    def run(self, selection: str = "*", **more: str) -> dg.ExecuteInProcessResult:
        """Materialize the selected assets; the run's tags are those of both shards, and `more`."""
        self.computed.clear()
        return self.run_beside(selection, **more)

    def run_beside(self, selection: str = "*", **more: str) -> dg.ExecuteInProcessResult:
        """Do the same while another run may be at work."""
        tags = {"dagster/asset_partition_range_start": "0000", "dagster/asset_partition_range_end": "0001"} | more
        return self.materialize(*self.assets(), tags=tags, selection=selection)


@pytest.fixture
def instance(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    instance.add_dynamic_partitions("index_shards", ["0000", "0001"])
    return instance


@pytest.fixture
def world(tmp_path: Path, instance: dg.DagsterInstance) -> Steps:
    return Steps(tmp_path, instance)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without a wait what is worth a retry."""
    monkeypatch.setattr(steps, "retry_wait", lambda *failure: None if retry_wait(*failure) is None else 0)


EVERYTHING = ["root 0000", "root 0001", "doubled 0000", "doubled 0001", "total"]


def test_a_first_run_computes_every_shard(world: Steps) -> None:
    world.run()
    assert world.computed == EVERYTHING


def test_a_second_run_computes_nothing_and_reports_what_the_first_did(world: Steps) -> None:
    world.run()
    result = world.run()
    assert world.computed == []
    metadata = result.asset_materializations_for_node("total")[0].metadata
    assert (metadata["rows"].value, metadata["unchanged"].value) == (1, True)


def test_a_changed_shard_is_recomputed_with_what_depends_on_it(world: Steps) -> None:
    world.run()
    world.content["0001"] = "changed"
    world.run()
    assert world.computed == ["root 0001", "doubled 0001", "total"]


def test_a_changed_setting_recomputes_only_the_steps_that_use_it_and_those_after(world: Steps) -> None:
    world.run()
    world.factor = 3
    world.run()
    assert world.computed == ["doubled 0000", "doubled 0001", "total"]


def test_every_shard_of_a_run_shows_its_own_metadata(world: Steps) -> None:
    result = world.run()
    events = result.asset_materializations_for_node("index__doubled")
    versions = {event.partition: event.metadata["version"].value for event in events}
    assert versions.keys() == {"0000", "0001"}
    assert versions["0000"] != versions["0001"]


def test_a_step_that_fails_leaves_what_was_stored(world: Steps) -> None:
    world.run()
    before = world.store.path("index/root", "0000").read_bytes()
    world.content["0000"], world.fails = "changed", True
    with pytest.raises(RuntimeError, match="on fire"):
        world.run()
    assert world.store.path("index/root", "0000").read_bytes() == before


def test_when_two_runs_compute_one_shard_the_second_waits_and_finds_it_stored(world: Steps) -> None:
    results: list[bool] = []
    other = threading.Thread(target=lambda: results.append(world.run_beside("index/root").success))

    def start_another(name: str, shard: str) -> None:
        if (name, shard) == ("root", "0000"):
            world.meanwhile = lambda name, shard: None
            other.start()
            other.join(timeout=2)  # it waits for this very shard
            assert other.is_alive()

    world.meanwhile = start_another
    assert world.run("index/root").success
    other.join()
    assert results == [True] and sorted(world.computed) == ["root 0000", "root 0001"]


def test_an_output_is_dropped_when_another_run_replaces_its_input_meanwhile(world: Steps) -> None:
    world.run()
    doubled, root = (world.store.path(f"index/{name}", "0001") for name in ("doubled", "root"))
    world.factor = 3

    def replace_the_input(name: str, shard: str) -> None:
        if (name, shard) == ("doubled", "0001"):
            frame = pl.DataFrame({"image_id": ["other"], "landmark_id": [1], "landmark": ["x"]})
            write_table(root, LABELS, frame, "made by another run")

    world.meanwhile = replace_the_input
    with pytest.raises(InputError, match="Another run recomputed an input of index/doubled of shard 0001 while"):
        world.run("index/doubled")
    assert not doubled.exists()
    world.meanwhile = lambda name, shard: None
    assert world.run().success and doubled.exists()


def test_a_missing_shard_is_named(world: Steps) -> None:
    world.run()
    world.store.path("index/doubled", "0001").unlink()
    with pytest.raises(Exception, match="index/doubled of shard 0001 is not materialized yet"):
        world.run(selection="total")


def test_settings_that_change_only_speed_are_no_part_of_a_version() -> None:
    assert "batch_size" not in hashed_fields(EmbeddingSettings())
    assert hashed_fields(EmbeddingSettings(batch_size=1)) == hashed_fields(EmbeddingSettings(batch_size=2))
    assert hashed_fields(EmbeddingSettings(square_size=1)) != hashed_fields(EmbeddingSettings(square_size=2))


@pytest.mark.usefixtures("impatient")
def test_a_step_is_retried_when_storage_does_not_answer(world: Steps) -> None:
    world.failures = [ConnectionResetError(), OSError(errno.ETIMEDOUT, "timed out")]
    assert world.run().success
    assert world.computed == ["root 0000", "root 0000", *EVERYTHING]


@pytest.mark.usefixtures("impatient")
def test_a_step_that_runs_out_of_memory_is_retried_with_half_the_batch(world: Steps) -> None:
    world.run()
    world.store.path("total").unlink()
    world.batches.clear()
    world.failures = [MemoryError(), MemoryError()]
    assert world.run().success
    assert world.batches == [32, 16, 8]


@pytest.mark.usefixtures("impatient")
def test_a_failure_that_outlasts_the_retries_is_raised_unchanged(world: Steps) -> None:
    world.failures = [ConnectionResetError("gone again")] * 9
    with pytest.raises(ConnectionResetError, match="gone again"):
        world.run()
    assert len(world.computed) == 4


def test_a_run_is_tagged_with_its_counts(world: Steps) -> None:
    runs = [world.run().run_id for _ in range(2)]
    tags = [world.instance.get_run_by_id(run_id).tags["landmark/total"] for run_id in runs]
    assert tags == ["1 photos counted, computed 1 of 1", "0 photos counted, computed 0 of 1"]


def test_computed_rows_are_measured_and_previewed(world: Steps) -> None:
    metadata = world.run().asset_materializations_for_node("total")[0].metadata
    assert metadata["stored bytes"].value == world.store.path("total").stat().st_size
    assert metadata["photos per second"].value > 0
    preview = metadata["preview"]
    assert isinstance(preview, dg.TableMetadataValue)
    assert [column.name for column in preview.schema.columns] == ["image_id", "landmark_id", "landmark"]
    (record,) = preview.records
    assert (record.data["landmark_id"], record.data["landmark"]) == (1, "x")


@pytest.fixture
def machines(tmp_path: Path, instance: dg.DagsterInstance) -> tuple[Steps, Steps]:
    (tmp_path / "shared").mkdir()
    one, other = Steps(tmp_path / "one", instance), Steps(tmp_path / "other", instance)
    for world in (one, other):
        world.share(f"file://{tmp_path}/shared")
    return one, other


def test_another_machine_computes_nothing_that_is_shared(machines: tuple[Steps, Steps]) -> None:
    one, other = machines
    one.run()
    other.run()
    assert (one.computed, other.computed) == (EVERYTHING, [])


def test_another_machine_continues_from_what_is_shared(machines: tuple[Steps, Steps]) -> None:
    one, other = machines
    one.run(selection='key:"index/root"')
    other.run(selection='key:"index/doubled"')
    one.run(selection="total")
    assert (one.computed, other.computed) == (["total"], ["doubled 0000", "doubled 0001"])
    other.content["0000"] = "changed"
    other.run()
    one.content = other.content
    one.run()
    assert one.computed == []
    versions = [world.store.input_version("total") for world in machines]
    assert versions[0] == versions[1]


def test_an_output_that_could_not_be_shared_is_shared_by_the_next_run_and_not_computed_again(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server(monkeypatch) as address:
        one, other = Steps(tmp_path / "one", instance), Steps(tmp_path / "other", instance)
        for world in (one, other):
            world.share(f"s3://{BUCKET}/home")
        one.refuses = address
        with pytest.raises(Exception, match="refuses this machine's credentials"):
            one.run()
        assert one.computed == ["root 0000"]
        ask_for_credentials(address, False)
        one.refuses = ""
        one.run()
        assert one.computed == ["root 0001", "doubled 0000", "doubled 0001", "total"]
        other.run()
        assert other.computed == []


def test_a_run_leaves_out_shards_after_the_last_one_that_its_tags_name(world: Steps) -> None:
    world.register("index", "0002")
    taken = {"landmark/last_index_shard": "0001"}
    assert world.run(**taken).success
    assert world.computed == EVERYTHING


def test_a_step_launched_by_another_code_version_fails_naming_both_and_runs_with_its_own(
    world: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run(selection='key:"index/root"')
    monkeypatch.setenv("LANDMARK_CODE", "0.0.9 (abcdef)")
    with pytest.raises(Exception, match=r"launched by code 0.0.9 \(abcdef\), and the machine .* runs .*; install"):
        world.run()
    assert world.computed == []
    monkeypatch.setenv("LANDMARK_CODE", installed_code_version())
    world.run()
    assert world.computed == ["doubled 0000", "doubled 0001", "total"]
