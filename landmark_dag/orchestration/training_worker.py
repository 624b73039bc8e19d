"""A process that trains, alone or as one of several that torchrun starts.

Usage: `python -m landmark_dag.orchestration.training_worker FOLDER`, the folder of a training job.

If Dagster started it, it reports through Dagster Pipes; otherwise it prints each epoch on stderr and the result on
stdout. Bad input ends it with status 2 and one sentence, on stderr and in the job's folder.
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from landmark_dag.errors import InputError
from landmark_dag.training.distributed import joined
from landmark_dag.training.job_spec import read_job_spec, write_error
from landmark_dag.training.launcher import PARENT_VARIABLE
from landmark_dag.training.train import train

if TYPE_CHECKING:
    from dagster_pipes import PipesContext

_STARTED_BY_DAGSTER = "DAGSTER_PIPES_CONTEXT"
"""Environment variable that Dagster Pipes sets for the processes that it starts."""


def main() -> None:
    """Train the job whose folder is the one argument."""
    folder = Path(sys.argv[1])
    _end_with_parent()
    with _pipes() as pipes:
        try:
            result = _train(folder, pipes)
        except (InputError, OSError, torch.OutOfMemoryError) as error:
            sentence = _sentence(error)
            write_error(folder, sentence)
            if pipes:
                pipes.log.error(sentence)
            else:
                print(sentence, file=sys.stderr)
            sys.exit(2)
        if pipes:
            pipes.report_custom_message(result)
        elif int(os.environ.get("RANK", 0)) == 0:
            print(json.dumps(result))


def _train(folder: Path, pipes: "PipesContext | None") -> dict[str, object]:
    """Train with the other processes that torchrun started, if any; return the model's fingerprint and history."""
    job = read_job_spec(folder)
    with joined(job.device) as (ranks, device):

        def report(row: dict[str, float]) -> None:
            text = ", ".join(f"{name} {value:.4g}" for name, value in row.items())
            if pipes:
                pipes.log.info(text)
            elif ranks.rank == 0:
                print(text, file=sys.stderr)

        fingerprint, history = train(job, device, ranks, report)
    return {"fingerprint": fingerprint, "history": history}


def _sentence(error: Exception) -> str:
    """Return what went wrong, in one sentence."""
    if isinstance(error, torch.OutOfMemoryError):
        first = " ".join(str(error).split()).split(". ")[0]
        return f"The GPU has too little memory: {first}; lower batch_size and raise accumulation."
    return " ".join(str(error).split())


@contextlib.contextmanager
def _pipes() -> "Iterator[PipesContext | None]":
    """Yield the connection to Dagster in the first process of the host where Dagster started the training, else None.

    Only that process needs the package dagster_pipes.
    """
    if _STARTED_BY_DAGSTER in os.environ and int(os.environ.get("LOCAL_RANK", 0)) == 0:
        from dagster_pipes import open_dagster_pipes

        with open_dagster_pipes() as pipes:
            yield pipes
    else:
        yield None


def _end_with_parent() -> None:
    """End this process soon after the process that started the training ends, so that no training is left behind."""
    parent = int(os.environ.get(PARENT_VARIABLE, 0))

    def watch() -> None:
        while Path(f"/proc/{parent}").exists():
            time.sleep(1)
        os._exit(1)

    if parent and Path(f"/proc/{parent}").exists():
        threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
