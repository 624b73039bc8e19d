"""The whole graph as a user runs it: `landmark-dag run` on a small rendered set of photos."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from PIL import Image

from landmark_dag.demo.rendering import render_photos
from landmark_dag.settings.demo import RenderingSettings
from landmark_dag.storage.embeddings import read_embeddings
from landmark_dag.storage.parquet_tables import read_table
from landmark_dag.storage.schemas import CLEANED_DATASET, RANKING, RETRIEVAL_METRICS, UNREADABLE
from tests.support.processes import landmark_dag
from tests.support.stores import contents, modification_times
from tests.support.tiny_profile import PHOTOS, tiny_landmark_dag

SMALL = RenderingSettings(landmarks=4, train_photos=48, index_photos=40, query_photos=8)
RENDERED = {"tiny": PHOTOS, "demo": SMALL}
"""The photos of the runs with each profile."""


@dataclass
class Run:
    photos: Path
    home: Path
    profile: str
    result: dict
    stderr: str

    @property
    def rendered(self) -> RenderingSettings:
        return RENDERED[self.profile]

    @property
    def store(self) -> Path:
        return self.home / "store"


def command(photos: Path, home: Path, profile: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run `landmark-dag run` to its end."""
    runs = tiny_landmark_dag if profile == "tiny" else landmark_dag
    return runs("run", "--photos", photos, "--home", home, "--profile", profile, *more)


def run(photos: Path, home: Path, profile: str = "demo") -> Run:
    """Run `landmark-dag run --json`, which must succeed."""
    done = command(photos, home, profile, "--json")
    assert done.returncode == 0, done.stderr
    return Run(photos, home, profile, json.loads(done.stdout), done.stderr)


@pytest.fixture(scope="module", params=["tiny", pytest.param("demo", marks=pytest.mark.slow)])
def first(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Run:
    """A run over good photos and one bad photo of each kind."""
    root = tmp_path_factory.mktemp("pipeline")
    render_photos(root / "photos", RENDERED[request.param])
    good = next((root / "photos" / "index").iterdir())
    (root / "photos" / "index" / "text.jpg").write_text("not a photo")
    (root / "photos" / "index" / "truncated.jpg").write_bytes(good.read_bytes()[:2000])
    Image.new("RGB", (1, 1)).save(root / "photos" / "index" / "dot.png")
    alone = root / "photos" / "train" / "a_landmark_with_one_photo"
    alone.mkdir()
    shutil.copy(good, alone / "alone.jpg")
    return run(root / "photos", root / "home", request.param)


def test_the_result_holds_metrics_cleaning_counts_and_the_path_of_the_gallery(first: Run) -> None:
    assert set(first.result) == {"map_at_100", "cleaning", "home", "gallery", "seconds"}
    assert list(first.result["map_at_100"]) == ["knn", "sorted", "inserted"]
    assert all(0 < value <= 100 for value in first.result["map_at_100"].values())
    cleaning = first.result["cleaning"]
    assert 0 < cleaning["kept"] < cleaning["photos"] == first.rendered.train_photos + 1
    assert "<html" in Path(first.result["gallery"]).read_text()


def test_unreadable_photos_are_listed_with_the_reason_and_no_other_is_lost(first: Run) -> None:
    unreadable = read_table(first.store / "index/unreadable/0000.parquet", UNREADABLE)
    assert set(unreadable["image_id"]) == {"text", "truncated", "dot"}
    assert all(unreadable["reason"])
    embedded = read_embeddings(first.store / "index/embeddings/0000.arrow").image_ids
    assert len(embedded) == first.rendered.index_photos


def test_a_landmark_with_one_photo_is_not_kept(first: Run) -> None:
    assert "alone" not in set(read_table(first.store / "cleaned_dataset.parquet", CLEANED_DATASET)["image_id"])


def test_an_index_shorter_than_the_lists_gives_a_warning(first: Run) -> None:
    assert f"The index holds {first.rendered.index_photos} photos" in first.stderr
    ranking = read_table(first.store / "inserted_ranking/0000.parquet", RANKING)
    assert ranking.group_by("query_id").len()["len"].unique().to_list() == [first.rendered.index_photos]


def test_the_printed_metrics_are_those_stored(first: Run) -> None:
    metrics = read_table(first.store / "retrieval_metrics.parquet", RETRIEVAL_METRICS).filter(usage="all")
    assert dict(metrics.select("step", "map_at_100").iter_rows()) == first.result["map_at_100"]


def test_every_shard_shows_as_materialized_in_dagster(first: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(first.home / "dagster"))
    with dg.DagsterInstance.get() as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("inserted_ranking")) == {"0000"}
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}


def test_a_second_run_writes_nothing(first: Run) -> None:
    before = modification_times(first.store)
    again = run(first.photos, first.home, first.profile)
    assert again.result["map_at_100"] == first.result["map_at_100"]
    assert modification_times(first.store) == before


@pytest.mark.slow
def test_new_index_photos_make_a_new_shard_and_give_the_ranking_of_a_run_from_nothing(
    first: Run, tmp_path: Path
) -> None:
    shutil.copytree(first.photos, tmp_path / "photos")
    shutil.copytree(first.home, tmp_path / "home")
    for number, photo in enumerate(sorted((first.photos / "query").iterdir())[:3]):
        shutil.copy(photo, tmp_path / "photos" / "index" / f"new{number}.jpg")
    settings = tmp_path / "home" / "settings.toml"
    settings.write_text(settings.read_text().replace(str(first.photos), str(tmp_path / "photos")))
    grown = run(tmp_path / "photos", tmp_path / "home", first.profile)
    assert read_embeddings(grown.store / "index/embeddings/0001.arrow").image_ids == ["new0", "new1", "new2"]
    whole = run(tmp_path / "photos", tmp_path / "whole", first.profile)
    for name in ("knn_graph", "sorted_ranking", "inserted_ranking"):
        frames = [pl.read_parquet(home.store / name / "0000.parquet") for home in (grown, whole)]
        assert frames[0].equals(frames[1]), name


def test_worse_metrics_on_the_same_photos_end_in_one_sentence_and_keep_the_gallery(first: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(first.home, home)
    gallery = home / "store" / "gallery.html"
    before = gallery.stat().st_mtime_ns
    solution = first.photos / "ground_truth" / "retrieval_solution.csv"
    right = solution.read_bytes()
    ranking = read_table(first.store / "inserted_ranking/0000.parquet", RANKING)
    last = ranking.group_by(id="query_id").agg(images=pl.col("index_id").sort_by("rank").last())
    try:
        pl.read_csv(solution, infer_schema=False).drop("images").join(last, on="id").select(
            "id", "images", "Usage"
        ).write_csv(solution)
        done = command(first.photos, home, first.profile)
    finally:
        solution.write_bytes(right)
    assert (done.returncode, done.stdout) == (2, "")
    assert "retrieval_metrics fails its check no_worse_than_before: mAP@100" in done.stderr
    assert "the last good run had" in done.stderr and "Traceback" not in done.stderr
    assert gallery.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda photos: shutil.rmtree(photos), "There is no photo folder"),
        (lambda photos: shutil.rmtree(photos / "train"), "has no folder train/"),
        (lambda photos: [path.unlink() for path in (photos / "query").iterdir()], "holds no photo"),
        (
            lambda photos: shutil.copy(next((photos / "index").iterdir()), photos / "index" / "sub"),
            "have the same image id",
        ),
    ],
    ids=["no folder", "no train", "no query photo", "one id twice"],
)
def test_bad_photos_end_in_one_sentence_and_leave_what_is_stored(first: Run, tmp_path: Path, make, sentence) -> None:
    photos, home = tmp_path / "photos", tmp_path / "home"
    shutil.copytree(first.photos, photos)
    (photos / "index" / "sub").mkdir()
    shutil.copytree(first.home, home)
    settings = home / "settings.toml"
    settings.write_text(settings.read_text().replace(str(first.photos), str(photos)))
    before = contents(home / "store")
    make(photos)
    done = command(photos, home, first.profile)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert contents(home / "store") == before
