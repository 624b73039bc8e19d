"""The accelerator resource: the device of torch that GPU work runs on."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout
from pydantic import Field

from landmark_dag.errors import InputError

_HELD: dict[str, FileLock] = {}
"""The locks of the GPUs that this process uses, held until it ends."""


class Accelerator(dg.ConfigurableResource):
    """Picks the torch device: `auto` is the first of cuda, mps and cpu that the machine has."""

    device: str = Field(default="auto", description="auto, cuda, cuda:N, cuda:free, mps or cpu")

    def torch_device(self) -> str:
        """Return the torch device's name; raises InputError when the machine does not have the device.

        `cuda:free` is the first GPU that no other process has taken as `cuda:free`.
        """
        import torch

        available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        if self.device == "auto":
            return next(name for name, present in available.items() if present)
        if not available.get(self.device.split(":")[0], False):
            raise InputError(f"This machine has no device {self.device!r}; set the accelerator to auto or cpu.")
        if self.device == "cuda:free":
            return first_free([f"cuda:{number}" for number in range(torch.cuda.device_count())])
        return self.device


def first_free(devices: Sequence[str]) -> str:
    """Return the first of `devices` that no other process of this machine holds, and hold it until this process ends.

    Raises InputError when other processes hold all of them.
    """
    for device in devices:
        if device in _HELD:
            return device
    for device in devices:
        lock = FileLock(Path(tempfile.gettempdir()) / f"landmark-dag.{device}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _HELD[device] = lock
        return device
    raise InputError(
        f"Other runs hold {', '.join(devices)}; allow no more runs at once than there are GPUs "
        "(max_concurrent_runs in dagster.yaml)."
    )
