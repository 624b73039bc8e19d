"""The list of all settings of a home: value, definition, and where the value comes from."""

import os
import typing
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from landmark_dag.settings.definition import Definition
from landmark_dag.settings.home import FILE, HomeSettings, read_home_settings
from landmark_dag.settings.keys import PLACES, all_definitions, value_of
from landmark_dag.settings.profiles import DEFAULT_PROFILE, Profile, profile_named

_VARIABLES = {"photos": "LANDMARK_PHOTOS", "store": "LANDMARK_STORE"}
_TYPES = {int: "integer", float: "number", bool: "boolean", str: "text"}


@dataclass(frozen=True)
class ListedSetting:
    """A setting of a home.

    `source` is `default`, `profile NAME`, `settings.toml` or the environment variable that `value` comes from.
    """

    key: str
    definition: Definition
    default: Any
    value: Any
    source: str

    def as_json(self) -> dict[str, Any]:
        """Return the setting as JSON can write it."""
        definition = self.definition
        bounds = asdict(definition.range) if definition.range else {}
        return {
            "key": self.key,
            "type": _type_name(definition.kind),
            "default": self.default,
            "value": self.value,
            "unit": definition.unit or None,
            "range": {name: bound for name, bound in bounds.items() if bound is not None} or None,
            "choices": list(definition.choices) or None,
            "allowed": definition.allowed,
            "meaning": definition.description,
            "source": self.source,
        }


def settings_of(home: Path) -> list[ListedSetting]:
    """Return every setting of `home`, in the order of the sections; raises what `read_home_settings` does."""
    settings = read_home_settings(home)
    return [*_places(settings), *_of_profile(settings)]


def _places(settings: HomeSettings) -> Iterator[ListedSetting]:
    defaults = {"photos": "", "profile": DEFAULT_PROFILE, "store": ""}
    for key, definition in PLACES.items():
        stored, variable = getattr(settings, key), _VARIABLES.get(key, "")
        given = os.environ.get(variable) if variable else None
        source = variable if given else FILE if stored else "default"
        yield ListedSetting(key, definition, defaults[key], given or stored or defaults[key], source)


def _of_profile(settings: HomeSettings) -> Iterator[ListedSetting]:
    defaults, effective = Profile(), settings.resolved_profile()
    name = settings.profile or DEFAULT_PROFILE
    of_profile = profile_named(name)
    for key, definition in all_definitions().items():
        if key not in PLACES:
            default = value_of(defaults, key)
            otherwise = f"profile {name}" if value_of(of_profile, key) != default else "default"
            source = FILE if key in settings.values else otherwise
            yield ListedSetting(key, definition, default, value_of(effective, key), source)


def _type_name(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"list of {_type_name(typing.get_args(kind)[0])}"
    return _TYPES.get(kind, "table" if typing.get_origin(kind) is dict else "choice")
