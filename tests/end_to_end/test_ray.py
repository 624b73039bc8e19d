"""A real Ray cluster of two worker nodes on this machine gives the embeddings of one process."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import requests

from landmark_dag.photos.manifest import build_manifest
from landmark_dag.settings.home import HomeSettings, write_home_settings
from landmark_dag.storage.schemas import MANIFEST
from landmark_dag.training.artifact import save_model
from landmark_dag.training.network import build_network
from resources.store import home_store
from tests.support.homes import NETWORK
from tests.support.photos import located, write_landmark_photo
from tests.support.processes import ROOT, free_ports, program
from tests.support.s3_server import BUCKET, s3_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SHARDS = [f"{number:04d}" for number in range(8)]


@dataclass
class Cluster:
    """A head without CPUs and two nodes that claim a GPU each."""

    environment: dict[str, str]
    folder: Path
    nodes: list[psutil.Popen]
    address: str = ""

    def start(self) -> None:
        port, dashboard, client = free_ports(3)
        self.address = f"http://127.0.0.1:{dashboard}"
        head = ["--head", f"--port={port}", f"--dashboard-port={dashboard}", f"--temp-dir={self.folder}"]
        self._node(*head, "--num-cpus=0", f"--ray-client-server-port={client}")
        for _ in range(2):
            self._node(f"--address=127.0.0.1:{port}", "--num-cpus=2", "--num-gpus=1")

    def _node(self, *arguments: str) -> None:
        """Start a node, with three tries: Ray gives up after 30 s, and a busy machine may need longer."""
        log = self.folder / f"node{len(self.nodes)}.log"
        command = [program("ray"), "start", "--block", "--disable-usage-stats", *arguments]
        for _ in range(3):
            with log.open("wb") as file:
                node = psutil.Popen(command, env=self.environment, cwd=self.folder, stdout=file, stderr=file)
            while node.poll() is None and (not self.nodes or self.nodes[0].poll() is None):
                if "Ray runtime started" in log.read_text():
                    self.nodes.append(node)
                    return
                time.sleep(0.2)
        raise RuntimeError("".join(path.read_text() for path in self.folder.glob("node*.log")))

    def jobs(self) -> list[dict[str, Any]]:
        """Return every job's status and, once it runs, its node."""
        return list(requests.get(f"{self.address}/api/jobs/", timeout=60).json())

    def node_of_a_running_job(self) -> int:
        """Wait until a job runs; return its node."""
        while True:
            running = {job["driver_node_id"] for job in self.jobs() if job["status"] == "RUNNING"}
            for number, node in enumerate(self.nodes):
                arguments = [argument for child in node.children(recursive=True) for argument in child.cmdline()]
                if any(f"--node_id={node_id}" in arguments for node_id in running):
                    return number
            time.sleep(0.2)

    def kill(self, number: int) -> None:
        """Kill all processes of a node at once, as a machine that loses power does."""
        for process in [self.nodes[number], *self.nodes[number].children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.nodes[number].wait()

    def stop(self) -> None:
        for number in reversed(range(len(self.nodes))):
            if self.nodes[number].poll() is None:
                self.kill(number)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A home shared in a bucket, with 8 shards of 2 index photos and a model, and a cluster that reads the bucket."""
    with s3_server(monkeypatch):
        home = tmp_path / "home"
        monkeypatch.setenv("LANDMARK_HOME", str(home))
        monkeypatch.setenv("LANDMARK_STORE", f"s3://{BUCKET}/home")
        monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        (home / "dagster").mkdir(parents=True)
        (home / "dagster/dagster.yaml").write_text("telemetry: {enabled: false}\n")
        write_home_settings(home, HomeSettings(str(tmp_path / "photos"), "demo"))
        store = home_store(home)
        save_model(Path(store.root) / "models/m", build_network(NETWORK, seed=1), NETWORK, {}, [])
        store.write_record(store.path("trained_model"), "v", {"folder": "models/m"})
        store.sync([store.path("trained_model")])
        for number, shard in enumerate(SHARDS):
            paths = [
                write_landmark_photo(tmp_path / f"photos/index/{shard}{i}.png", i, 2 * number + i) for i in range(2)
            ]
            manifest, _ = build_manifest([located(path) for path in paths])
            store.write("index/photos", MANIFEST, manifest, f"v{shard}", shard)
        with dg.DagsterInstance.get() as instance:
            instance.add_dynamic_partitions("index_shards", SHARDS)
        with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as short:  # for paths of sockets
            started = Cluster(dict(os.environ), Path(short), [])
            try:
                started.start()
                yield started
            finally:
                started.stop()


def materialize(partitions: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Materialize index/embeddings in a run of its own."""
    command = ["asset", "materialize", "-m", "landmark_dag.definitions", "--select", 'key:"index/embeddings"']
    return subprocess.run(
        [program("dagster"), *command, *partitions], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def embed(shards: Sequence[str], environment: dict[str, str]) -> dict[str, subprocess.CompletedProcess[str]]:
    """Materialize the embeddings of each shard in a run of its own, two at a time; return each process."""
    with ThreadPoolExecutor(2) as pool:
        runs = pool.map(lambda shard: materialize(["--partition", shard], environment), shards)
        return dict(zip(shards, runs, strict=True))


def embedded_here(tmp_path: Path) -> dict[str, bytes]:
    """Embed every shard in one process, from a copy of the bucket and into it; return the files."""
    import fsspec

    files, _ = fsspec.core.url_to_fs(f"s3://{BUCKET}/home")
    files.copy(f"{BUCKET}/home/", f"{BUCKET}/alone/", recursive=True)
    alone = {"LANDMARK_STORE": f"s3://{BUCKET}/alone", "LANDMARK_HOME": str(tmp_path / "alone")}
    done = materialize(["--partition-range", f"{SHARDS[0]}...{SHARDS[-1]}"], os.environ | alone)
    assert done.returncode == 0, done.stderr
    return {shard: files.cat(f"{BUCKET}/alone/index/embeddings/{shard}.arrow") for shard in SHARDS}


def stored(home: Path) -> dict[str, bytes]:
    """Return the embeddings at the home's shared location, as another machine finds them."""
    store = home_store(home)
    return {
        shard: store.path("index/embeddings", shard).read_bytes() for shard in store.stored("index/embeddings", SHARDS)
    }


def test_a_cluster_gives_the_embeddings_of_one_process_and_loses_no_shard_with_a_node(
    cluster: Cluster, tmp_path: Path
) -> None:
    expected = embedded_here(tmp_path)
    on_ray = {**os.environ, "LANDMARK_EXECUTOR": "ray", "RAY_ADDRESS": cluster.address}

    first = embed(SHARDS[:4], on_ray)
    assert [shard for shard, run in first.items() if run.returncode] == [], first[SHARDS[0]].stderr[-3000:]
    assert len({job["driver_node_id"] for job in cluster.jobs()}) == 2

    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(embed, SHARDS[4:], on_ray)
        cluster.kill(cluster.node_of_a_running_job())
        failed = [shard for shard, run in rest.result().items() if run.returncode]
    assert failed
    again = embed(failed, on_ray)
    assert [shard for shard, run in again.items() if run.returncode] == []
    assert stored(tmp_path / "another machine") == expected
