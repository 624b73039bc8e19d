"""Which of a stage's settings determine its results, and which change only speed and memory."""

import dataclasses
import typing
from enum import Enum
from typing import Any


class Only(Enum):
    """Marks a settings field in its `Annotated`, after the description."""

    SPEED = "changes speed and memory, never results"


def hashed_fields(settings: Any) -> dict[str, Any]:
    """Return the fields of a settings dataclass by name, without those marked `Only.SPEED`."""
    hints = typing.get_type_hints(type(settings), include_extras=True)
    marked = {name for name, hint in hints.items() if Only.SPEED in getattr(hint, "__metadata__", ())}
    return {name: value for name, value in dataclasses.asdict(settings).items() if name not in marked}
