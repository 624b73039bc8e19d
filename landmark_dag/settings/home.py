"""The home folder whose settings a run, the UI and a search share."""

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from landmark_dag.errors import InputError
from landmark_dag.settings.checks import DataCheckSettings
from landmark_dag.settings.profiles import Profile, profile_named
from landmark_dag.settings.reindex import ReindexSettings
from landmark_dag.storage.atomic import replacing
from landmark_dag.storage.hashing import fingerprint
from landmark_dag.storage.shared_location import SharedLocation

_SETTINGS = "settings.json"


@dataclass(frozen=True)
class HomeSettings:
    """What a home folder holds the results of, and how it is kept; stored in it as settings.json."""

    photos: str = ""
    profile: str = "photos"
    backbone: str = ""
    weights: str = ""
    local_features: Literal["", "rootsift", "deep"] = ""
    dataset: Mapping[str, Any] = field(default_factory=dict)
    store: str = ""
    reindex: ReindexSettings = field(default_factory=ReindexSettings)
    soundness: DataCheckSettings = field(default_factory=DataCheckSettings)

    def resolved_profile(self) -> Profile:
        """Return the profile, with the backbone, weights and local features of this home in place of its own."""
        profile = profile_named(self.profile)
        given = {name: value for name in ("backbone", "weights") if (value := getattr(self, name))}
        kind = self.local_features or profile.local_features.kind
        return replace(
            profile,
            network=replace(profile.network, **given),
            local_features=replace(profile.local_features, kind=kind),
        )


def home_folder() -> Path:
    """Return the absolute home folder: the environment variable LANDMARK_HOME, else ./home/demo."""
    return Path(os.environ.get("LANDMARK_HOME") or Path("home") / "demo").absolute()


def store_folder(home: Path) -> Path:
    """Return the folder in which this machine reads and writes the home's results.

    It is HOME/store, or the folder that LANDMARK_STORE or else the settings of the home name; if they name a URL,
    it is the folder of the copies of what is shared there.
    """
    place = _store_place(_read_settings(home / _SETTINGS))
    location = _shared_location(home, place)
    return location.copies if location else Path(place or home / "store")


def shared_location(home: Path) -> SharedLocation | None:
    """Return the URL that the home's results are shared at, with this machine's copies; None if there is none."""
    return _shared_location(home, _store_place(_read_settings(home / _SETTINGS)))


def read_home_settings(home: Path) -> HomeSettings:
    """Return the settings of `home`, or the defaults when it has none yet; those at its shared location, if it has one.

    Raises InputError when the file cannot be read as settings, and when nobody has put any at the shared location.
    """
    settings = _read_settings(home / _SETTINGS)
    location = _shared_location(home, _store_place(settings))
    if location is None:
        return settings
    _bring_settings(location)
    return replace(_read_settings(location.copies / _SETTINGS), store=location.url)


@functools.cache
def _bring_settings(location: SharedLocation) -> None:
    """Bring the shared settings once a process: they are asked for at every turn, and must not change under it."""
    location.sync([_SETTINGS])
    if not (location.copies / _SETTINGS).exists():
        location.check()
        raise InputError(
            f"{location.url} holds no home's settings; put them there with `landmark-dag run --store {location.url}`, "
            "or see that the URL is right."
        )


def _store_place(settings: HomeSettings) -> str:
    return os.environ.get("LANDMARK_STORE") or settings.store


def _shared_location(home: Path, place: str) -> SharedLocation | None:
    if "://" not in place:
        return None
    return SharedLocation(place, home / "shared" / fingerprint(place.encode())[:16])


def _read_settings(path: Path) -> HomeSettings:
    if not path.exists():
        return HomeSettings()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        reindex = ReindexSettings(**content.pop("reindex", {}))
        soundness = DataCheckSettings(**content.pop("soundness", {}))
        return HomeSettings(**content, reindex=reindex, soundness=soundness)
    except (AttributeError, InputError, TypeError, ValueError) as error:
        raise InputError(f"{path} does not hold the settings of a home ({error}); restore or delete it.") from error


def active_profile() -> Profile:
    """Return the profile of the home folder that this process works on."""
    return read_home_settings(home_folder()).resolved_profile()


def write_home_settings(home: Path, settings: HomeSettings) -> None:
    """Store what `settings` says of photos and network in `home` and at its shared location, if it has one.

    What people wrote into the file themselves stays: how the home is kept (`reindex`, `soundness`) and every setting of
    a dataset but its shards. Raises InputError if either place already holds results of other photos, or `home` keeps
    its results elsewhere.
    """
    settings = replace(settings, store=settings.store or os.environ.get("LANDMARK_STORE", ""))
    stored = _read_settings(home / _SETTINGS)
    if stored.photos and stored.store != settings.store:
        raise InputError(
            f"{home} keeps its results in {stored.store or home / 'store'}; "
            f"{f'add --store {stored.store}' if stored.store else 'leave --store out'}, or choose another --home."
        )
    location = _shared_location(home, settings.store)
    if location:
        location.sync([_SETTINGS])
    places = [home, location.copies] if location else [home]
    for place in places:
        photos = _read_settings(place / _SETTINGS).photos
        if photos and photos != settings.photos:
            other = "another --home" if place == home else "another --store"
            held = home if place == home else settings.store
            raise InputError(f"{held} holds the results of {photos}; choose {other} for {settings.photos}.")
    written = _read_settings(places[-1] / _SETTINGS)
    dataset = {name: value for name, value in written.dataset.items() if name != "shards"} | dict(settings.dataset)
    settings = replace(settings, dataset=dataset, reindex=written.reindex, soundness=written.soundness)
    for place in places:
        with replacing(place / _SETTINGS) as path:
            path.write_text(json.dumps(asdict(settings), indent=2) + "\n", encoding="utf-8")
    if location:
        location.sync([_SETTINGS])
