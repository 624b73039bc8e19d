"""Every setting of a home by its key, such as `training.epochs`: what defines it, and profiles with other values."""

import dataclasses
import difflib
import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from landmark_dag.errors import InputError
from landmark_dag.settings.definition import AnySettings, Definition, Settings, definitions
from landmark_dag.settings.profiles import Profile

PLACES: Mapping[str, Definition] = {
    definition.name: definition
    for definition in (
        Definition(
            "photos", str, "", "folder with train/, index/ and query/, or the root URL of a dataset", is_path=True
        ),
        Definition("profile", str, "", "group of settings whose values hold where the home has none of its own"),
        Definition("store", str, "", "folder or URL (s3://…) that keeps the results; empty: HOME/store", is_path=True),
    )
}
"""The settings that are not of a profile."""


@functools.cache
def all_definitions() -> Mapping[str, Definition]:
    """Return the definition of every setting by its key: first PLACES, then those of a profile, section by section."""
    return {**PLACES, **dict(_walk(Profile, ""))}


def definition_of(key: str) -> Definition:
    """Return what defines the setting `key`; raises InputError, with the nearest keys, if there is no such setting."""
    known = all_definitions()
    if key in known:
        return known[key]
    inside = [other for other in known if other.startswith(f"{key}.")]
    same_name = [other for other in known if other.rpartition(".")[2] == key.rpartition(".")[2]]
    near = [f"{key}.NAME, such as {inside[0]}"] if inside else same_name or difflib.get_close_matches(key, known, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else "`landmark-dag settings` lists all."
    raise InputError(f"There is no setting {key}; {hint}")


def assigned(assignments: Iterable[str]) -> dict[str, Any]:
    """Return the values of a command line's assignments KEY=VALUE by key, the last of each.

    Raises InputError for one without `=`, for a key that there is not, and for a value that is not allowed.
    """
    values = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"{assignment!r} is no setting; write KEY=VALUE, such as training.epochs=20.")
        definition = definition_of(key)
        values[key] = definition.checked(definition.parsed(text), key)
    return values


def value_of(profile: Profile, key: str) -> Any:
    """Return the value of a setting of `profile`."""
    return functools.reduce(getattr, key.split("."), profile)


def with_values(settings: AnySettings, values: Mapping[str, Any]) -> AnySettings:
    """Return `settings` with `values`, by key relative to it, in place of its own.

    Raises InputError for a key that it has not, and for values that its classes do not allow.
    """
    changes: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, value in values.items():
        name, _, rest = key.partition(".")
        if rest:
            inner[name][rest] = value
        else:
            changes[name] = value
    known = definitions(type(settings))
    if unknown := [name for name in (*changes, *inner) if name not in known]:
        raise InputError(f"There is no setting {unknown[0]}; choose one of {', '.join(known)}.")
    changes |= {name: with_values(getattr(settings, name), part) for name, part in inner.items()}
    return dataclasses.replace(settings, **changes)


def flattened(values: Mapping[str, Any], kind: type[Settings] | None = Profile, prefix: str = "") -> dict[str, Any]:
    """Return the values of nested tables of `kind` (None: of an unknown section) by key, without checking them."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        definition = definitions(kind).get(name) if kind else None
        section = definition.kind if definition and _is_section(definition) else None
        if isinstance(value, Mapping) and (definition is None or section):
            flat |= flattened(value, section, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _is_section(definition: Definition) -> bool:
    return isinstance(definition.default, Settings)


def _walk(kind: type[Settings], prefix: str) -> Iterator[tuple[str, Definition]]:
    """Yield key and definition of every setting; a section inside another that the profile has too is the profile's."""
    sections = {name for name, definition in definitions(Profile).items() if _is_section(definition)}
    for name, definition in definitions(kind).items():
        if not _is_section(definition):
            if prefix or name != "name":
                yield prefix + name, definition
        elif not (prefix and name in sections):
            yield from _walk(definition.kind, f"{prefix}{name}.")
