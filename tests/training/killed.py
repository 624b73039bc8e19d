"""Trainings in separate processes that kill themselves, as a lost machine would end them."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from landmark_dag.training.job_spec import TrainingJobSpec
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
    """Train, and die as step number `step` is about to update the weights."""
    torch.set_num_threads(1)
    done = torch.load(job.checkpoint, weights_only=True)["step"] if job.checkpoint.exists() else 0

    def die_at_step(*_: object) -> None:
        nonlocal done
        done += 1
        if done == step:
            die()

    register_optimizer_step_pre_hook(die_at_step)
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
