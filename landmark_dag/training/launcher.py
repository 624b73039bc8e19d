"""How the processes of a training are started; imports nothing heavy."""

import sys
from pathlib import Path

from landmark_dag.settings.training import DistributedSettings

WORKER = "landmark_dag.orchestration.training_worker"

PARENT_VARIABLE = "LANDMARK_TRAINING_PARENT"
"""Environment variable: the process, by its id, whose end is to end the workers on its host too."""


def launch_command(job_folder: Path, settings: DistributedSettings, gpus: int) -> list[str]:
    """Return the command that trains the job in `job_folder` on this host, with `gpus` GPUs in use.

    One process is started directly, several by torchrun. On several hosts the same command is to be run on each.
    """
    processes = settings.processes or max(1, gpus)
    if processes == settings.hosts == 1:
        return [sys.executable, "-m", WORKER, str(job_folder)]
    meeting = ["--standalone"] if settings.hosts == 1 else _meeting(job_folder, settings)
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), *meeting),
        *("--redirects", "3", "--log-dir", str(job_folder / "logs"), "-m", WORKER, str(job_folder)),
    ]


def _meeting(job_folder: Path, settings: DistributedSettings) -> list[str]:
    """Return torchrun's options for several hosts."""
    return [
        *("--nnodes", str(settings.hosts), "--rdzv-backend", "c10d"),
        *("--rdzv-endpoint", settings.rendezvous, "--rdzv-id", job_folder.name),
    ]
