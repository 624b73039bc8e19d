"""Several processes that train one network: each takes a slice of every batch; the loss is that of the whole batch."""

import contextlib
import inspect
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
    """This process's `rank`, from 0, among `world` processes, `on_host` of which run on this machine."""

    rank: int = 0
    world: int = 1
    on_host: int = 1

    def slice_of(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this process's slice of a batch; the sizes of slices differ by at most one photo, and may be 0."""
        return np.array_split(positions, self.world)[self.rank]

    def gather(self, features: torch.Tensor, photos: int) -> torch.Tensor:
        """Return the features (photos, d) of a whole batch, given those of this process's slice of it.

        Every process computes the loss of the whole batch from them. The gradient of a process is that of its own
        slice times the number of processes, because DistributedDataParallel averages gradients, which must be added.
        """
        if self.world == 1:
            return features
        counts = [len(part) for part in np.array_split(np.arange(photos), self.world)]
        return _Gathered.apply(features, counts, self.rank)

    def from_rank_0(self, text: str) -> str:
        """Return, in every process, the text that the process of rank 0 passes; wait until it does."""
        if self.world == 1:
            return text
        texts = [text]
        distributed.broadcast_object_list(texts)
        return texts[0]

    def synchronised(self, module: nn.Module, device: torch.device) -> nn.Module:
        """Return `module` wrapped so that gradients are averaged and batch norm uses the whole batch.

        On cuda the batch norm layers of `module` are replaced by torch's synchronised ones. Elsewhere torch has none,
        and SynchronisedBatchNorm synchronises each call.
        """
        if self.world == 1:
            return module
        if device.type == "cuda" and not any(isinstance(part, nn.SyncBatchNorm) for part in module.modules()):
            convert_sync_batchnorm(module)
        return DistributedDataParallel(
            module,
            device_ids=[device.index] if device.type == "cuda" else None,
            forward_sync_buffers=False,  # synchronised batch norm keeps buffers equal
            find_unused_parameters=True,  # some backbones keep norms of heads that are not used
        )


SINGLE = Ranks()
"""A training in one process."""


@contextlib.contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, str]]:
    """Join the processes that torchrun started; yield this process's ranks and torch device.

    On a host with several GPUs each process takes its own. Outside torchrun this is the only process.
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
    """All slices of a batch, joined in the order of ranks; see Ranks.gather."""

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
        """Return the gradient of this rank's slice, times the number of ranks."""
        part = gradients[0].split(list(context.counts))[context.rank]
        return part * len(context.counts), None, None


class SynchronisedBatchNorm(TorchFunctionMode):
    """Inside this context, batch norm in training mode uses mean and variance over the photos of all processes.

    Unlike torch's synchronised batch norm it runs on any device and backend.
    """

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        """Call `function`, or the synchronised batch norm in place of torch's."""
        named = named or {}
        if function is functional.batch_norm:
            call = _BATCH_NORM.bind(*arguments, **named)
            call.apply_defaults()
            if call.arguments.pop("training"):
                return _synchronised_batch_norm(**call.arguments)
        return function(*arguments, **named)


_BATCH_NORM = inspect.signature(functional.batch_norm)


def _synchronised_batch_norm(
    input: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    momentum: float,
    eps: float,
) -> torch.Tensor:
    """Return `torch.nn.functional.batch_norm` in training mode over the photos of all processes; differentiable."""
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
