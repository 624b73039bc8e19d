"""The command that starts the processes of a training; importing this module loads nothing heavy."""

import sys
from pathlib import Path

from landmark_dag.settings.training import DistributedSettings

WORKER = "landmark_dag.orchestration.training_worker"

PARENT_VARIABLE = "LANDMARK_TRAINING_PARENT"
"""Environment variable: the id of a process; the workers on its host end when it ends."""


def launch_command(job_folder: Path, settings: DistributedSettings, gpus: int) -> list[str]:
    """Return the command that trains the job in `job_folder` on this host, with `gpus` GPUs in use.

    One process is started directly, several by torchrun. For several hosts, run the same command on each.
    """
    processes = settings.processes or max(1, gpus)
    if processes == settings.hosts == 1:
        return [sys.executable, "-m", WORKER, str(job_folder)]
    rendezvous = ["--standalone"] if settings.hosts == 1 else _rendezvous(job_folder, settings)
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), *rendezvous),
        *("--redirects", "3", "--log-dir", str(job_folder / "logs"), "-m", WORKER, str(job_folder)),
    ]


def _rendezvous(job_folder: Path, settings: DistributedSettings) -> list[str]:
    """Return torchrun's options for several hosts."""
    return [
        *("--nnodes", str(settings.hosts), "--rdzv-backend", "c10d"),
        *("--rdzv-endpoint", settings.rendezvous, "--rdzv-id", job_folder.name),
    ]
