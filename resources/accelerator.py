"""The accelerator resource: which device the GPU work runs on."""

import dagster as dg
from pydantic import Field

from landmark_dag.errors import InputError


class Accelerator(dg.ConfigurableResource):
    """Picks the torch device: `auto` is cuda where there is one, else mps, else cpu."""

    device: str = Field(default="auto", description="auto, cuda, cuda:N, mps or cpu")

    def torch_device(self) -> str:
        """Return the torch device's name; raises InputError when the device asked for is not there."""
        import torch

        available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        if self.device == "auto":
            return next(name for name, present in available.items() if present)
        if not available.get(self.device.split(":")[0], False):
            raise InputError(f"This machine has no device {self.device!r}; set the accelerator to auto or cpu.")
        return self.device
