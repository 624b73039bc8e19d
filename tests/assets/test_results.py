"""Metrics, submissions and the gallery through Dagster: files, pictures in the metadata, names and numbers."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets import evaluation
from landmark_dag.evaluation.ground_truth import read_recognition_ground_truth
from landmark_dag.evaluation.recognition_metrics import recognition_metrics
from landmark_dag.evaluation.submission import read_predictions
from landmark_dag.photos.manifest import build_manifest
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.storage.parquet_tables import read_table, write_table
from landmark_dag.storage.schemas import (
    LABELS,
    MANIFEST,
    NEIGHBOURS,
    RANKING,
    RECOGNITION_METRICS,
    RETRIEVAL_METRICS,
    VOTES,
    Table,
)
from resources.photo_source import PhotoSourceResource
from resources.store import Store
from tests.evaluation.homes import photo

PLOTS = {
    "mAP@100 after each step",
    "Precision at a recall, first 100 photos",
    "mAP@100 by number of relevant photos",
    "Similarity of nearest neighbours",
}
VOTE_PLOT = "Confidence of right and wrong votes"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        for split in ("train", "index", "query"):
            instance.add_dynamic_partitions(f"{split}_shards", ["0000"])
        yield instance


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of photos whose ground truth names landmarks, with the photos of one query and two index photos."""
    for path in ("train/old mill/t.png", "train/gate/u.png", "index/a.png", "index/b.png", "query/q.png"):
        photo(tmp_path / "photos" / path, len(path), len(path))
    truth = tmp_path / "photos" / "ground_truth"
    truth.mkdir()
    (truth / "retrieval_solution.csv").write_text("id,images,Usage\nq,b,Public\n")
    (truth / "recognition_solution.csv").write_text("id,landmarks,Usage\nq,old mill,Public\n")
    return tmp_path / "photos"


@pytest.fixture
def store(tmp_path: Path, photos: Path) -> Store:
    store = Store(root=str(tmp_path / "store"))

    def stored(asset: str, table: Table, rows: list, shard: str = "0000") -> None:
        write_table(store.path(asset, shard), table, pl.DataFrame(rows, schema=table.schema, orient="row"), "1")

    for split in ("query", "index"):
        paths = sorted((photos / split).iterdir())
        located = [PhotoLocation(path.stem, str(path), 0, path.stat().st_size) for path in paths]
        write_table(store.path(f"{split}/photos", "0000"), MANIFEST, build_manifest(located)[0], "1")
    stored("knn_graph", NEIGHBOURS, [("q", 1, "a", 0.9), ("q", 2, "b", 0.5)])
    moved = [("q", 1, "b", 0.5, "same landmark"), ("q", 2, "a", 0.9, "retrieved")]
    stored("sorted_ranking", RANKING, moved)
    stored("inserted_ranking", RANKING, moved)
    stored("query/votes", VOTES, [("q", 7, 0.5)])
    stored("recognition", VOTES, [("q", 7, 0.5)], "")
    stored("train/labels", LABELS, [("t", 7, "old mill"), ("u", 8, "gate")], "")
    return store


def materialized(
    asset: dg.AssetsDefinition, store: Store, source: PhotoSourceResource, instance: dg.DagsterInstance
) -> dict:
    result = dg.materialize([asset], instance=instance, resources={"store": store, "photo_source": source})
    (event,) = result.get_asset_materialization_events()
    return dict(event.materialization.metadata)


def folder(photos: Path, home: Path) -> PhotoSourceResource:
    return PhotoSourceResource(photos=str(photos), photos_per_shard=10, home=str(home))


def test_metrics_show_their_intervals_and_plots(
    store: Store, photos: Path, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    shown = materialized(evaluation.retrieval_metrics, store, folder(photos, tmp_path), instance)
    rows = [list(record.data.values()) for record in shown["metrics"].records]
    assert ["knn", "all", "50.00 (50.0 to 50.0)"] in [row[:3] for row in rows]
    assert set(shown) >= PLOTS and all("data:image/png" in shown[plot].value for plot in PLOTS)
    stored = store.read("retrieval_metrics", RETRIEVAL_METRICS).filter(usage="all")
    assert dict(stored.select("step", "map_at_100").iter_rows()) == {"knn": 50, "sorted": 100, "inserted": 100}
    shown = materialized(evaluation.recognition_metrics, store, folder(photos, tmp_path), instance)
    assert "data:image/png" in shown[VOTE_PLOT].value


def test_an_id_that_no_submission_can_carry_leaves_it_out_and_stops_nothing(
    store: Store, photos: Path, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    path = store.path("inserted_ranking", "0000")
    ranking = read_table(path, RANKING).with_columns(pl.col("index_id").replace("b", "IMG 001"))
    write_table(path, RANKING, ranking, "with a space")
    store.path("submission").with_suffix(".csv").write_text("of former photos")
    shown = materialized(evaluation.submission, store, folder(photos, tmp_path), instance)
    assert "'IMG 001' holds a space" in str(shown["skipped"].value)
    assert not store.path("submission").with_suffix(".csv").exists()


def test_both_submissions_are_written_and_read_back(
    store: Store, photos: Path, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    shown = materialized(evaluation.submission, store, folder(photos, tmp_path), instance)
    assert Path(shown["file"].value).read_text() == "id,images\nq,b a\n"
    recognition = Path(shown["recognition"].value)
    assert recognition.read_text() == "id,landmarks\nq,old mill 0.5\n"
    votes, names = read_predictions(recognition)
    truth = read_recognition_ground_truth(photos / "ground_truth" / "recognition_solution.csv", names)
    assert recognition_metrics(votes, truth)["micro_ap"].to_list() == [100, 100]


def test_a_dataset_submits_and_is_judged_by_the_numbers_of_landmarks(
    store: Store, photos: Path, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = photos / "ground_truth" / "recognition_solution.csv"
    truth.write_text("id,landmarks,Usage\nq,7,Public\n")
    dataset = PhotoSourceResource(photos="https://dataset.example", photos_per_shard=10, home=str(tmp_path))
    source = folder(photos, tmp_path).source()
    monkeypatch.setattr(PhotoSourceResource, "source", lambda self: source)
    shown = materialized(evaluation.submission, store, dataset, instance)
    assert Path(shown["recognition"].value).read_text() == "id,landmarks\nq,7 0.5\n"
    materialized(evaluation.recognition_metrics, store, dataset, instance)
    assert store.read("recognition_metrics", RECOGNITION_METRICS)["micro_ap"].to_list() == [100, 100]


def test_the_gallery_shows_the_plots_in_the_page_and_in_the_metadata(
    store: Store, photos: Path, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    shown = materialized(evaluation.gallery, store, folder(photos, tmp_path), instance)
    page = Path(shown["page"].value).read_text()
    for plot in (*PLOTS, VOTE_PLOT):
        assert f"<figcaption>{plot}</figcaption>" in page
        assert "data:image/png" in shown[plot].value


def test_without_ground_truth_the_gallery_has_no_plots(
    store: Store, photos: Path, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for solution in (photos / "ground_truth").iterdir():
        solution.unlink()
    shown = materialized(evaluation.gallery, store, folder(photos, tmp_path), instance)
    assert not {*PLOTS, VOTE_PLOT} & set(shown)
    assert "<figcaption>" not in Path(shown["page"].value).read_text()
