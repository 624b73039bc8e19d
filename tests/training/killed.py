"""Trainings in processes of their own that kill themselves, as a lost machine would end them."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

import torch

from landmark_dag.training.job_spec import TrainingJobSpec
from landmark_dag.training.loop import Loop
from landmark_dag.training.train import train


def die() -> None:
    """End this process at once."""
    os.kill(os.getpid(), signal.SIGKILL)


def in_process(function: Callable[..., Any], *arguments: Any) -> int | None:
    """Run `function` in a new process; return its exit status, minus the signal where one ended it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.killed"])
    process = context.Process(target=function, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def train_until_step(job: TrainingJobSpec, step: int) -> None:
    """Train, and die when `step` steps are done but nothing came of the last one yet."""
    torch.set_num_threads(1)
    finish = Loop._end_step

    def end_step(loop: Loop, done: int, save: Callable[[int], None]) -> None:
        if done == step:
            die()
        finish(loop, done, save)

    Loop._end_step = end_step  # type: ignore[method-assign]
    train(job, job.device)


def train_until_writing(job: TrainingJobSpec, checkpoints: int) -> None:
    """Train, and die in the middle of writing the checkpoint after `checkpoints` whole ones."""
    torch.set_num_threads(1)
    save, whole = torch.save, 0

    def save_half(content: object, file: Any) -> None:
        nonlocal whole
        whole += 1
        if whole > checkpoints:
            file.write(b"PK half of a checkpoint")
            file.flush()
            die()
        save(content, file)

    torch.save = save_half  # type: ignore[assignment]
    train(job, job.device)
