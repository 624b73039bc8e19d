"""The same rankings for all batch sizes, shard sizes, threads and orders of shards."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.faults.warm import Life, Warm
from tests.support.tiny_profile import render_tiny_photos

RANKINGS = ("knn_graph", "sorted_ranking", "inserted_ranking")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    photos = tmp_path_factory.mktemp("photos") / "photos"
    render_tiny_photos(photos)
    return photos


def rankings(home: Path) -> dict[str, pl.DataFrame]:
    """Return the lists of every query after each step, over all shards."""
    found = {}
    for name in RANKINGS:
        shards = [pl.read_parquet(path) for path in sorted((home / "store" / name).glob("*.parquet"))]
        found[name] = pl.concat(shards).sort("query_id", "rank").drop("similarity")
    return found


@pytest.fixture(scope="module")
def base(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, pl.DataFrame]]:
    folder = tmp_path_factory.mktemp("base")
    with Warm(folder / "warm") as warm:
        end = warm.live(Life(str(folder / "home"), str(photos)))[0]
    assert end.status == 0, end.log
    yield rankings(folder / "home")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "threads"),
    [({"batch_size": 3}, 1), ({"photos_per_shard": 5}, 1), ({"photos_per_shard": 100, "batch_size": 7}, 1), ({}, 2)],
    ids=["batches of 3", "shards of 5", "one shard, batches of 7", "two threads"],
)
def test_batch_sizes_shard_sizes_and_threads_change_no_ranking(
    photos: Path, base: dict[str, pl.DataFrame], tmp_path: Path, changes: dict[str, int], threads: int
) -> None:
    with Warm(tmp_path / "warm", **changes) as warm:
        end = warm.live(Life(str(tmp_path / "home"), str(photos), threads=threads))[0]
    assert end.status == 0, end.log
    for name, ranking in rankings(tmp_path / "home").items():
        assert ranking.equals(base[name]), name


@pytest.mark.slow
def test_the_order_in_which_shards_are_computed_changes_no_ranking(
    photos: Path, base: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    with Warm(tmp_path / "warm") as warm:
        end = warm.live(Life(str(tmp_path / "home"), str(photos), backwards=True))[0]
    assert end.status == 0, end.log
    for name, ranking in rankings(tmp_path / "home").items():
        assert ranking.equals(base[name]), name
