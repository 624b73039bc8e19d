"""Several processes training one network: each sees its slice of every batch, the loss is the whole batch's."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.layers import convert_sync_batchnorm
from torch import distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Ranks:
    """Which of `world` processes this is: `rank`, from 0; `on_host` of them share this machine."""

    rank: int = 0
    world: int = 1
    on_host: int = 1

    def mine(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this process's slice of a batch; slices differ by at most one photo, and may be empty."""
        return np.array_split(positions, self.world)[self.rank]

    def gathered(self, features: torch.Tensor, photos: int) -> torch.Tensor:
        """Return the features (photos, d) of a whole batch, given those of this process's slice of it.

        Every process computes the loss of the whole batch from them. Backwards, each takes the part of its own
        slice, times the number of processes, because DistributedDataParallel averages gradients that are to be added.
        """
        if self.world == 1:
            return features
        counts = [len(part) for part in np.array_split(np.arange(photos), self.world)]
        return _Gathered.apply(features, counts, self.rank)

    def told_by_first(self, text: str) -> str:
        """Return the text that the process of rank 0 gives, in every process, once it has given it."""
        if self.world == 1:
            return text
        texts = [text]
        distributed.broadcast_object_list(texts)
        return texts[0]

    def synchronised(self, module: nn.Module, device: torch.device) -> nn.Module:
        """Return `module` so wrapped that gradients are averaged and batch norm sees the whole batch.

        On cuda batch norm layers of `module` are replaced, by torch's synchronised ones; elsewhere, where torch has
        none, batch norm is synchronised as it is called, within `synchronised_batch_norm`.
        """
        if self.world == 1:
            return module
        if device.type == "cuda" and not any(isinstance(part, nn.SyncBatchNorm) for part in module.modules()):
            convert_sync_batchnorm(module)
        return DistributedDataParallel(
            module,
            device_ids=[device.index] if device.type == "cuda" else None,
            forward_sync_buffers=False,  # synchronised batch norm keeps them equal
            find_unused_parameters=True,  # some backbones have norms of heads that are left out
        )


SINGLE = Ranks()
"""A training in one process."""


@contextlib.contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, str]]:
    """Join the processes that torchrun's environment tells of; give this one's ranks and torch device.

    With several GPUs on a host each of its processes takes its own. Outside torchrun this is the only process.
    """
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world == 1:
        yield SINGLE, device
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Ranks(int(os.environ["RANK"]), world, int(os.environ["LOCAL_WORLD_SIZE"])), device
    finally:
        distributed.destroy_process_group()


class _Gathered(torch.autograd.Function):
    """All slices of a batch, joined in the order of ranks; see Ranks.gathered."""

    @staticmethod
    def forward(context: Any, features: torch.Tensor, counts: Sequence[int], rank: int) -> torch.Tensor:
        """Return the joined slices, of `counts` photos each."""
        context.counts, context.rank = counts, rank
        padded = features.new_zeros((max(counts), *features.shape[1:]))
        padded[: counts[rank]] = features
        slices = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(slices, padded)
        return torch.cat([part[:count] for part, count in zip(slices, counts, strict=True)])

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Return the part of this rank's slice, times the number of ranks."""
        part = gradients[0].split(list(context.counts))[context.rank]
        return part * len(context.counts), None, None


class SynchronisedBatchNorm(TorchFunctionMode):
    """While this is in use, batch norm in training mode takes mean and variance over all processes' photos."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        """Call `function`, or in place of torch's batch norm the synchronised one."""
        call = synchronised_batch_norm if function is functional.batch_norm else function
        return call(*arguments, **(named or {}))


def synchronised_batch_norm(
    input: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Compute `torch.nn.functional.batch_norm`, in training over the photos of all processes; differentiable.

    Unlike torch's synchronised batch norm it runs on any device and backend.
    """
    if not training:
        return functional.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    values, dims = input.float(), [0, *range(2, input.ndim)]
    shape = [1, -1, *[1] * (input.ndim - 2)]
    count = _summed(values.new_tensor([values.numel() / values.shape[1]])).item()
    mean = _summed(values.sum(dims)) / count
    centred = values - mean.view(shape)
    variance = _summed(centred.square().sum(dims)) / count
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_((variance * (count / (count - 1))).to(running_var), momentum)
    result = centred * (variance + eps).rsqrt().view(shape)
    if weight is not None:
        result = result * weight.view(shape)
    if bias is not None:
        result = result + bias.view(shape)
    return result.to(input.dtype)


def _summed(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of `values` over all processes, differentiable in each of them."""
    return _Summed.apply(values)


class _Summed(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(context: Any, values: torch.Tensor) -> torch.Tensor:
        """Return the sum."""
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        """Return the sum of the gradients."""
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total
