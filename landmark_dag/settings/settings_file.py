"""The text of a home's settings file: TOML with what differs from the profile. Edits keep comments and order."""

import json
import tomllib
from collections.abc import Collection, Mapping
from typing import Any

from landmark_dag.errors import InputError
from landmark_dag.settings.keys import flattened

HEADER = "# What differs from the profile. `landmark-dag settings` lists every setting.\n"
"""First line of a new file."""


def values_of(text: str) -> dict[str, Any]:
    """Return the values in the text of a settings file by key, unchecked; raises InputError for what is no TOML."""
    try:
        return flattened(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"this is no TOML: {error}.") from error


def edited(text: str, values: Mapping[str, Any], unset: Collection[str] = ()) -> str:
    """Return the text of a settings file with `values` by key, and without the keys of `unset`."""
    import tomlkit

    document = tomlkit.parse(text or HEADER)
    for key, value in values.items():
        *sections, name = key.split(".")
        table: Any = document
        for section in sections:
            table = table.setdefault(section, tomlkit.table())
        table[name] = list(value) if isinstance(value, tuple) else value
    for key in unset:
        _remove(document, key.split("."))
    return tomlkit.dumps(document)


def _remove(table: Any, path: list[str]) -> None:
    """Remove the value at `path`, and the tables on the way that are left with neither values nor comments."""
    name, *rest = path
    if name not in table:
        return
    if rest:
        _remove(table[name], rest)
    if not rest or not table[name].as_string().strip():
        del table[name]


def values_of_json(text: str) -> dict[str, Any]:
    """Return the values of a settings file of former releases, settings.json, by key; raises InputError for no such."""
    try:
        content = {name: value for name, value in json.loads(text).items() if value not in ("", {})}
    except (AttributeError, ValueError) as error:
        raise InputError(f"it is no file of settings: {error}.") from error
    places = {"backbone": "network.backbone", "weights": "network.weights", "local_features": "local_features.kind"}
    moved = {new: content.pop(old) for old, new in places.items() if old in content}
    if "soundness" in content:
        content["checks"] = content.pop("soundness")
    return flattened(content) | moved
