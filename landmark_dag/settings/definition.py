"""What defines a setting: the type, description, unit and range in the annotation of its dataclass field.

Checks, the Launchpad, the command line and the list of all settings are derived from it. Importing this module loads
nothing heavy.
"""

import dataclasses
import functools
import json
import math
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from landmark_dag.errors import InputError

AnySettings = TypeVar("AnySettings", bound="Settings")


class Only(Enum):
    """Marks a field, in its `Annotated`, that no version depends on."""

    SPEED = "changes speed and memory, never results"


class Names(Enum):
    """Marks a text, or a list of texts, in its `Annotated`."""

    PATH = "the path of a file or folder; `hub` and URLs are none"


@dataclass(frozen=True)
class Unit:
    """The unit of a field, in its `Annotated`."""

    name: str


@dataclass(frozen=True)
class Range:
    """The values that a number, or each number of a list, may have; in the `Annotated` of its field."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        """Whether `value` is in the range; NaN never is."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        """Return the range in words that follow `a number`."""
        if self.at_least is not None and self.at_most is not None:
            return f"from {self.at_least} to {self.at_most}"
        if self == Range(at_least=self.at_least):
            return f"of {self.at_least} or more"
        bounds = {"of at least": self.at_least, "above": self.above, "at most": self.at_most, "below": self.below}
        return " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)


AT_LEAST_0, AT_LEAST_1, ABOVE_0 = Range(at_least=0), Range(at_least=1), Range(above=0)
SHARE, SHARE_BELOW_1 = Range(at_least=0, at_most=1), Range(at_least=0, below=1)
SEED = Range(at_least=0, at_most=2**63 - 1)

_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


@dataclass(frozen=True)
class Definition:
    """One setting.

    `kind` is int, float, bool, str, a Literal of texts, tuple[one of these, ...], dict[str, str] or a class of
    settings. A text or list may be empty only if its default is.
    """

    name: str
    kind: Any
    default: Any
    description: str = ""
    unit: str = ""
    range: Range | None = None
    only_speed: bool = False
    is_path: bool = False

    @property
    def element(self) -> Any:
        """The type of a list's entries; None for what is no list."""
        return typing.get_args(self.kind)[0] if typing.get_origin(self.kind) is tuple else None

    @property
    def choices(self) -> tuple[str, ...]:
        """The texts that a Literal allows."""
        return _choices(self.kind)

    @property
    def allowed(self) -> str:
        """The values that the setting may have, in words that follow `it must be`."""
        one = self._name_of(self.element or self.kind)
        if self.element:
            return f"a list{' of at least one entry' if self.default else ''}, each {one}"
        return f"{one} that is not empty" if self.kind is str and self.default else one

    @property
    def help(self) -> str:
        """The description with unit, range and choices."""
        unit, limited = f", {self.unit}" if self.unit else "", self.range or self.choices
        return f"{self.description}{unit}{f'; {self.allowed}' if limited else ''}"

    def checked(self, value: Any, key: str) -> Any:
        """Return `value` as it is kept: a whole number given for a number as float, a list as tuple.

        Raises InputError, which names `key` and what is allowed, for a value of another type or out of range.
        """
        try:
            if self.element is None:
                found = self._accepted(self.kind, value)
            elif isinstance(value, list | tuple):
                found = tuple(self._accepted(self.element, entry) for entry in value)
            else:
                raise TypeError
            if self.default and isinstance(found, str | tuple) and not found:
                raise TypeError
        except (OverflowError, TypeError):
            raise InputError(f"{key} is {shown(value)}; it must be {self.allowed}.") from None
        return found

    def parsed(self, text: str) -> Any:
        """Return the value that `text` of a command line means; the text itself where it means none.

        A list is written `a,b` or `[a, b]`, a table as in TOML: `{a = "b"}`. Relative paths become absolute.
        """
        if self.element is None:
            return self._parsed(self.kind, text)
        entries = (entry.strip().strip("\"'") for entry in text.strip().strip("[]").split(","))
        return tuple(self._parsed(self.element, entry) for entry in entries if entry)

    def _parsed(self, kind: Any, text: str) -> Any:
        try:
            if kind in (int, float):
                return kind(text)
            if typing.get_origin(kind) is dict:
                return tomllib.loads(f"table = {text}")["table"]
        except ValueError:  # as tomllib's error is
            return text
        if kind is bool:
            return {"true": True, "false": False}.get(text, text)
        is_file = self.is_path and text not in ("", "hub") and "://" not in text
        return str(Path(text).absolute()) if is_file else text

    def _accepted(self, kind: Any, value: Any) -> Any:
        """Return `value` as one of `kind`; raises TypeError or OverflowError if it is none."""
        if kind in (int, float):
            fits = isinstance(value, int | kind) and not isinstance(value, bool)
            value = kind(value) if fits else value
            fits = fits and math.isfinite(value) and (self.range is None or value in self.range)
        elif choices := _choices(kind):
            fits = value in choices
        elif typing.get_origin(kind) is dict:
            fits = isinstance(value, Mapping) and all(isinstance(part, str) for pair in value.items() for part in pair)
        else:
            fits = isinstance(value, kind)
        if not fits:
            raise TypeError
        return value

    def _name_of(self, kind: Any) -> str:
        if choices := _choices(kind):
            return " or ".join([", ".join(choices[:-1]), choices[-1]] if choices[1:] else choices)
        name = _NAMES.get(kind, "a table of texts by name" if typing.get_origin(kind) is dict else "a table")
        return f"{name} {self.range}" if self.range else name


@dataclass(frozen=True)
class Settings:
    """Base of a dataclass of settings, whose fields are checked when it is made; `section` names it in messages.

    A subclass is frozen, and every field is annotated `Annotated[type, description, ...]` with Range, Unit and
    `Only.SPEED` where they apply. A rule between fields is checked in `__post_init__`, after that of this class.
    Making one raises InputError for the first value that its definition does not allow.
    """

    section: ClassVar[str] = ""

    def __init_subclass__(cls, section: str = "", **others: Any) -> None:
        """Keep the section's name; a subclass without one has its base's."""
        super().__init_subclass__(**others)
        cls.section = section or cls.section

    def __post_init__(self) -> None:
        """Check every field."""
        for name, definition in definitions(type(self)).items():
            key = f"{self.section}.{name}" if self.section else name
            object.__setattr__(self, name, definition.checked(getattr(self, name), key))


def definitions(kind: type[Settings]) -> Mapping[str, Definition]:
    """Return the definitions of a settings class by field, in the order of its fields."""
    return _definitions(typing.cast(Any, kind))  # mypy does not take the class for hashable


@functools.cache
def _definitions(kind: type[Settings]) -> Mapping[str, Definition]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: _definition(field, hints[field.name]) for field in dataclasses.fields(kind)}


def hashed_fields(settings: Settings) -> dict[str, Any]:
    """Return the fields of `settings` that its results depend on, by name: all but those marked `Only.SPEED`."""
    only_speed = {name for name, definition in definitions(type(settings)).items() if definition.only_speed}
    return {name: value for name, value in dataclasses.asdict(settings).items() if name not in only_speed}


def shown(value: Any) -> str:
    """Return a value as TOML writes it, for messages and tables."""
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{shown(name)} = {shown(entry)}' for name, entry in value.items())}}}"
    return str(value)


def _definition(field: Any, hint: Any) -> Definition:
    kind, *marks = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return Definition(
        field.name,
        kind,
        default,
        description=next((mark for mark in marks if isinstance(mark, str)), ""),
        unit=next((mark.name for mark in marks if isinstance(mark, Unit)), ""),
        range=next((mark for mark in marks if isinstance(mark, Range)), None),
        only_speed=Only.SPEED in marks,
        is_path=Names.PATH in marks,
    )


def _choices(kind: Any) -> tuple[str, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
