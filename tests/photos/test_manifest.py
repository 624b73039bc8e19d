"""Manifests: what is in a shard, what of it is unreadable, and how two manifests differ."""

import socket
from pathlib import Path

import pytest

from landmark_dag.errors import InputError
from landmark_dag.photos import manifest as manifest_module
from landmark_dag.photos.manifest import build_manifest, locations_of, manifest_changes
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.storage.hashing import fingerprint
from landmark_dag.storage.schemas import MANIFEST, UNREADABLE
from tests.support.photos import encoded, jpeg, located, picture


def lay(tmp_path: Path, contents: list[tuple[str, bytes]]) -> list[PhotoLocation]:
    """One file that holds all the contents, a few bytes apart, like a TAR."""
    path, locations, data = tmp_path / "all", [], b"head"
    for image_id, content in contents:
        locations.append(PhotoLocation(image_id, str(path), len(data), len(content)))
        data += content + b"gap"
    path.write_bytes(data)
    return locations


def test_every_photo_has_one_row_in_one_of_the_two_tables(tmp_path: Path) -> None:
    broken = {
        "text": b"no photo at all" * 9,
        "empty": b"",
        "half": jpeg()[:900],
        "dot": encoded(picture(0, 1, 1), "PNG"),
    }
    good = {"b": jpeg(1, 80, 60), "a": encoded(picture(2, 30, 40), "PNG")}
    locations = lay(tmp_path, list((broken | good).items()))
    manifest, unreadable = build_manifest(locations)
    assert manifest.schema == MANIFEST.schema
    assert unreadable.schema == UNREADABLE.schema
    path = str(tmp_path / "all")
    assert manifest.select("image_id", "path", "width", "height", "fingerprint").rows() == [
        ("a", path, 30, 40, fingerprint(good["a"])),
        ("b", path, 80, 60, fingerprint(good["b"])),
    ]
    reasons = dict(unreadable.select("image_id", "reason").rows())
    assert list(reasons) == ["dot", "empty", "half", "text"]
    for image_id, words in {"dot": "1 x 1", "empty": "empty", "half": "truncated", "text": "not a photo"}.items():
        assert words in reasons[image_id]
    by_id = {location.image_id: location for location in locations}
    assert locations_of(manifest) == [by_id["a"], by_id["b"]]


def test_the_manifest_does_not_depend_on_threads_or_order(tmp_path: Path) -> None:
    locations = lay(tmp_path, [(f"{seed:03d}", jpeg(seed)) for seed in range(20)] + [("bad", b"x")])
    one = build_manifest(locations, threads=1)
    many = build_manifest(locations[::-1], threads=5)
    assert one[0].equals(many[0])
    assert one[1].equals(many[1])


def test_bytes_are_read_once_and_in_their_order_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locations = lay(tmp_path, [(name, jpeg(seed)) for seed, name in enumerate("dbca")])
    read: list[int] = []

    def counting(path: str, offset: int, size: int) -> bytes:
        read.append(offset)
        return original(path, offset, size)

    original = manifest_module.read_bytes
    monkeypatch.setattr(manifest_module, "read_bytes", counting)
    build_manifest(sorted(locations, key=lambda location: location.image_id), threads=1)
    assert read == [location.offset for location in locations]


def test_no_photos_make_two_empty_tables() -> None:
    manifest, unreadable = build_manifest([])
    assert manifest.schema == MANIFEST.schema
    assert unreadable.schema == UNREADABLE.schema
    assert manifest.is_empty()
    assert unreadable.is_empty()


def test_changes_name_what_was_added_removed_and_replaced(tmp_path: Path) -> None:
    before, _ = build_manifest(lay(tmp_path, [("a", jpeg(1)), ("b", jpeg(2)), ("c", jpeg(3))]))
    after, _ = build_manifest(lay(tmp_path, [("d", jpeg(4)), ("b", jpeg(9)), ("c", jpeg(3))]))
    changes = manifest_changes(before, after)
    assert (changes.added, changes.removed, changes.replaced) == (["d"], ["a"], ["b"])
    assert changes
    assert not manifest_changes(after, after)


def test_a_machine_without_the_photos_is_named_with_the_place_where_they_should_be(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jpg").write_bytes(jpeg())
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    manifest, _ = build_manifest([located(p) for p in paths])
    paths[0].unlink()
    assert len(locations_of(manifest)) == 2
    paths[1].unlink()
    with pytest.raises(InputError) as refused:
        locations_of(manifest)
    assert socket.gethostname() in str(refused.value)
    assert f"none of the files of these 2 photos, such as {paths[0]}; mount the photos there" in str(refused.value)
