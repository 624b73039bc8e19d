"""The process that trains, started as Dagster or a person starts it."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from landmark_dag.errors import InputError
from landmark_dag.settings.training import DistributedSettings, NetworkSettings, TrainingSettings
from landmark_dag.training.artifact import load_model
from landmark_dag.training.job_spec import TrainingJobSpec, read_error, read_job_spec, write_job_spec
from landmark_dag.training.labelled_photos import LabelledPhotos
from landmark_dag.training.launcher import PARENT_VARIABLE, WORKER, launch_command
from tests.support.processes import free_port
from tests.training.photo_sets import write_labelled_photos

TRAINING = TrainingSettings(
    square_size=32, long_side=64, epochs=2, batch_size=4, learning_rate=1e-3, checkpoint_steps=1
)

Finished = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> LabelledPhotos:
    return write_labelled_photos(tmp_path_factory.mktemp("photos"), landmarks=3, photos=4)


def job_of(folder: Path, photos: LabelledPhotos, training: TrainingSettings = TRAINING) -> TrainingJobSpec:
    network = NetworkSettings(backbone="test_resnet", embedding_dim=8)
    landmarks = {0: 5, 1: 6, 2: 9}
    return TrainingJobSpec(folder / "model", folder / "model.checkpoint", network, training, "cpu", photos, landmarks)


def start(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_a_job_is_read_as_it_was_written(tmp_path: Path, photos: LabelledPhotos) -> None:
    job = replace(job_of(tmp_path, photos), first_photos=replace(photos, class_ids=photos.class_ids // 2 % 2))
    write_job_spec(tmp_path / "job", job)
    read = read_job_spec(tmp_path / "job")
    for name in ("model_folder", "checkpoint", "network", "training", "device", "class_landmarks"):
        assert getattr(read, name) == getattr(job, name)
    for written, found in ((job.photos, read.photos), (job.first_photos, read.first_photos)):
        assert found is not None and written is not None
        assert found.locations == written.locations
        assert np.array_equal(found.sizes, written.sizes) and np.array_equal(found.class_ids, written.class_ids)


def test_a_folder_without_a_job_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no training job"):
        read_job_spec(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, photos: LabelledPhotos) -> Finished:
    """A training without Dagster; its process prints the modules that it has loaded at the end."""
    folder = tmp_path_factory.mktemp("finished")
    write_job_spec(folder / "job", job_of(folder, photos))
    code = f"import sys; from {WORKER} import main; main(); print(*sys.modules)"
    return folder, start([sys.executable, "-c", code, str(folder / "job")])


def test_a_worker_without_dagster_prints_epochs_and_its_result(finished: Finished) -> None:
    folder, done = finished
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[0])
    assert load_model(folder / "model").fingerprint == result["fingerprint"]
    assert [row["epoch"] for row in result["history"]] == [1, 2]
    assert [line.split(",")[0] for line in done.stderr.splitlines()] == ["epoch 1", "epoch 2"]


def test_a_worker_by_hand_loads_neither_dagster_nor_its_pipes_nor_polars_nor_faiss(finished: Finished) -> None:
    loaded = set(finished[1].stdout.splitlines()[1].split())
    assert WORKER in loaded
    assert not loaded & {"dagster", "dagster_pipes", "polars", "faiss"}


def test_a_failing_worker_leaves_one_sentence_and_status_2(tmp_path: Path, photos: LabelledPhotos) -> None:
    lost = replace(photos.locations[0], path=str(tmp_path / "lost.jpg"))
    write_job_spec(tmp_path / "job", job_of(tmp_path, replace(photos, locations=[lost, *photos.locations[1:]])))
    done = start([sys.executable, "-m", WORKER, str(tmp_path / "job")])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "lost.jpg cannot be used: the file is gone" in done.stderr
    assert read_error(tmp_path / "job") == done.stderr.strip()


@pytest.mark.slow
def test_torchrun_starts_two_processes_that_train_one_model_and_resume_it(
    tmp_path: Path, photos: LabelledPhotos
) -> None:
    job = job_of(tmp_path, photos)
    write_job_spec(tmp_path / "job", job)
    command = launch_command(tmp_path / "job", DistributedSettings(processes=2), 0)
    done = start(command)
    assert done.returncode == 0, done.stderr
    first = load_model(job.model_folder).fingerprint
    assert job.checkpoint.exists()
    again = start(command)
    assert again.returncode == 0, again.stderr
    assert load_model(job.model_folder).fingerprint == first


@pytest.mark.slow
def test_two_hosts_that_meet_train_the_model_of_one_host_with_as_many_processes(
    tmp_path: Path, photos: LabelledPhotos
) -> None:
    for name in ("one", "two"):
        write_job_spec(tmp_path / name / "job", job_of(tmp_path / name, photos))
    done = start(launch_command(tmp_path / "one/job", DistributedSettings(processes=2), 0))
    assert done.returncode == 0, done.stderr

    meeting = f"127.0.0.1:{free_port()}"
    command = launch_command(tmp_path / "two/job", DistributedSettings(1, hosts=2, rendezvous=meeting), 0)
    cores = sorted(os.sched_getaffinity(0))  # a core for each host, as for each process of the one: sums depend on it
    with ThreadPoolExecutor(2) as hosts:
        ended = list(hosts.map(start, [["taskset", "-c", str(core), *command] for core in (cores[0], cores[-1])]))
    assert [host.returncode for host in ended] == [0, 0], "".join(host.stderr for host in ended)
    one, two = ((tmp_path / name / "model/weights.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.slow
def test_one_failing_process_of_two_ends_both_and_leaves_its_sentence(tmp_path: Path, photos: LabelledPhotos) -> None:
    lost = replace(photos.locations[0], path=str(tmp_path / "lost.jpg"))
    write_job_spec(tmp_path / "job", job_of(tmp_path, replace(photos, locations=[lost, *photos.locations[1:]])))
    done = start(launch_command(tmp_path / "job", DistributedSettings(processes=2), 0))
    assert done.returncode != 0
    assert "lost.jpg cannot be used: the file is gone" in (read_error(tmp_path / "job") or "")


@pytest.mark.slow
def test_workers_end_with_the_process_that_had_them_started(tmp_path: Path, photos: LabelledPhotos) -> None:
    write_job_spec(tmp_path / "job", job_of(tmp_path, photos, replace(TRAINING, epochs=100_000)))
    parent = subprocess.Popen(["sleep", "1000"])
    worker = subprocess.Popen(
        [sys.executable, "-m", WORKER, str(tmp_path / "job")],
        env=os.environ | {PARENT_VARIABLE: str(parent.pid), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    while not (tmp_path / "model.checkpoint").exists():
        assert worker.poll() is None
        time.sleep(0.1)
    parent.kill()
    parent.wait()
    assert worker.wait(60) == 1


def test_hosts_need_a_meeting_point(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 hosts needs a `rendezvous`"):
        launch_command(tmp_path, DistributedSettings(hosts=2), 8)
    command = launch_command(tmp_path, DistributedSettings(hosts=2, rendezvous="a:29500"), 8)
    assert command[command.index("--nproc-per-node") + 1] == "8"
    assert command[command.index("--rdzv-endpoint") + 1] == "a:29500"


def test_one_process_for_each_gpu_is_the_default(tmp_path: Path) -> None:
    assert "torch.distributed.run" in launch_command(tmp_path, DistributedSettings(), 4)
    for gpus in (0, 1):
        assert launch_command(tmp_path, DistributedSettings(), gpus) == [sys.executable, "-m", WORKER, str(tmp_path)]
