"""Checkpoints: the whole state of a training in one file, from which an interrupted training continues."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from landmark_dag.errors import InputError
from landmark_dag.storage.atomic import remove_unfinished, replacing
from landmark_dag.storage.formats import CHECKPOINT_FORMAT


@dataclass(frozen=True)
class Checkpoint:
    """The file that holds the state of a training, and what distinguishes that training from others.

    `identity` holds text and numbers by name (settings, photos, class map). A file with another identity is refused.
    """

    path: Path
    identity: Mapping[str, Any]

    def save(self, state: Mapping[str, Any]) -> None:
        """Write `state` (tensors, numbers, text, lists and dicts), whole or not at all.

        Raises InputError when it cannot be written; the previous file is then kept.
        """
        content = {"format": CHECKPOINT_FORMAT, "identity": dict(self.identity), **state}
        try:
            with replacing(self.path) as temporary, temporary.open("wb") as file:
                torch.save(content, file)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError for a failed write
            reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
            kept = "the previous one is kept" if self.path.exists() else "there is no previous one"
            raise InputError(
                f"The checkpoint {self.path} of step {state['step']} cannot be written: {reason}; {kept}. "
                "Make room on the disk and start again."
            ) from error

    def load(self) -> dict[str, Any] | None:
        """Return the state last saved, on the CPU; None where there is none. An unfinished file is deleted.

        Raises InputError, naming the file, when it is damaged, or of another format or training.
        """
        remove_unfinished(self.path)
        if not self.path.exists():
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise self._unreadable("it holds more than tensors, numbers and text") from error
        except Exception as error:  # zip, torch and the disk raise different kinds
            raise self._unreadable(" ".join(str(error).split()) or type(error).__name__) from error
        if not isinstance(content, dict) or content.get("format") != CHECKPOINT_FORMAT:
            raise InputError(
                f"{self.path} is not a checkpoint of format {CHECKPOINT_FORMAT}; delete it to start from the beginning."
            )
        difference = _difference(content["identity"], self.identity)
        if difference:
            raise InputError(
                f"{self.path} is the checkpoint of another training: {difference}; "
                "delete it to start from the beginning."
            )
        return content

    def _unreadable(self, reason: str) -> InputError:
        return InputError(
            f"{self.path} cannot be read as a checkpoint: {reason}; delete it to start from the beginning."
        )


def _difference(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Return what differs for the first name, in the order of `expected`, with another value; '' if all are equal."""
    for name in [*expected, *(name for name in found if name not in expected)]:
        if found.get(name) != expected.get(name):
            return f"its {name} is {found.get(name)!r}, not {expected.get(name)!r}"
    return ""
