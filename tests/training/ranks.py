"""Trainings in several gloo processes on this machine, each of which writes its losses and its last weights."""

import contextlib
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from landmark_dag.errors import InputError
from landmark_dag.settings.training import NetworkSettings, TrainingSettings
from landmark_dag.training import network as network_module
from landmark_dag.training.distributed import Ranks, joined
from landmark_dag.training.fit import Progress, fit
from landmark_dag.training.history import Curve
from landmark_dag.training.labelled_photos import LabelledPhotos
from landmark_dag.training.network import build_network
from tests.support.processes import free_port

Told = list[dict[str, Any]]
"""One for each rank: losses of every batch, history, and the network's state."""


def run_ranks(function: Any, world: int, *arguments: Any) -> list[int | None]:
    """Run `function` in `world` joined processes; return their exit statuses."""
    port = free_port()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.ranks"])
    processes = [context.Process(target=_join, args=(rank, world, port, function, arguments)) for rank in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def _join(rank: int, world: int, port: int, function: Any, arguments: Any) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    with joined("cpu") as (ranks, device):
        function(ranks, device, *arguments)


@contextlib.contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    """Compute in `dtype` wherever the network or the loss asks for float32 or less."""
    former = torch.Tensor.float, network_module.fast_in_bfloat16, torch.get_default_dtype()
    torch.Tensor.float = lambda tensor: tensor.to(dtype)  # type: ignore[method-assign]
    network_module.fast_in_bfloat16 = lambda device: False
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.Tensor.float, network_module.fast_in_bfloat16 = former[:2]  # type: ignore[method-assign]
        torch.set_default_dtype(former[2])


def fit_and_tell(
    ranks: Ranks,
    device: str,
    folder: Path,
    photos: LabelledPhotos,
    network: NetworkSettings,
    settings: TrainingSettings,
    dtype: torch.dtype,
) -> None:
    """Fit, computing in `dtype`, and write what this rank saw to `folder`."""
    losses: list[float] = []
    add = Curve.add

    def recording(curve: Curve, count: int, loss: float, accuracy: float) -> None:
        losses.append(loss)
        add(curve, count, loss, accuracy)

    Curve.add = recording  # type: ignore[method-assign]
    try:
        with precision(dtype):
            built = build_network(network, seed=1)
            history = fit(photos, built, settings, device, Progress(ranks=ranks))
        told = {"losses": losses, "history": history, "state": built.state_dict()}
    except InputError as error:
        told = {"error": str(error)}
    finally:
        Curve.add = add  # type: ignore[method-assign]
    torch.save(told, folder / f"{ranks.world}-{ranks.rank}.pt")


def told_by(folder: Path, world: int) -> Told:
    """Return what each of `world` ranks wrote."""
    return [torch.load(folder / f"{world}-{rank}.pt", weights_only=True) for rank in range(world)]
