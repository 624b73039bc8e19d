"""A process that imports everything, computes nothing, and forks one child for each run of the pipeline.

Starting Python, torch and Dagster takes ten seconds of CPU; a fork takes none. The parent never computes, since a fork
hangs after OpenMP or polars have started their threads. `python -m tests.faults.warm HOME` reads one JSON command a
line and answers each with one line; see `Warm` and `Life`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Life:
    """One run of the pipeline, and how it is disturbed.

    It is killed before its `kill_at`th operation on files, or `kill_after` seconds after its start. Its clock is
    `clock` seconds ahead. From the `fault_at`th operation on, opening, writing and renaming fail `fault_count` times
    with the errno `fault`. No file can have more than `largest_file` bytes. With `backwards` the shards of index are
    computed one by one, the last first. With `store` the results are shared at that folder, where a share of
    `store_fails` of the operations fails, chosen by `store_seed` (faulty_store.py).
    """

    home: str
    photos: str
    kill_at: int = 0
    kill_after: float = 0.0
    clock: float = 0.0
    fault: int = 0
    fault_at: int = 0
    fault_count: int = 0
    largest_file: int = 0
    threads: int = 1
    backwards: bool = False
    store: str = ""
    store_fails: float = 0.0
    store_seed: int = 0
    log: str = "run.log"


@dataclass(frozen=True)
class End:
    """How a run ended: its exit status (minus the signal), how many operations on files it made, what it printed."""

    status: int
    operations: int
    log: str


class Warm:
    """The client of a warm process, whose runs have the profile that `tiny_profile` returns for `changes`."""

    def __init__(self, home: Path, **changes: int) -> None:
        command = [sys.executable, "-m", "tests.faults.warm", str(home), json.dumps(changes)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._read() == "ready"

    def live(self, *lives: Life) -> list[End]:
        """Run the lives at the same time; return how each ended."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([asdict(life) for life in lives]) + "\n")
        self._process.stdin.flush()
        return [End(**end) for end in self._read()]

    def _read(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the warm process has ended"
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)


def _import_everything(home: str, changes: dict[str, int]) -> None:
    """Import what a run of the pipeline imports; the settings are those of the profile `tiny`."""
    from tests.support.tiny_profile import admit_tiny_profile, tiny_home_settings

    admit_tiny_profile(**changes)
    os.environ["LANDMARK_HOME"] = home
    from landmark_dag.settings.home import write_home_settings

    if not Path(home, "settings.toml").exists():
        write_home_settings(Path(home), tiny_home_settings(Path("/nowhere")))
    import cv2  # noqa: F401
    import faiss  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import torchvision  # noqa: F401

    import landmark_dag.cleaning.keep_rule
    import landmark_dag.cleaning.match_tables
    import landmark_dag.definitions
    import landmark_dag.evaluation.recognition_metrics
    import landmark_dag.evaluation.submission
    import landmark_dag.orchestration.in_process
    import landmark_dag.reports.gallery
    import landmark_dag.reports.result_plots
    import landmark_dag.retrieval.embedding
    import landmark_dag.retrieval.neighbour_search
    import landmark_dag.retrieval.reranking.methods
    import landmark_dag.training.job_spec
    import landmark_dag.training.photo_tables  # noqa: F401


def _serve(home: str, changes: dict[str, int]) -> None:
    _import_everything(home, changes)
    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    others = [name for name in threads[1:] if not name.startswith(("jemalloc", "polars-ooc"))]
    assert not others, f"an import has started threads: {others}"
    answers = os.fdopen(os.dup(1), "w")
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        lives = [Life(**life) for life in json.loads(line)]
        children = {}
        for life in lives:
            counter = os.memfd_create("operations")
            if not (child := os.fork()):
                answers.close()
                _live(life, counter)
            children[child] = (life, counter, time.monotonic())
        ends: dict[Life, End] = {}
        while children:
            for child, (life, counter, started) in list(children.items()):
                ended, status = os.waitpid(child, os.WNOHANG)
                if life.kill_after and not ended and time.monotonic() - started > life.kill_after:
                    os.kill(child, signal.SIGKILL)
                    ended, status = os.waitpid(child, 0)
                if ended:
                    del children[child]
                    count = int(os.pread(counter, 20, 0) or b"0")
                    os.close(counter)
                    log = Path(life.home, life.log).read_text(errors="replace")
                    ends[life] = End(os.waitstatus_to_exitcode(status), count, log[-3000:])
            time.sleep(0.005)
        print(json.dumps([asdict(ends[life]) for life in lives]), file=answers, flush=True)


def _live(life: Life, counter: int) -> None:
    """Run the pipeline once in this process, and end the process."""
    status = 1
    try:
        Path(life.home).mkdir(parents=True, exist_ok=True)
        log = os.open(Path(life.home, life.log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        _disturb(life, counter)
        _run(life)
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _run(life: Life) -> None:
    import torch

    from landmark_dag.definitions import defs
    from landmark_dag.orchestration.in_process import prepare_home, run_pipeline
    from tests.faults.faulty_store import FaultyFileSystem
    from tests.support.tiny_profile import tiny_home_settings

    torch.set_num_threads(life.threads)
    FaultyFileSystem.fail(life.store_fails, life.store_seed)
    prepare_home(Path(life.home), tiny_home_settings(Path(life.photos), f"faulty://{life.store}" if life.store else ""))
    if life.backwards:
        _compute_backwards()
    run_pipeline(defs(), _Unwatched())


def _compute_backwards() -> None:
    """Compute the whole of train, then every shard of index in a run of its own, the last shard first."""
    import dagster as dg

    from landmark_dag import definitions
    from landmark_dag.orchestration.jobs import whole_split_request
    from landmark_dag.orchestration.shards import register_shards

    location = definitions.defs()
    with dg.DagsterInstance.get() as instance:
        listed = register_shards(instance, location.resources["photo_source"].source())  # type: ignore[index, union-attr]
        for split in ("train", "index"):
            job = location.resolve_job_def(split)
            shards = [None] if split == "train" else reversed(listed[split])
            for shard in shards:
                ends = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
                tags = whole_split_request(instance, split).tags | (dict.fromkeys(ends, shard) if shard else {})
                assert job.execute_in_process(instance=instance, tags=tags).success


class _Unwatched:
    """Ignores the progress of a pipeline."""

    def begin(self, steps: int) -> None: ...

    def step(self, asset: str, state: str) -> None: ...

    def warn(self, message: str) -> None: ...


_REMOVALS = {"os.remove", "os.rmdir", "shutil.rmtree"}
_OPERATIONS = {
    "open",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.chmod",
    "shutil.rmtree",
    "tempfile.mkstemp",
}


def _disturb(life: Life, counter: int) -> None:
    """Count the operations on files under the home, and apply the disturbances of `life`."""
    count = 0

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in _OPERATIONS or not isinstance(arguments[0], str | os.PathLike):
            return
        path = os.fspath(arguments[0])
        if not isinstance(path, str) or not path.startswith(life.home) or path.endswith(life.log):
            return
        if event == "open" and not (arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) and not life.fault:
            return
        count += 1
        os.pwrite(counter, b"%d" % count, 0)
        if count == life.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        faulty = life.fault and event not in _REMOVALS and "/store/" in path  # a full disk still allows removals
        if faulty and life.fault_at <= count < life.fault_at + life.fault_count:
            raise OSError(life.fault, os.strerror(life.fault), path)

    sys.addaudithook(heard)
    if life.clock:
        now = time.time
        time.time = lambda: now() + life.clock  # type: ignore[assignment]
    if life.largest_file:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (life.largest_file, life.largest_file))


if __name__ == "__main__":
    _serve(sys.argv[1], json.loads(sys.argv[2]))
