"""Metrics, submissions and the gallery through Dagster: files, pictures in the metadata, names and numbers."""

from pathlib import Path

import polars as pl
import pytest

from assets import evaluation
from landmark_dag.evaluation.ground_truth import read_recognition_ground_truth
from landmark_dag.evaluation.recognition_metrics import recognition_metrics
from landmark_dag.evaluation.submission import read_predictions
from landmark_dag.photos.manifest import build_manifest
from landmark_dag.storage.schemas import (
    LABELS,
    MANIFEST,
    NEIGHBOURS,
    RANKING,
    RECOGNITION_METRICS,
    RETRIEVAL_METRICS,
    VOTES,
)
from resources.photo_source import PhotoSourceResource
from tests.support.photos import located, write_landmark_photo
from tests.support.worlds import World

PLOTS = {
    "mAP@100 after each step",
    "Precision at a recall, first 100 photos",
    "mAP@100 by number of relevant photos",
    "Similarity of nearest neighbours",
}
VOTE_PLOT = "Confidence of right and wrong votes"


@pytest.fixture
def photos(world: World) -> Path:
    """A folder of photos whose ground truth names landmarks, with the photos of one query and two index photos."""
    photos = world.root / "photos"
    for path in ("train/old mill/t.png", "train/gate/u.png", "index/a.png", "index/b.png", "query/q.png"):
        write_landmark_photo(photos / path, len(path), len(path))
    truth = photos / "ground_truth"
    truth.mkdir()
    (truth / "retrieval_solution.csv").write_text("id,images,Usage\nq,b,Public\n")
    (truth / "recognition_solution.csv").write_text("id,landmarks,Usage\nq,old mill,Public\n")
    return photos


@pytest.fixture
def world(world: World) -> World:
    world.take_photos_from(world.root / "photos")
    for split in ("train", "index", "query"):
        world.register(split, "0000")
    world.write("knn_graph", NEIGHBOURS, [("q", 1, "a", 0.9), ("q", 2, "b", 0.5)], "0000")
    for ranking in ("sorted_ranking", "inserted_ranking"):
        world.write(ranking, RANKING, [("q", 1, "b", 0.5, "same landmark"), ("q", 2, "a", 0.9, "retrieved")], "0000")
    world.write("query/votes", VOTES, [("q", 7, 0.5)], "0000")
    world.write("recognition", VOTES, [("q", 7, 0.5)])
    world.write("train/labels", LABELS, [("t", 7, "old mill"), ("u", 8, "gate")])
    return world


@pytest.fixture
def manifests(world: World, photos: Path) -> None:
    """What the gallery reads besides: where the photos are."""
    for split in ("query", "index"):
        locations = [located(path) for path in sorted((photos / split).iterdir())]
        world.write(f"{split}/photos", MANIFEST, build_manifest(locations)[0], "0000")


def test_metrics_show_their_intervals_and_plots(world: World, photos: Path) -> None:
    shown = world.reported(evaluation.retrieval_metrics)
    rows = [list(record.data.values()) for record in shown["metrics"].records]
    assert ["knn", "all", "50.00 (50.0 to 50.0)"] in [row[:3] for row in rows]
    assert set(shown) >= PLOTS and all("data:image/png" in shown[plot] for plot in PLOTS)
    stored = world.store.read("retrieval_metrics", RETRIEVAL_METRICS).filter(usage="all")
    assert dict(stored.select("step", "map_at_100").iter_rows()) == {"knn": 50, "sorted": 100, "inserted": 100}
    shown = world.reported(evaluation.recognition_metrics)
    assert "data:image/png" in shown[VOTE_PLOT]


def test_an_id_that_a_submission_cannot_hold_skips_it_without_an_error(world: World, photos: Path) -> None:
    ranking = world.store.read("inserted_ranking", RANKING, "0000")
    spaced = ranking.with_columns(pl.col("index_id").replace("b", "IMG 001"))
    world.write("inserted_ranking", RANKING, spaced, "0000", "with a space")
    world.store.path("submission").with_suffix(".csv").write_text("of former photos")
    shown = world.reported(evaluation.submission)
    assert "'IMG 001' holds a space" in str(shown["skipped"])
    assert not world.store.path("submission").with_suffix(".csv").exists()


def test_both_submissions_can_be_read_back(world: World, photos: Path) -> None:
    shown = world.reported(evaluation.submission)
    assert Path(shown["file"]).read_text() == "id,images\nq,b a\n"
    recognition = Path(shown["recognition"])
    assert recognition.read_text() == "id,landmarks\nq,old mill 0.5\n"
    votes, names = read_predictions(recognition)
    truth = read_recognition_ground_truth(photos / "ground_truth" / "recognition_solution.csv", names)
    assert recognition_metrics(votes, truth)["micro_ap"].to_list() == [100, 100]


def test_a_dataset_names_landmarks_by_number_in_submission_and_metrics(
    world: World, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = photos / "ground_truth" / "recognition_solution.csv"
    truth.write_text("id,landmarks,Usage\nq,7,Public\n")
    source = world.resources["photo_source"].source()
    world.take_photos_from("https://dataset.example")
    monkeypatch.setattr(PhotoSourceResource, "source", lambda self: source)
    shown = world.reported(evaluation.submission)
    assert Path(shown["recognition"]).read_text() == "id,landmarks\nq,7 0.5\n"
    world.reported(evaluation.recognition_metrics)
    assert world.store.read("recognition_metrics", RECOGNITION_METRICS)["micro_ap"].to_list() == [100, 100]


@pytest.mark.usefixtures("manifests")
def test_the_gallery_shows_the_plots_in_the_page_and_in_the_metadata(world: World) -> None:
    shown = world.reported(evaluation.gallery)
    page = Path(shown["page"]).read_text()
    for plot in (*PLOTS, VOTE_PLOT):
        assert f"<figcaption>{plot}</figcaption>" in page
        assert "data:image/png" in shown[plot]


@pytest.mark.usefixtures("manifests")
def test_without_ground_truth_the_gallery_has_no_plots(world: World, photos: Path) -> None:
    for solution in (photos / "ground_truth").iterdir():
        solution.unlink()
    shown = world.reported(evaluation.gallery)
    assert not {*PLOTS, VOTE_PLOT} & set(shown)
    assert "<figcaption>" not in Path(shown["page"]).read_text()
