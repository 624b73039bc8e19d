import io
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from landmark_dag.reports import plots as pictures
from landmark_dag.storage.schemas import CLEANING_GRID, RERANKING_SWEEP

RIGHT = np.array([True, False, True, True])
VALUES = np.array([0.9, 0.3, 0.8, 0.7], np.float32)
LABELS = pl.DataFrame({"image_id": ["a", "b", "c"], "landmark_id": [1, 1, 2], "landmark": ["x", "x", "y"]})
CLEANED = pl.DataFrame({"image_id": ["a", "b"], "landmark_id": [1, 1], "class_id": [0, 0]})

DRAWN: dict[str, Callable[[], bytes]] = {
    "training curve": lambda: pictures.training_curve([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]),
    "training curve of nothing": lambda: pictures.training_curve([]),
    "step bars": lambda: pictures.step_bars({"kNN": 40.0, "sort": 60.0, "insert": 90.0}),
    "step bars of zero": lambda: pictures.step_bars({"kNN": 0.0}),
    "vote confidence": lambda: pictures.vote_confidence(VALUES, RIGHT),
    "vote confidence, none wrong": lambda: pictures.vote_confidence(VALUES, np.ones(4, np.bool_)),
    "vote confidence of nothing": lambda: pictures.vote_confidence(VALUES[:0], RIGHT[:0]),
    "similarities": lambda: pictures.similarities(VALUES, RIGHT),
    "precision and recall": lambda: pictures.precision_recall({"kNN": RIGHT[None]}, np.array([3])),
    "landmark size": lambda: pictures.precision_by_landmark_size(np.array([1, 9]), {"kNN": np.array([10.0, 60.0])}),
    "kept by landmark": lambda: pictures.kept_by_landmark(LABELS, CLEANED),
    "nothing kept": lambda: pictures.kept_by_landmark(LABELS, CLEANED.clear()),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_plot_is_a_png_that_draws_something_and_the_same_bytes_each_time(name: str) -> None:
    png = DRAWN[name]()
    grey = np.array(Image.open(io.BytesIO(png)).convert("L"))
    assert min(grey.shape) > 150 and grey.min() < 100 < grey.max()
    assert DRAWN[name]() == png


def test_plots_of_different_numbers_differ() -> None:
    assert pictures.step_bars({"kNN": 40.0}) != pictures.step_bars({"kNN": 41.0})
    assert pictures.vote_confidence(VALUES, RIGHT) != pictures.vote_confidence(VALUES, ~RIGHT)


def test_the_share_kept_counts_photos_that_cleaning_dropped() -> None:
    all_kept = CLEANED.vstack(pl.DataFrame({"image_id": ["c"], "landmark_id": [2], "class_id": [1]}))
    assert pictures.kept_by_landmark(LABELS, CLEANED) != pictures.kept_by_landmark(LABELS, all_kept)


@st.composite
def judged_lists(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    queries, ranks = draw(st.integers(1, 4)), draw(st.integers(1, 8))
    hits = np.array(draw(st.lists(st.booleans(), min_size=queries * ranks, max_size=queries * ranks)))
    hits = hits.reshape(queries, ranks)
    more = draw(st.lists(st.integers(0, 5), min_size=queries, max_size=queries))
    return hits, np.maximum(hits.sum(axis=1) + np.array(more), 1)


@given(judged_lists())
def test_interpolated_precision_is_the_best_at_that_recall_or_above(judged: tuple[np.ndarray, np.ndarray]) -> None:
    hits, expected = judged
    levels = np.linspace(0, 1, 11)
    for level, mean in zip(levels, pictures.interpolated_precision(hits, expected, levels), strict=True):
        best = []
        for row, count in zip(hits, expected, strict=True):
            found = [(row[: rank + 1].sum(), rank + 1) for rank in range(len(row))]
            best.append(max((f / r for f, r in found if f > 0 and f >= level * count - 1e-9), default=0.0))
        assert mean == pytest.approx(np.mean(best))


def test_the_cleaning_grid_is_drawn_for_photos_and_landmarks() -> None:
    rows = [(inliers, count, 100 // count, 10) for inliers in (20, 30) for count in (1, 2)]
    grid = pl.DataFrame(rows, schema=CLEANING_GRID.schema, orient="row")
    photos, landmarks = pictures.grid_heat_map(grid, "photos"), pictures.grid_heat_map(grid, "landmarks")
    assert Image.open(io.BytesIO(photos)).size[0] > 300
    assert photos != landmarks


def test_the_sweep_is_drawn_and_shows_what_it_holds() -> None:
    def sweep(best: float) -> pl.DataFrame:
        rows = [(k, threshold, best * k) for k in (1, 2) for threshold in (0.0, 0.5)]
        return pl.DataFrame(rows, schema=RERANKING_SWEEP.schema, orient="row")

    drawn = pictures.sweep_heat_map(sweep(30.0))
    assert Image.open(io.BytesIO(drawn)).size[0] > 300
    assert drawn == pictures.sweep_heat_map(sweep(30.0)) != pictures.sweep_heat_map(sweep(40.0))
