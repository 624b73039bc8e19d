"""Trials of other settings: their names, which of them to try, and the landmarks held out to score them."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.settings.definition import Settings, definitions
from landmark_dag.settings.training import NetworkSettings, TrainingSettings, TuningSettings

Choices = Mapping[str, Sequence[Any]]
"""Names of network and training settings, and the values to try of each."""

_UNNAMEABLE = " ,=/"
"""What no value in a trial's name may hold: a name is a file's, and Dagster parts lists of partitions at commas."""


def grid(choices: Choices) -> list[str]:
    """Return the trial of every combination of `choices`, the last name's values changing fastest.

    A trial is the text `name=value name=value`, names ascending. Raises InputError for a name without a list of
    values, or a value that cannot stand in such a text.
    """
    _check(choices)
    names = sorted(choices)
    combinations = itertools.product(*(_texts(name, choices[name]) for name in names))
    return [_trial(names, values) for values in combinations] if names else []


def random_trials(choices: Choices, draws: int, seed: int) -> list[str]:
    """Return `draws` different trials of the grid, or all if it has no more, in the order drawn.

    Source: Bergstra and Bengio, Random Search for Hyper-Parameter Optimization, JMLR 2012. Raises what `grid` does.
    """
    _check(choices)
    names = sorted(choices)
    texts = [_texts(name, choices[name]) for name in names]
    random, drawn = np.random.default_rng(seed), dict[str, None]()
    wanted = min(draws, int(np.prod([len(values) for values in texts])))
    while len(drawn) < wanted:
        drawn[_trial(names, [values[int(random.integers(len(values)))] for values in texts])] = None
    return list(drawn)


def settings_of(
    trial: str, network: NetworkSettings, training: TrainingSettings
) -> tuple[NetworkSettings, TrainingSettings]:
    """Return the settings with those that `trial` names in place of the given ones.

    Raises InputError naming a setting that neither has, or a value that does not suit the setting.
    """
    changes: dict[type[Settings], dict[str, Any]] = {NetworkSettings: {}, TrainingSettings: {}}
    for part in trial.split(" "):
        name, _, text = part.partition("=")
        kind = next((kind for kind in changes if name in definitions(kind)), None)
        if kind is None:
            raise InputError(f"Trial {trial!r} changes {name!r}, which is no setting of the network or the training.")
        definition = definitions(kind)[name]
        changes[kind][name] = definition.checked(definition.parsed(text), f"In trial {trial!r}, {name}")
    return replace(network, **changes[NetworkSettings]), replace(training, **changes[TrainingSettings])


def hold_out(cleaned: pl.DataFrame, tuning: TuningSettings) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split `cleaned` (schemas.CLEANED_DATASET) into landmarks to train on, renumbered from 0, and held-out ones.

    A landmark's photos stay together; both parts are sorted by image id. Raises InputError when fewer than two
    landmarks would be left on either side.
    """
    landmarks = cleaned["landmark_id"].unique().sort().to_numpy()
    count = max(2, round(tuning.held_out * len(landmarks)))
    if len(landmarks) - count < 2:
        raise InputError(
            f"Of {len(landmarks)} cleaned landmarks {count} would be held out; tuning needs at least 2 of them, and 2 "
            "more to train on. Lower held_out or add photos."
        )
    chosen = np.random.default_rng(tuning.seed).choice(landmarks, count, replace=False)
    is_held_out = pl.col("landmark_id").is_in(chosen.tolist())
    numbered = pl.col("landmark_id").rank("dense").cast(pl.Int32) - 1
    kept = cleaned.filter(~is_held_out).with_columns(class_id=numbered)
    return kept.sort("image_id"), cleaned.filter(is_held_out).sort("image_id")


def distractors(kept: pl.DataFrame, tuning: TuningSettings) -> pl.DataFrame:
    """Return photos of the landmarks trained on, at most as many as the settings say, by image id."""
    count = min(tuning.distractors, kept.height)
    rows = np.random.default_rng([tuning.seed, 1]).choice(kept.height, count, replace=False)
    return kept.sort("image_id")[np.sort(rows)]


def _check(choices: Choices) -> None:
    """Raise InputError unless every name has a list of values."""
    for name, values in choices.items():
        if not isinstance(values, Sequence) or isinstance(values, str):
            raise InputError(f"The choice for {name!r} is {values!r}, not a list of values to try.")
        if not values:
            raise InputError(f"There is no value to try for {name!r}; name at least one.")


def _trial(names: Sequence[str], texts: Sequence[str]) -> str:
    return " ".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))


def _texts(name: str, values: Sequence[Any]) -> list[str]:
    """Return the values as they stand in a trial's name, without repeats."""
    texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
    for text in texts:
        if any(character in text for character in _UNNAMEABLE):
            raise InputError(
                f"The value {text!r} of {name!r} holds a space or one of `,=/`, which no trial's name can; set it in "
                "the configuration of the trials in place of a choice."
            )
    return list(dict.fromkeys(texts))
