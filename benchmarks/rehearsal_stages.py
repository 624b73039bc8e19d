"""The stages of the rehearsal: one asset materialized, with what it and its checks took."""

import os
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.measuring import bytes_read, drop_from_page_cache, measured, memory, reset_peak_memory
from resources.store import Store

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_BLOCK = 2**23


@dataclass(frozen=True)
class Stage:
    """An asset: the split of its shards (empty: it has none), its inputs, and which splits' vectors it multiplies."""

    asset: str
    split: str
    reads: tuple[str, ...]
    product: tuple[str, str] | None = None


def _train_neighbours(split: str) -> Stage:
    reads = f"{split}/embeddings", "train/embeddings", "cleaned_dataset"
    return Stage(f"{split}/train_neighbours", split, reads, (split, "train"))


STAGES = (
    _train_neighbours("query"),
    Stage("query/votes", "query", ("query/train_neighbours", "cleaned_dataset")),
    Stage("knn_graph", "query", ("query/embeddings", "index/embeddings"), ("query", "index")),
    _train_neighbours("index"),
    Stage("index/votes", "index", ("index/train_neighbours", "cleaned_dataset")),
    Stage("sorted_ranking", "query", ("knn_graph", "query/votes", "index/votes")),
    Stage("inserted_ranking", "query", ("sorted_ranking", "query/votes", "index/votes")),
    Stage("retrieval_metrics", "", ("knn_graph", "sorted_ranking", "inserted_ranking")),
    Stage("recognition", "", ("query/train_neighbours",)),
    Stage("recognition_metrics", "", ("recognition", "train/labels")),
    Stage("submission", "", ("inserted_ranking", "recognition", "train/labels")),
)


def materialize(home: str, stage: Stage, device: str) -> dict[str, Any]:
    """Materialize the stage's asset over all of its shards and run its checks; return what that took.

    The files of the store are dropped from the page cache first, so that they are read from disk.
    """
    os.environ |= {"LANDMARK_HOME": home, "DAGSTER_HOME": f"{home}/dagster", "LANDMARK_DEVICE": device}
    from landmark_dag import definitions as location

    store = Store(root=f"{home}/store")
    for path in Path(store.root).rglob("*.*"):
        drop_from_page_cache(path)
    with dg.DagsterInstance.get() as instance:
        shards = instance.get_dynamic_partitions(f"{stage.split}_shards") if stage.split else []
        ends = {"start": shards[0], "end": shards[-1]} if shards else {}
        tags = {f"dagster/asset_partition_range_{end}": shard for end, shard in ends.items()}
        run_id, key = str(uuid.uuid4()), dg.AssetKey(stage.asset.split("/"))
        with _Meter() as meter:
            instance.add_event_listener(run_id, meter.listen)
            job = location.defs().resolve_implicit_global_asset_job_def()
            result = job.execute_in_process(
                run_config=_QUIET, instance=instance, run_id=run_id, tags=tags, asset_selection=[key]
            )
        events = [event.materialization.metadata for event in result.get_asset_materialization_events()]
    checks = {name: taken for name, taken in meter.steps.items() if name != key.to_python_identifier()}
    return {
        "stage": stage.asset,
        "computed": sum(not metadata["unchanged"].value for metadata in events),
        "of": len(events),
        **meter.steps[key.to_python_identifier()],
        "checks_seconds": round(sum(taken["seconds"] for taken in checks.values()), 3),
        "checks_processor_seconds": round(sum(taken["processor_seconds"] for taken in checks.values()), 3),
        "checks_peak_mb": max((taken["peak_mb"] for taken in checks.values()), default=0),
        "bytes_there": sum(stored_bytes(store, asset) for asset in (*stage.reads, stage.asset)),
    }


def stored_bytes(store: Store, asset: str) -> int:
    """Return the size in bytes of all files of an asset."""
    whole = store.path(asset)
    return sum(path.stat().st_size for path in (whole, *whole.with_suffix("").glob("*.*")) if path.exists())


def product_speed(device: str) -> tuple[float, float]:
    """Return the operations a second of the matrix product alone, by the clock and a processor; the best of five runs.

    The product is the fastest that the search may use: 8-bit integers on a CPU that multiplies them, else float32; on
    a GPU float16 with sums in float32, where the processor's seconds mean nothing.
    """
    import torch

    from landmark_dag.matching.mutual_matches import integer_steps

    if device != "cpu":
        x, y = (torch.randn(rows, 512, device=device, dtype=torch.float16) for rows in (16384, 65536))

        def multiply() -> None:
            torch.mm(x, y.T, out_dtype=torch.float32)
    else:
        kind, result = (torch.int8, torch.int32) if all(integer_steps()) else (torch.float32, torch.float32)
        x, y = ((20 * torch.randn(rows, 512)).clamp(-63, 63).to(kind) for rows in (4096, 65536))
        tile = torch.empty(1024 * 4096, dtype=result)

        def multiply() -> None:
            for start in range(0, len(y), 4096):
                for first in range(0, len(x), 1024):
                    part = x[first : first + 1024], y[start : start + 4096].T
                    (torch._int_mm if kind == torch.int8 else torch.mm)(*part, out=tile.view(1024, 4096))

    runs = [measured(multiply, device) for _ in range(6)][1:]
    operations = 2 * len(x) * len(y) * 512
    return operations / min(run.seconds for run in runs), operations / min(run.processor_seconds for run in runs)


def read_speed(home: str) -> float:
    """Return the bytes a second of reading the home's train embeddings from disk."""
    paths = sorted(Path(home, "store", "train", "embeddings").glob("*.arrow"))
    for path in paths:
        drop_from_page_cache(path)
    total, started = 0, time.perf_counter()
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while some := file.read(_BLOCK):
                total += len(some)
    return total / (time.perf_counter() - started)


class _Meter:
    """Measures the steps of a run from its events; a context manager, since it samples memory meanwhile."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float]] = {}
        self._anonymous = 0
        self._before: dict[str, float] = {}
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "_Meter":
        self._sampler.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._sampler.join()

    def listen(self, event: dg.EventLogEntry) -> None:
        """Note what a step took; Dagster calls it in the thread that logs the event."""
        kind = event.dagster_event.event_type if event.dagster_event else None
        if kind is dg.DagsterEventType.STEP_START:
            reset_peak_memory()
            self._anonymous, self._before = 0, _usage()
        elif kind is dg.DagsterEventType.STEP_SUCCESS:
            taken = {name: value - self._before[name] for name, value in _usage().items()}
            now = memory()
            anonymous = max(self._anonymous, now["RssAnon"])
            taken |= {"peak_mb": now["VmHWM"] / 1e6, "anonymous_mb": anonymous / 1e6}
            self.steps[event.dagster_event.step_key] = {name: round(value, 3) for name, value in taken.items()}

    def _sample(self) -> None:
        while not self._done.wait(0.02):
            self._anonymous = max(self._anonymous, memory()["RssAnon"])


def _usage() -> dict[str, float]:
    """Return the seconds and the bytes read from disk of this process so far."""
    return {
        "seconds": time.perf_counter(),
        "processor_seconds": time.process_time(),
        "bytes_read": bytes_read("read_bytes"),
    }
