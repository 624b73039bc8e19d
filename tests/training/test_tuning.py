"""Names of trials, the settings they mean, and the landmarks held out."""

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.settings.training import NetworkSettings, TrainingSettings, TuningSettings
from landmark_dag.storage.schemas import CLEANED_DATASET
from landmark_dag.training.tuning import distractors, grid, hold_out, random_trials, settings_of

CHOICES = {"margin": [0.2, 0.3], "loss": ["arcface", "cosface"], "batch_norm": [True, False]}
NETWORK, TRAINING = NetworkSettings(), TrainingSettings()


def cleaned(landmarks: int, photos: int = 3) -> pl.DataFrame:
    rows = [
        (f"{photo}_{landmark:03}", 10 * landmark, landmark) for photo in range(photos) for landmark in range(landmarks)
    ]
    return pl.DataFrame(rows, schema=CLEANED_DATASET.schema, orient="row")


def test_a_grid_has_every_combination_once_under_names_in_order() -> None:
    trials = grid(CHOICES)
    assert trials[:3] == [
        "batch_norm=true loss=arcface margin=0.2",
        "batch_norm=true loss=arcface margin=0.3",
        "batch_norm=true loss=cosface margin=0.2",
    ]
    assert len(trials) == len(set(trials)) == 8
    assert grid({"margin": [0.2, 0.2]}) == ["margin=0.2"] and grid({}) == []


@given(st.integers(0, 12), st.integers(0, 2**32))
def test_random_trials_are_different_ones_of_the_grid_and_follow_the_seed(draws: int, seed: int) -> None:
    trials = random_trials(CHOICES, draws, seed)
    assert len(set(trials)) == len(trials) == min(draws, 8)
    assert set(trials) <= set(grid(CHOICES))
    assert random_trials(CHOICES, draws, seed) == trials


def test_other_seeds_draw_other_trials() -> None:
    assert len({tuple(random_trials(CHOICES, 3, seed)) for seed in range(5)}) > 1


def test_a_trial_changes_the_settings_it_names_and_no_others() -> None:
    trial = "batch_norm=false epochs=7 learning_rate=0.01 loss=cosface pooling=max"
    network, training = settings_of(trial, NETWORK, TRAINING)
    assert network == replace(NETWORK, batch_norm=False, pooling="max")
    assert training == replace(TRAINING, epochs=7, learning_rate=0.01, loss="cosface")


def test_every_trial_of_a_grid_can_be_read_back() -> None:
    margins = [settings_of(trial, NETWORK, TRAINING)[1].margin for trial in grid({"margin": [1e-05, 0.1, 1]})]
    assert margins == [1e-05, 0.1, 1.0]


@pytest.mark.parametrize(
    ("trial", "message"),
    [
        ("colour=red", "changes 'colour', which is no setting"),
        ("", "changes ''"),
        ("margin=much", 'margin is "much"; it must be a number'),
        ("epochs=1.5", 'epochs is "1.5"; it must be a whole number'),
        ("loss=triplet", "must be arcface, cosface, adacos or softmax"),
        ("batch_norm=yes", "must be true or false"),
        ("margin", 'margin is ""'),
    ],
)
def test_a_trial_that_cannot_be_read_is_refused_by_name_and_value(trial: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings_of(trial, NETWORK, TRAINING)


def test_choices_that_no_trial_can_name_are_refused() -> None:
    with pytest.raises(InputError, match="holds a space or one of"):
        grid({"weights": ["/models/a.pth"]})
    with pytest.raises(InputError, match="no value to try for 'margin'"):
        random_trials({"margin": []}, 3, 0)


@given(st.integers(4, 30), st.floats(0.0, 0.5), st.integers(0, 2**32))
def test_held_out_landmarks_have_no_photo_among_those_trained_on(landmarks: int, share: float, seed: int) -> None:
    table = cleaned(landmarks)
    kept, held_out = hold_out(table, TuningSettings(held_out=share, seed=seed))
    assert not set(kept["landmark_id"]) & set(held_out["landmark_id"])
    assert sorted([*kept["image_id"], *held_out["image_id"]]) == sorted(table["image_id"])
    assert held_out["landmark_id"].n_unique() == max(2, round(share * landmarks))
    classes = dict(kept.select("landmark_id", "class_id").iter_rows())
    assert sorted(classes.values()) == list(range(len(classes)))
    assert [classes[landmark] for landmark in sorted(classes)] == sorted(classes.values())
    CLEANED_DATASET.conform(kept, "kept")


def test_the_split_follows_the_seed_and_not_the_order_of_rows() -> None:
    table, tuning = cleaned(20), TuningSettings(held_out=0.3)
    first, shuffled = (hold_out(frame, tuning)[1] for frame in (table, table.sample(fraction=1, shuffle=True, seed=1)))
    assert first.equals(shuffled)
    other = hold_out(table, replace(tuning, seed=1))[1]
    assert not first["landmark_id"].unique().equals(other["landmark_id"].unique())


def test_too_few_landmarks_to_split_are_refused() -> None:
    with pytest.raises(InputError, match="Of 3 cleaned landmarks 2 would be held out"):
        hold_out(cleaned(3), TuningSettings())


@pytest.mark.parametrize(("wanted", "found"), [(4, 4), (100, 30), (0, 0)])
def test_distractors_are_different_photos_in_order_up_to_their_number(wanted: int, found: int) -> None:
    table = cleaned(10)
    drawn = distractors(table, TuningSettings(distractors=wanted))
    assert drawn["image_id"].to_list() == sorted(set(drawn["image_id"])) and drawn.height == found
