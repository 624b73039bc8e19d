"""The score of a trial."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.evaluation.tuning import TrialSettings, best_first, held_out_map, run_trial
from landmark_dag.photos.manifest import build_manifest
from landmark_dag.settings.retrieval import EmbeddingSettings
from landmark_dag.settings.training import NetworkSettings, TrainingSettings, TuningSettings
from landmark_dag.storage.schemas import CLEANED_DATASET, TUNING_TRIALS
from tests.training.photo_sets import write_photo_set

SETTINGS = TrialSettings(
    network=NetworkSettings(backbone="test_resnet", embedding_dim=8),
    training=TrainingSettings(square_size=64, long_side=64, epochs=2, batch_size=8, checkpoint_steps=1),
    embedding=EmbeddingSettings(square_size=64, long_side=64, scales=(1.0,), smallest_side=64),
    tuning=TuningSettings(held_out=0.4),
)


def plain_map(vectors: np.ndarray, landmarks: np.ndarray, held_out: int) -> tuple[float, int]:
    """Return mAP@100 in percent, query by query and rank by rank, and the number of queries."""
    precisions = []
    for query in range(held_out):
        others = [other for other in range(len(vectors)) if other != query]
        similarity = {other: float(vectors[query].astype(np.float64) @ vectors[other]) for other in others}
        ranked = sorted(others, key=lambda other: (-np.float32(similarity[other]), other))[:100]
        relevant = sum(landmarks[other] == landmarks[query] for other in others)
        if not relevant:
            continue
        hits = [landmarks[other] == landmarks[query] for other in ranked]
        total = sum(sum(hits[: rank + 1]) / (rank + 1) for rank in range(len(ranked)) if hits[rank])
        precisions.append(total / min(relevant, 100))
    return 100 * float(np.mean(precisions)), len(precisions)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 150), st.integers(1, 6))
def test_the_score_is_the_plain_mean_average_precision_without_the_query_itself(
    seed: int, photos: int, landmarks: int
) -> None:
    random = np.random.default_rng(seed)
    vectors = random.integers(-3, 4, (photos, 4)).astype(np.float16)
    landmark_ids = random.integers(0, landmarks, photos)
    landmark_ids[1] = landmark_ids[0]
    held_out = int(random.integers(1, photos + 1))
    score, queries = held_out_map(vectors, landmark_ids, held_out)
    expected = plain_map(vectors, landmark_ids, held_out)
    assert score == pytest.approx(expected[0]) and queries == expected[1]


def test_a_photo_alone_of_its_landmark_is_no_query_but_is_searched() -> None:
    vectors = np.eye(4, dtype=np.float16)[[0, 1, 0, 0]]
    score, queries = held_out_map(vectors, np.array([1, 2, 3, 1]), 3)
    assert queries == 1 and score == pytest.approx(50.0)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, pl.DataFrame]:
    locations, classes = write_photo_set(tmp_path_factory.mktemp("photos"), landmarks=5, photos=4)
    rows = [
        (location.image_id, 100 + int(number), int(number)) for location, number in zip(locations, classes, strict=True)
    ]
    return build_manifest(locations)[0], pl.DataFrame(rows, schema=CLEANED_DATASET.schema, orient="row")


def test_a_trial_is_one_row_of_what_was_tried_and_what_came_of_it(
    tmp_path: Path, tables: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    def tried(trial: str, folder: str) -> pl.DataFrame:
        return run_trial(trial, tmp_path / folder, *tables, SETTINGS)

    first, again, other = tried("margin=0.1", "a"), tried("margin=0.1", "b"), tried("epochs=0 margin=0.1", "c")
    assert first.equals(again) and first.schema == TUNING_TRIALS.schema
    row = first.row(0, named=True)
    assert (row["trial"], row["queries"], row["searched"]) == ("margin=0.1", 8, 20)
    assert 0 < row["map_at_100"] <= 100 and row["loss"] > 0
    assert '"margin": 0.1' in row["settings"]
    assert other["loss"].item() is None and other["model"].item() != row["model"]


def test_fewer_distractors_are_searched_where_the_settings_say_so(
    tmp_path: Path, tables: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    few = TuningSettings(held_out=0.4, distractors=3)
    assert run_trial("epochs=0", tmp_path, *tables, replace(SETTINGS, tuning=few))["searched"].item() == 11


def test_trials_are_told_best_first_and_ties_by_name() -> None:
    scores = {"b": 50.0, "a": 50.0, "c": 70.0}
    rows = [(name, score, 1, 1, None, None, "", "") for name, score in scores.items()]
    frame = pl.DataFrame(rows, schema=TUNING_TRIALS.schema, orient="row")
    assert best_first(frame)["trial"].to_list() == ["c", "a", "b"]
