"""Profiles (demo, photos, gldv2), and the home folder whose settings a run, the UI and a search share."""

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from landmark_dag.cleaning.settings import (
    SMALL_FOLDER_RULE,
    CandidateSettings,
    KeepRule,
    LocalFeatureSettings,
    VerificationSettings,
)
from landmark_dag.errors import InputError
from landmark_dag.files import fingerprint, replacing
from landmark_dag.retrieval.settings import (
    EmbeddingSettings,
    InsertSettings,
    NeighbourSettings,
    RecognitionSettings,
    VoteSettings,
)
from landmark_dag.shared_location import SharedLocation
from landmark_dag.soundness_settings import SoundnessSettings
from landmark_dag.training.settings import NetworkSettings, TrainingSettings

_SETTINGS = "settings.json"


@dataclass(frozen=True)
class Profile:
    """Every setting of the pipeline, chosen together for one kind of photo set."""

    name: str
    photos_per_shard: int = 10_000
    local_features: LocalFeatureSettings = field(default_factory=LocalFeatureSettings)
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    verification: VerificationSettings = field(default_factory=VerificationSettings)
    keep_rule: KeepRule = field(default_factory=KeepRule)
    bootstrap_embedding: EmbeddingSettings = field(default_factory=lambda: EmbeddingSettings(scales=(1.0,)))
    network: NetworkSettings = field(default_factory=NetworkSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    neighbours: NeighbourSettings = field(default_factory=NeighbourSettings)
    votes: VoteSettings = field(default_factory=VoteSettings)
    insert: InsertSettings = field(default_factory=InsertSettings)
    recognition: RecognitionSettings = field(default_factory=RecognitionSettings)


PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            name="demo",
            photos_per_shard=300,
            local_features=LocalFeatureSettings(long_side=320),
            bootstrap_embedding=EmbeddingSettings(
                square_size=128, long_side=160, scales=(1.0,), smallest_side=64, batch_size=8
            ),
            network=NetworkSettings(backbone="test_resnet", embedding_dim=128),
            training=TrainingSettings(
                square_size=128,
                long_side=160,
                epochs=30,
                scale=16.0,
                margin=0.2,
                optimizer="adamw",
                learning_rate=3e-3,
                classifier_learning_rate=3e-3,
                weight_decay=0.05,
            ),
            embedding=EmbeddingSettings(square_size=128, long_side=160, smallest_side=64, batch_size=8),
        ),
        Profile(
            name="photos",
            photos_per_shard=500,
            keep_rule=SMALL_FOLDER_RULE,
            bootstrap_embedding=EmbeddingSettings(square_size=288, long_side=320, scales=(1.0,), batch_size=8),
            network=NetworkSettings(
                backbone="mobilenetv2_100",
                weights="hub",
                normalise_pooled=True,
                embedding_dim=256,
                batch_norm=False,
            ),
            training=TrainingSettings(
                trainable="projection",
                projection_start="whitened",
                square_size=288,
                long_side=320,
                epochs=10,
                views=6,
                scale=8.0,
                margin=0.2,
                learning_rate=0.1,
                classifier_learning_rate=0.1,
            ),
            embedding=EmbeddingSettings(square_size=288, long_side=320, batch_size=8),
        ),
        Profile(
            name="gldv2",
            network=NetworkSettings(weights="hub"),
            recognition=RecognitionSettings(distractor_queries=30),
        ),
    )
}


def profile_named(name: str) -> Profile:
    """Return the profile called `name`; raises InputError, listing the names, for any other."""
    if name not in PROFILES:
        raise InputError(f"There is no profile {name!r}; choose one of {', '.join(sorted(PROFILES))}.")
    return PROFILES[name]


@dataclass(frozen=True)
class ReindexSettings:
    """When the index of a home is brought up to date by itself.

    `cron` and `timezone` are those of the schedule; `scheduled` and `on_arrival` tell whether schedule and sensor
    run until people switch them in the UI. Raises InputError for a time zone that this machine does not know.
    """

    cron: str = "0 3 * * *"
    timezone: str = "UTC"
    scheduled: bool = False
    on_arrival: bool = False

    def __post_init__(self) -> None:
        """Refuse an unknown time zone."""
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise InputError(f"There is no time zone {self.timezone!r}; write one such as Europe/Paris.") from None


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
    soundness: SoundnessSettings = field(default_factory=SoundnessSettings)

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
        soundness = SoundnessSettings(**content.pop("soundness", {}))
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
