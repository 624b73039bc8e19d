"""The plan of a rendered set: what every photo shows, decided before any photo is rendered."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from landmark_dag.demo.buildings import KINDS
from landmark_dag.settings.demo import RenderingSettings

View = Literal["day", "night", "interior", "landscape"]

_FIRST_NAMES = ("amber", "azure", "cedar", "coral", "ivory", "juniper", "laurel", "marble")
MOST_LANDMARKS = len(_FIRST_NAMES) * len(KINDS)
"""Number of landmarks with different names."""

_LANDSCAPES = 0.3
"""Share of the distractors that show no building at all."""

_OTHER_LANDMARKS = 0.5
"""Share of the wrong labels whose photo shows another labelled landmark."""


@dataclass(frozen=True)
class PlannedPhoto:
    """One photo: what it shows, and the landmark in whose train folder it is.

    The first places, as many as there are landmarks, are labelled; later places are distractors, and None is a
    landscape. `folder` is None in index and query, and differs from `place` where the label is wrong.
    """

    image_id: str
    split: str
    view: View
    place: int | None
    folder: int | None = None


def plan_photos(settings: RenderingSettings) -> list[PlannedPhoto]:
    """Return every photo of the set, in the order train, index, query."""
    return [*_plan_train(settings), *_plan_searched(settings, "index"), *_plan_searched(settings, "query")]


def generator(settings: RenderingSettings, *purpose: str | int) -> np.random.Generator:
    """Return the random generator for one purpose; each photo has its own, and does not depend on other photos."""
    digest = hashlib.blake2b(repr((settings.seed, *purpose)).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def landmark_name(place: int) -> str:
    """Return the folder name of a labelled landmark, such as `amber_cathedral`, different for each place."""
    kinds = list(KINDS)
    return f"{_FIRST_NAMES[(place // len(kinds) + place) % len(_FIRST_NAMES)]}_{kinds[place % len(kinds)]}"


def _plan_train(settings: RenderingSettings) -> list[PlannedPhoto]:
    rng = generator(settings, "train")
    shown = _labelled(rng, settings, settings.train_photos)
    wrong = rng.permutation(len(shown))[: round(len(shown) * settings.wrong_label_share)]
    replaced = dict.fromkeys(wrong.tolist())
    planned = []
    for number, (place, view) in enumerate(shown):
        seen = _something_else(rng, settings, place) if number in replaced else (place, view)
        planned.append(PlannedPhoto(_image_id(settings, "train", number), "train", seen[1], seen[0], place))
    return planned


def _plan_searched(settings: RenderingSettings, split: str) -> list[PlannedPhoto]:
    rng = generator(settings, split)
    photos, share = {
        "index": (settings.index_photos, settings.distractor_share),
        "query": (settings.query_photos, settings.ignored_query_share),
    }[split]
    distractors = min(round(photos * share), photos - settings.landmarks)
    shown: Iterable[tuple[int | None, View]] = [
        *_labelled(rng, settings, photos - distractors),
        *(_distractor(rng, settings) for _ in range(distractors)),
    ]
    return [
        PlannedPhoto(_image_id(settings, split, number), split, view, place)
        for number, (place, view) in enumerate(shown)
    ]


def _image_id(settings: RenderingSettings, split: str, number: int) -> str:
    return hashlib.blake2b(f"{settings.seed} {split} {number}".encode(), digest_size=8).hexdigest()


def _labelled(rng: np.random.Generator, settings: RenderingSettings, photos: int) -> list[tuple[int, View]]:
    """Return what `photos` photos show; some landmarks get up to three times as many as others."""
    popularity = rng.uniform(0.6, 1.8, settings.landmarks)
    ends = np.round(np.cumsum(popularity) / popularity.sum() * (photos - settings.landmarks)).astype(int)
    counts = np.diff(ends, prepend=0) + 1
    shown: list[tuple[int, View]] = []
    for place, count in enumerate(counts.tolist()):
        interiors = round(count * settings.interior_share)
        nights = round((count - interiors) * settings.night_share)
        views: dict[View, int] = {"interior": interiors, "night": nights, "day": count - interiors - nights}
        shown += [(place, view) for view, times in views.items() for _ in range(times)]
    return shown


def _distractor(rng: np.random.Generator, settings: RenderingSettings) -> tuple[int | None, View]:
    """Return what a distractor shows: a landscape, or a place that is not labelled."""
    if rng.random() < _LANDSCAPES:
        return None, "landscape"
    unlabelled = max(2, settings.landmarks // 2)
    return settings.landmarks + int(rng.integers(unlabelled)), _view(rng, settings)


def _something_else(rng: np.random.Generator, settings: RenderingSettings, place: int) -> tuple[int | None, View]:
    """Return what a wrongly labelled photo shows: another landmark, or a distractor."""
    if settings.landmarks > 1 and rng.random() < _OTHER_LANDMARKS:
        other = (place + 1 + int(rng.integers(settings.landmarks - 1))) % settings.landmarks
        return other, _view(rng, settings)
    return _distractor(rng, settings)


def _view(rng: np.random.Generator, settings: RenderingSettings) -> View:
    if rng.random() < settings.interior_share:
        return "interior"
    return "night" if rng.random() < settings.night_share else "day"
