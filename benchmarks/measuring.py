"""What the benchmarks share: functions timed in turn, the memory of a process, and the page cache. Linux alone."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Literal

LANDMARK_DAG = (sys.executable, "-c", "from landmark_dag.cli.main import main; main()")
"""The command `landmark-dag` of this checkout, to which arguments are added."""

Way = Callable[[], Any]
"""What is timed: a function without arguments."""


@dataclass(frozen=True)
class Run:
    """One run of a function: what it took, and its result.

    `seconds` are those of the clock, `processor_seconds` those of all threads of this process. `extra_bytes` are the
    most bytes in use on the device while it ran, beyond those in use before.
    """

    seconds: float
    processor_seconds: float
    extra_bytes: int
    result: Any


def measured(way: Way, device: str = "cpu") -> Run:
    """Run a function that computes on `device` (cpu, or a CUDA device), and return what it took."""
    before = _bytes_in_use(device, peak=False)
    start, processor_start = time.perf_counter(), time.process_time()
    result = way()
    if device != "cpu":
        import torch

        torch.cuda.synchronize()
    seconds, processor_seconds = time.perf_counter() - start, time.process_time() - processor_start
    return Run(seconds, processor_seconds, max(0, _bytes_in_use(device, peak=True) - before), result)


def in_turn(ways: Mapping[str, Way], rounds: int, device: str = "cpu") -> dict[str, list[Run]]:
    """Run every way once in each round, so that all meet the same state of the machine; return the runs by name."""
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            runs[name].append(measured(way, device))
    return runs


def spread(values: Iterable[float], digits: int = 1) -> str:
    """Return the smallest, the median and the largest of some numbers as text."""
    values = list(values)
    return "min/median/max " + " ".join(f"{value:7.{digits}f}" for value in (min(values), median(values), max(values)))


def measured_process(command: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[float, float]:
    """Run a command; return the seconds of the clock, and of the processor with the command's own children.

    Ends the benchmark with what the command wrote to stderr, where it fails.
    """
    start, processor_start = time.perf_counter(), children_seconds()
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    seconds, processor_seconds = time.perf_counter() - start, children_seconds() - processor_start
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {ended.returncode}:\n{ended.stderr}")
    return seconds, processor_seconds


def children_seconds() -> float:
    """Return the processor seconds of the processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return `function(*arguments)` from a new process, whose memory and caches are its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def memory() -> dict[str, int]:
    """Return this process's memory in bytes by its name in /proc/self/status: VmRSS, VmHWM (the peak), RssAnon."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines if line.endswith(" kB")}


def reset_peak_memory() -> None:
    """Let the peak of `memory` begin at the memory in use now."""
    Path("/proc/self/clear_refs").write_text("5")


def bytes_read(kind: Literal["rchar", "read_bytes"]) -> int:
    """Return the bytes that this process has read: by any read call (rchar), or from disk (read_bytes)."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields[kind])


def drop_from_page_cache(path: Path) -> None:
    """Make the next read of a file go to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _bytes_in_use(device: str, *, peak: bool) -> int:
    """Return the bytes in use on `device`, or the most since the last call that did not ask for the peak."""
    if device == "cpu":
        if not peak:
            reset_peak_memory()
        return memory()["VmHWM" if peak else "VmRSS"]
    import torch

    if not peak:
        torch.cuda.reset_peak_memory_stats()
    return torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()
