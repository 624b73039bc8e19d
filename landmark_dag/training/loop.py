"""The training loop: optimizer steps over batches, resumable after any step."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3

from landmark_dag.errors import InputError
from landmark_dag.settings.training import TrainingSettings
from landmark_dag.training.batches import BatchPlan, PlannedBatch
from landmark_dag.training.distributed import Ranks, SynchronisedBatchNorm
from landmark_dag.training.history import Curve, History
from landmark_dag.training.losses import Classifier
from landmark_dag.training.seeds import FORWARD, torch_seed
from landmark_dag.training.trainable import TrainableParameters


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The data of a training loop.

    `class_ids` int64 (photos,) are the classes that `plan` refers to by position. `load` yields, from a step on, every
    batch of the plan and this process's input of the trained module for it. `files_of` returns the names of the files
    that hold the photos at some positions, for errors.
    """

    plan: BatchPlan
    class_ids: NDArray[np.int64]
    load: Callable[[int], Iterator[tuple[PlannedBatch, torch.Tensor]]]
    files_of: Callable[[NDArray[np.int64]], str]


@dataclass(frozen=True)
class _Reported:
    """A batch and its results, which the device may still be computing."""

    batch: PlannedBatch
    loss: torch.Tensor
    accuracy: torch.Tensor
    rate: float


class Loop:
    """Trains the trainable parameters of a network, and a classifier, through the steps of a plan.

    Learning rates follow one cosine over all steps, after a warm-up. Every process computes the loss of the whole
    batch, so losses, gradients and the classifier's weights are the same in all processes.
    """

    def __init__(
        self,
        trainable: TrainableParameters,
        classifier: Classifier,
        data: TrainingData,
        settings: TrainingSettings,
        curve: Curve,
        *,
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        self._trainable, self._classifier, self._settings = trainable, classifier, settings
        self._data, self._class_ids = data, torch.from_numpy(data.class_ids).to(device)
        self._curve, self._device, self._ranks = curve, device, ranks
        self._optimizer = _optimizer(trainable, classifier, settings)
        self._scheduler = _scheduler(self._optimizer, data.plan.steps, settings)
        self._average = (
            ModelEmaV3(trainable.module, decay=settings.ema_decay, use_warmup=True) if settings.ema_decay else None
        )
        self._reported: list[_Reported] = []

    def run(self, start: int, save: Callable[[int], None]) -> History:
        """Run the steps from `start` on; afterwards the network has its final weights, or their moving average.

        `save` is called with the number of steps done, after every `checkpoint_steps` steps and after the last. Raises
        InputError for a loss that is not finite, before any state that it affected is saved.
        """
        self._scheduler.step_update(start)
        module = self._ranks.synchronised(self._trainable.module, self._device)
        self._forward = torch.compile(module) if self._settings.compile else module
        self._classifier.train()
        self._optimizer.zero_grad(set_to_none=True)
        epoch = -1
        with self._own_random_state():
            for batch, inputs in self._timed(self._data.load(start)):
                if batch.epoch != epoch:
                    epoch = batch.epoch
                    self._trainable.train(frozen_batch_norm=epoch >= self._settings.epochs)
                self._backward(batch, inputs, module)
                if batch.ends_step:
                    self._end_step(batch.step + 1, save)
        if self._average:
            self._trainable.module.load_state_dict(self._average.module.state_dict())
        return self._curve.rows

    def state(self, step: int) -> dict[str, Any]:
        """Return what `restore` needs to continue after `step` steps; the step determines the learning rate."""
        return {
            "step": step,
            "module": self._trainable.module.state_dict(),
            "classifier": self._classifier.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": self._average.module.state_dict() if self._average else None,
            "history": self._curve.state(),
        }

    def restore(self, state: dict[str, Any]) -> int:
        """Continue from a `state`; return its step."""
        self._trainable.module.load_state_dict(state["module"])
        self._classifier.load_state_dict(state["classifier"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average:
            self._average.module.load_state_dict(state["average"])
        self._curve.restore(state["history"])
        return int(state["step"])

    def _backward(self, batch: PlannedBatch, inputs: torch.Tensor, module: torch.nn.Module) -> None:
        """Add the gradient of a batch to that of its step."""
        torch.manual_seed(
            torch_seed(self._settings.seed, FORWARD, batch.step, int(batch.positions[0]), self._ranks.rank)
        )
        class_ids = self._class_ids[torch.from_numpy(batch.positions).to(self._device, non_blocking=True)]
        synchronise = self._ranks.world == 1 or batch.ends_step
        with contextlib.nullcontext() if synchronise else module.no_sync():  # type: ignore[operator]
            with self._whole_batch_norm():
                features = self._forward(inputs.to(self._device, non_blocking=True))
            features = self._ranks.gather(features, len(batch.positions))
            loss, accuracy = self._classifier(features, class_ids)
            (loss * batch.share).backward()
        rate = self._optimizer.param_groups[0]["lr"]
        self._reported.append(_Reported(batch, loss.detach(), accuracy, rate))

    def _end_step(self, done: int, save: Callable[[int], None]) -> None:
        """Update the weights; record and save what is due."""
        if self._settings.clip_norm:
            torch.nn.utils.clip_grad_norm_(
                [parameter for group in self._optimizer.param_groups for parameter in group["params"]],
                self._settings.clip_norm,
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._scheduler.step_update(done)
        if self._average:
            self._average.update(self._trainable.module, step=done)
        every = self._settings.checkpoint_steps
        due = bool(every) and (done % every == 0 or done == self._data.plan.steps)
        ends_epoch = done % self._data.plan.steps_per_epoch == 0
        rate = self._settle(done if due or ends_epoch else done - 1)
        if ends_epoch:
            self._curve.end_epoch(done, rate)
        if due:
            save(done)

    def _settle(self, steps: int) -> float:
        """Read and check the results of batches of the first `steps` steps; return the last learning rate.

        Between records, the results of the last step are read only after the next step has started, so that a GPU
        always has work waiting.
        """
        rate = 0.0
        while self._reported and self._reported[0].batch.step < steps:
            reported = self._reported.pop(0)
            loss, rate = reported.loss.item(), reported.rate
            if not math.isfinite(loss):
                files = self._data.files_of(reported.batch.positions)
                raise InputError(
                    f"The loss became {loss} at step {reported.batch.step + 1} (learning rate {rate:.3g}), on photos "
                    f"of {files}; lower the learning rates or look at the photos."
                )
            self._curve.add(len(reported.batch.positions), loss, reported.accuracy.item())
        return rate

    def _timed(
        self, batches: Iterator[tuple[PlannedBatch, torch.Tensor]]
    ) -> Iterator[tuple[PlannedBatch, torch.Tensor]]:
        """Yield `batches`; add to the curve how long each was waited for, and how long it took in all."""
        start = time.perf_counter()
        for batch in batches:
            loaded = time.perf_counter()
            yield batch
            self._curve.add_time(loaded - start, time.perf_counter() - start)
            start = time.perf_counter()

    @contextlib.contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """Let batches seed torch's generators inside the block; afterwards restore the generators."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            yield

    def _whole_batch_norm(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which batch norm uses the whole batch."""
        if self._ranks.world == 1 or self._device.type == "cuda":
            return contextlib.nullcontext()
        return SynchronisedBatchNorm()


def _optimizer(
    trainable: TrainableParameters, classifier: Classifier, settings: TrainingSettings
) -> torch.optim.Optimizer:
    groups = [
        *trainable.parameter_groups(),
        {"params": list(classifier.parameters()), "lr": settings.classifier_learning_rate},
    ]
    return create_optimizer_v2(
        groups,
        opt=settings.optimizer,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        momentum=settings.momentum,
    )


def _scheduler(optimizer: torch.optim.Optimizer, steps: int, settings: TrainingSettings) -> CosineLRScheduler:
    """Return the cosine over all steps, after a linear warm-up."""
    return CosineLRScheduler(
        optimizer,
        t_initial=max(1, steps - settings.warm_up_steps),
        lr_min=settings.lowest_learning_rate,
        warmup_t=settings.warm_up_steps,
        warmup_lr_init=settings.lowest_learning_rate,
        warmup_prefix=True,
        t_in_epochs=False,
    )
