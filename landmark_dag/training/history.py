"""The history of a training: one row an epoch, from the results of its batches."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

History = list[dict[str, float]]
"""One row an epoch: `epoch` (from 1), `steps` so far, mean `loss`, `accuracy` (0 to 1), last `learning_rate` of the
network, and `waiting`, the share of the time spent waiting for data (0 to 1)."""

OnEpoch = Callable[[dict[str, float]], None]
"""Called with each row of a history."""


class Curve:
    """Makes the rows of a history; `former` are the rows of earlier stages."""

    def __init__(self, former: History, on_epoch: OnEpoch | None) -> None:
        self.rows: History = list(former)
        self._first_steps = int(former[-1]["steps"]) if former else 0
        self._on_epoch = on_epoch
        self._sums = np.zeros(5)

    def add(self, photos: int, loss: float, accuracy: float) -> None:
        """Add a batch of `photos` photos with this mean loss and accuracy."""
        self._sums[:3] += photos * np.array([1.0, loss, accuracy])

    def add_time(self, waiting: float, seconds: float) -> None:
        """Add `seconds`, `waiting` of them spent waiting for data."""
        self._sums[3:] += waiting, seconds

    def end_epoch(self, steps: int, rate: float) -> None:
        """End a row after `steps` steps of this stage; `rate` is the last learning rate."""
        photos, loss, accuracy, waiting, seconds = self._sums
        row = {
            "epoch": float(len(self.rows) + 1),
            "steps": float(self._first_steps + steps),
            "loss": float(loss / photos),
            "accuracy": float(accuracy / photos),
            "learning_rate": rate,
            "waiting": float(waiting / max(seconds, np.finfo(float).tiny)),
        }
        self.rows.append(row)
        self._sums[:] = 0
        if self._on_epoch:
            self._on_epoch(row)

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs."""
        return {"rows": self.rows, "sums": self._sums.tolist(), "first_steps": self._first_steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state`."""
        self.rows = list(state["rows"])
        self._sums = np.array(state["sums"])
        self._first_steps = state["first_steps"]
