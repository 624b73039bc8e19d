"""The training loop: from batches to moved weights, resumable after any step."""

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

Feed = Callable[[int], Iterator[tuple[PlannedBatch, torch.Tensor]]]
"""From a step on, every batch with what this process gives the trained module for it."""


@dataclass(frozen=True)
class _Reported:
    """What a batch will have reported once the device has computed it."""

    batch: PlannedBatch
    loss: torch.Tensor
    accuracy: torch.Tensor
    rate: float


class Loop:
    """Moves the trained parts of a network, and a classifier, through the steps of a plan.

    Learning rates follow one cosine over all steps, after a warm-up. Every process computes the loss of the whole
    batch, so losses, gradients and the classifier's weights are the same in all of them.
    """

    def __init__(
        self,
        parts: TrainableParameters,
        classifier: Classifier,
        class_ids: torch.Tensor,
        plan: BatchPlan,
        settings: TrainingSettings,
        curve: Curve,
        *,
        device: torch.device,
        ranks: Ranks,
        files_of: Callable[[NDArray[np.int64]], str],
    ) -> None:
        self._parts, self._classifier, self._class_ids = parts, classifier, class_ids.to(device)
        self._plan, self._settings, self._curve = plan, settings, curve
        self._device, self._ranks, self._files_of = device, ranks, files_of
        self._optimizer = _optimizer(parts, classifier, settings)
        self._scheduler = _scheduler(self._optimizer, plan.steps, settings)
        self._average = (
            ModelEmaV3(parts.module, decay=settings.ema_decay, use_warmup=True) if settings.ema_decay else None
        )
        self._reported: list[_Reported] = []

    def run(self, feed: Feed, start: int, save: Callable[[int], None]) -> History:
        """Run the steps from `start` on; leave the network's weights (or their average) final.

        `save` is told, after every `checkpoint_steps` steps and after the last, how many steps are done. Raises
        InputError for a loss that is not finite, before anything is saved that came of it.
        """
        self._scheduler.step_update(start)
        module = self._ranks.synchronised(self._parts.module, self._device)
        self._forward = torch.compile(module) if self._settings.compile else module
        self._classifier.train()
        self._optimizer.zero_grad(set_to_none=True)
        epoch = -1
        with self._own_random_state():
            for batch, inputs in self._timed(feed(start)):
                if batch.epoch != epoch:
                    epoch = batch.epoch
                    self._parts.train(frozen_batch_norm=epoch >= self._settings.epochs)
                self._backward(batch, inputs, module)
                if batch.ends_step:
                    self._end_step(batch.step + 1, save)
        if self._average:
            self._parts.module.load_state_dict(self._average.module.state_dict())
        return self._curve.rows

    def state(self, step: int) -> dict[str, Any]:
        """Return all that `restore` needs after `step` steps; the learning rate follows from the step."""
        return {
            "step": step,
            "module": self._parts.module.state_dict(),
            "classifier": self._classifier.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": self._average.module.state_dict() if self._average else None,
            "history": self._curve.state(),
        }

    def restore(self, state: dict[str, Any]) -> int:
        """Go on from a `state`; return its step."""
        self._parts.module.load_state_dict(state["module"])
        self._classifier.load_state_dict(state["classifier"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average:
            self._average.module.load_state_dict(state["average"])
        self._curve.restore(state["history"])
        return int(state["step"])

    def _backward(self, batch: PlannedBatch, inputs: torch.Tensor, module: torch.nn.Module) -> None:
        """Add the batch's part of its step's gradient."""
        torch.manual_seed(
            torch_seed(self._settings.seed, FORWARD, batch.step, int(batch.positions[0]), self._ranks.rank)
        )
        class_ids = self._class_ids[torch.from_numpy(batch.positions).to(self._device, non_blocking=True)]
        summing = self._ranks.world == 1 or batch.ends_step
        with contextlib.nullcontext() if summing else module.no_sync():  # type: ignore[operator]
            with self._whole_batch_norm():
                features = self._forward(inputs.to(self._device, non_blocking=True))
            features = self._ranks.gathered(features, len(batch.positions))
            loss, accuracy = self._classifier(features, class_ids)
            (loss * batch.share).backward()
        rate = self._optimizer.param_groups[0]["lr"]
        self._reported.append(_Reported(batch, loss.detach(), accuracy, rate))

    def _end_step(self, done: int, save: Callable[[int], None]) -> None:
        """Move the weights, and report what is known by now."""
        if self._settings.clip_norm:
            torch.nn.utils.clip_grad_norm_(
                [parameter for group in self._optimizer.param_groups for parameter in group["params"]],
                self._settings.clip_norm,
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._scheduler.step_update(done)
        if self._average:
            self._average.update(self._parts.module, step=done)
        every = self._settings.checkpoint_steps
        due = bool(every) and (done % every == 0 or done == self._plan.steps)
        ends_epoch = done % self._plan.steps_per_epoch == 0
        rate = self._settle(done if due or ends_epoch else done - 1)
        if ends_epoch:
            self._curve.end_epoch(done, rate)
        if due:
            save(done)

    def _settle(self, steps: int) -> float:
        """Read what batches of the first `steps` steps reported, and check it; return the last learning rate.

        The last step is left alone until the next is on its way, so that a GPU always has work waiting.
        """
        rate = 0.0
        while self._reported and self._reported[0].batch.step < steps:
            reported = self._reported.pop(0)
            loss, rate = reported.loss.item(), reported.rate
            if not math.isfinite(loss):
                raise InputError(
                    f"The loss became {loss} at step {reported.batch.step + 1} (learning rate {rate:.3g}), on photos "
                    f"of {self._files_of(reported.batch.positions)}; lower the learning rates or look at the photos."
                )
            self._curve.add(len(reported.batch.positions), loss, reported.accuracy.item())
        return rate

    def _timed(
        self, batches: Iterator[tuple[PlannedBatch, torch.Tensor]]
    ) -> Iterator[tuple[PlannedBatch, torch.Tensor]]:
        """Yield `batches`, and tell the curve how long each was waited for and how long it took in all."""
        asked = time.perf_counter()
        for batch in batches:
            given = time.perf_counter()
            yield batch
            self._curve.add_time(given - asked, time.perf_counter() - asked)
            asked = time.perf_counter()

    @contextlib.contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """Let batches seed torch's generators; their former states return afterwards."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            yield

    def _whole_batch_norm(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which batch norm sees the whole batch."""
        if self._ranks.world == 1 or self._device.type == "cuda":
            return contextlib.nullcontext()
        return SynchronisedBatchNorm()


def _optimizer(parts: TrainableParameters, classifier: Classifier, settings: TrainingSettings) -> torch.optim.Optimizer:
    groups = [
        *parts.parameter_groups(),
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
