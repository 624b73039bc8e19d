"""The home folder, whose settings a run, the UI, a search and the checks share."""

import contextlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from landmark_dag.errors import InputError
from landmark_dag.settings.keys import PLACES, definition_of, value_of, with_values
from landmark_dag.settings.profiles import DEFAULT_PROFILE, Profile, profile_named
from landmark_dag.settings.settings_file import edited, values_of, values_of_json
from landmark_dag.storage.atomic import replacing
from landmark_dag.storage.hashing import fingerprint
from landmark_dag.storage.shared_location import SharedLocation

FILE, _FORMER = "settings.toml", "settings.json"


@dataclass(frozen=True)
class HomeSettings:
    """What the settings file of a home holds: what it is made from, and `values` by key that differ from the profile.

    An empty `profile` is DEFAULT_PROFILE, an empty `store` HOME/store.
    """

    photos: str = ""
    profile: str = ""
    store: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every value; raises InputError for an unknown key and for a value that is not allowed."""
        checked = {key: definition_of(key).checked(value, key) for key, value in self.values.items()}
        object.__setattr__(self, "values", checked)

    @property
    def dataset(self) -> dict[str, Any]:
        """The values of the section `dataset`, by key in it, as JSON can write them."""
        return {
            key.removeprefix("dataset."): list(value) if isinstance(value, tuple) else value
            for key, value in self.values.items()
            if key.startswith("dataset.")
        }

    def resolved_profile(self) -> Profile:
        """Return the profile with this home's values in place of its own: the settings in effect.

        Raises InputError for an unknown profile, and for values that do not go together.
        """
        return with_values(profile_named(self.profile or DEFAULT_PROFILE), self.values)


@dataclass(frozen=True)
class SettingsChange:
    """A change of a home's settings, checked and not yet written: the `settings` after it, and the files with them."""

    settings: HomeSettings
    files: Mapping[Path, str]
    location: SharedLocation | None

    def write(self) -> None:
        """Write the files, and share those of a shared location."""
        for path, text in self.files.items():
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        if self.location:
            self.location.sync([FILE])


def home_folder() -> Path:
    """Return the absolute home folder: the environment variable LANDMARK_HOME, else ./home/demo."""
    return Path(os.environ.get("LANDMARK_HOME") or Path("home") / "demo").absolute()


def is_home(home: Path) -> bool:
    """Whether `home` has settings, in the folder or at its shared location."""
    return any((home / name).is_file() for name in (FILE, _FORMER)) or shared_location(home) is not None


def settings_path(home: Path) -> str:
    """Return where the settings of `home` lie: the path of the file, or its URL at the shared location."""
    location = shared_location(home)
    return f"{location.url}/{FILE}" if location else str(home / FILE)


def store_folder(home: Path) -> Path:
    """Return the folder in which this machine reads and writes the home's results.

    It is HOME/store, or the folder that LANDMARK_STORE or else the settings of the home name; if they name a URL,
    it is the folder of the copies of what is shared there.
    """
    place = _store_place(_read(home))
    location = _shared_location(home, place)
    return location.copies if location else Path(place or home / "store")


def shared_location(home: Path) -> SharedLocation | None:
    """Return the URL that the home's results are shared at, with this machine's copies; None if there is none."""
    return _shared_location(home, _store_place(_read(home)))


def read_home_settings(home: Path) -> HomeSettings:
    """Return the settings of `home`, or the defaults when it has none yet; those at its shared location, if it has one.

    Raises InputError, naming file and setting, when the file is damaged or a value in it is not allowed, and when
    there are none at the shared location.
    """
    settings = _read(home)
    location = _shared_location(home, _store_place(settings))
    if location is None:
        return settings
    if settings.store == location.url and settings != HomeSettings(store=location.url):
        raise InputError(
            f"{home / FILE}: the settings of this home are at {location.url}; take all but `store` out of this file, "
            "and set them there with `landmark-dag settings set`."
        )
    if not (shared := _shared_text(location)):
        location.check()
        raise InputError(
            f"{location.url} holds no home's settings; put them there with `landmark-dag run --store {location.url}`, "
            "or correct the URL."
        )
    return replace(_parsed(shared, f"{location.url}/{FILE}"), store=location.url)


def active_profile() -> Profile:
    """Return the settings in effect of the home folder that this process works on."""
    return read_home_settings(home_folder()).resolved_profile()


def write_home_settings(home: Path, settings: HomeSettings) -> None:
    """Add `settings` to those of `home`; see `merged_settings`."""
    merged_settings(home, settings).write()


def merged_settings(home: Path, settings: HomeSettings) -> SettingsChange:
    """Return the change that adds `settings` to those of `home`; what they leave empty stays as it is.

    LANDMARK_STORE is the default of `store`. Raises InputError if `home` or its shared location holds the
    results of other photos, if `home` keeps its results elsewhere, and for a value that is not allowed.
    """
    stored = _read(home)
    store = settings.store or os.environ.get("LANDMARK_STORE") or stored.store
    if (stored.photos or stored.store) and store != stored.store:
        advice = f"add --store {stored.store}" if stored.store else "leave --store out"
        raise InputError(
            f"{home} keeps its results in {stored.store or home / 'store'}; {advice}, or choose another --home."
        )
    location = _shared_location(home, store)
    shared = _parsed(_shared_text(location), f"{location.url}/{FILE}") if location else stored
    for held, place, other in ((stored, home, "--home"), (shared, store, "--store")):
        if held.photos and settings.photos and held.photos != settings.photos:
            raise InputError(
                f"{place} holds the results of {held.photos}; choose another {other} for {settings.photos}."
            )
    places = {"photos": settings.photos, "profile": settings.profile, "store": store}
    return changed_settings(home, {key: value for key, value in places.items() if value} | dict(settings.values))


def changed_settings(home: Path, values: Mapping[str, Any], unset: Collection[str] = ()) -> SettingsChange:
    """Return the change of the settings of `home` that sets `values` by key, and takes out the keys of `unset`.

    A value equal to the profile's is taken out too. Settings at a shared location are changed there; the home's own
    file then names the location alone. Raises InputError for a setting that there is not, a value that is not
    allowed, and where both `home` and a shared location that it is given have settings.
    """
    values = {key: definition_of(key).checked(value, key) for key, value in values.items()}
    for key in unset:
        definition_of(key)
    path, own, stored = home / FILE, _text(home), _read(home)
    store = "" if "store" in unset else str(values.get("store") or _store_place(stored))
    location = _shared_location(home, store)
    if location is None:
        text = _changed(own, values, unset)
        return SettingsChange(_parsed(text, str(path)), {path: text}, None)
    shared = _shared_text(location)
    if shared and values_of(own).keys() - {"store"}:
        raise InputError(f"{home} and {location.url} both have settings; delete {path} to take those there.")
    values.pop("store", None)
    text = _changed(shared or edited(own, {}, ["store"]), values, unset)
    settings = replace(_parsed(text, f"{location.url}/{FILE}"), store=location.url)
    own = own if stored == HomeSettings(store=store) else edited("", {"store": store})
    return SettingsChange(settings, {location.copies / FILE: text, path: own}, location)


def _store_place(settings: HomeSettings) -> str:
    return os.environ.get("LANDMARK_STORE") or settings.store


def _shared_location(home: Path, place: str) -> SharedLocation | None:
    if "://" not in place:
        return None
    return SharedLocation(place, home / "shared" / fingerprint(place.encode())[:16])


def _read(home: Path) -> HomeSettings:
    """Return what the home's own file says."""
    return _parsed(_text(home), str(home / FILE))


def _text(folder: Path, shared: bool = False) -> str:
    """Return the text of the settings file in `folder`, made of one of a former release if that alone is there.

    `shared` tells that the folder has the copies of a shared location, which holds all settings but the store. A home
    with a shared location had a copy of them all, and keeps the store.
    """
    path, former = folder / FILE, folder / _FORMER
    if path.exists() or not former.exists():
        return _content(path) if path.exists() else ""
    try:
        values = values_of_json(_content(former))
        if shared:
            values.pop("store", None)
        elif "://" in values.get("store", ""):
            values = {"store": values["store"]}
        text = _changed("", values, ())
    except InputError as error:
        raise InputError(f"{former}: {error}") from error
    with contextlib.suppress(OSError):  # of a home that cannot be written to it is made each time
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        former.rename(former.with_name(f"{_FORMER}.migrated"))
    return text


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8; correct or delete it.") from error


def _shared_text(location: SharedLocation) -> str:
    """Return the text of the settings file at a shared location, empty if there is none."""
    location.sync([FILE])
    if not (location.copies / FILE).exists():
        location.sync([_FORMER])
        _text(location.copies, shared=True)
        location.sync([FILE])
    return _text(location.copies, shared=True)


def _parsed(text: str, named: str) -> HomeSettings:
    """Return the settings in the text of a file, checked; errors name the file as `named`."""
    try:
        values = values_of(text)
        places = {name: definition.checked(values.pop(name, ""), name) for name, definition in PLACES.items()}
        settings = HomeSettings(**places, values=values)
        settings.resolved_profile()
    except InputError as error:
        raise InputError(f"{named}: {error}") from error
    return settings


def _changed(text: str, values: Mapping[str, Any], unset: Collection[str]) -> str:
    """Return the text of a settings file after setting `values`, without `unset` and without what the profile says."""
    after = values_of(edited(text, values, unset))
    profile = profile_named(after.get("profile") or DEFAULT_PROFILE)
    same = [
        key
        for key, value in values.items()
        if definition_of(key).checked(value, key) == (PLACES[key].default if key in PLACES else value_of(profile, key))
    ]
    return edited(text, values, {*unset, *same})
