"""The photo source of several machines: a photo belongs to one shard on every machine."""

from pathlib import Path

import pytest

from landmark_dag.settings.home import HomeSettings, write_home_settings
from resources.photo_source import PhotoSourceResource


def add_photos(photos: Path, *names: str) -> None:
    for split in ("train/tower", "index", "query"):
        (photos / split).mkdir(parents=True, exist_ok=True)
        for name in names:
            (photos / split / f"{name}.jpg").write_bytes(b"not looked at")


def test_machines_agree_on_the_shards_of_photos_that_arrive_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    url, photos = f"file://{tmp_path}/shared", tmp_path / "photos"
    write_home_settings(tmp_path / "one", HomeSettings(photos=str(photos), store=url))
    monkeypatch.setenv("LANDMARK_STORE", url)

    def members(machine: str, shard: str) -> list[str]:
        resource = PhotoSourceResource(photos=str(photos), photos_per_shard=2, home=str(tmp_path / machine))
        return [location.image_id for location in resource.source().locations("index", shard)]

    def list_shards(machine: str) -> list[str]:
        resource = PhotoSourceResource(photos=str(photos), photos_per_shard=2, home=str(tmp_path / machine))
        return resource.source().shards("index")

    add_photos(photos, "m", "n")
    assert list_shards("one") == ["0000"]
    add_photos(photos, "a", "b")
    assert list_shards("one") == ["0000", "0001"]
    assert (members("other", "0000"), members("other", "0001")) == (["m", "n"], ["a", "b"])
    add_photos(photos, "c")
    assert list_shards("other") == ["0000", "0001", "0002"]
    assert members("one", "0002") == ["c"]
