"""Fingerprints: equal for equal content, for content in any parts, and of the length asked for."""

from pathlib import Path

import polars as pl
import pytest

from landmark_dag.errors import InputError
from landmark_dag.storage.hashing import content_version, digest, fingerprint, folder_fingerprint


def test_fingerprints_tell_bytes_apart() -> None:
    assert fingerprint(b"a") == fingerprint(b"a") != fingerprint(b"b")
    assert fingerprint(b"a", b"", b"bc") == fingerprint(memoryview(b"abc"))
    assert len(fingerprint()) == 32
    assert [len(fingerprint(b"a", size=size)) for size in (1, 8, 64)] == [2, 16, 128]


def test_stored_fingerprints_stay_what_they_are() -> None:
    assert fingerprint(b"abc") == "cf4ab791c62b8d2b2109c90275287816"
    assert digest({"b": [1, 2.5, None], "a": Path("x")}) == digest({"a": "x", "b": [1, 2.5, None]})
    assert digest({"b": [1, 2.5, None], "a": Path("x")}) == "d0816bdf78f5c27aa5f75b5e28fcea64"


def test_a_folder_is_its_file_names_and_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"1")
    before = folder_fingerprint(tmp_path)
    (tmp_path / "folder").mkdir()
    assert folder_fingerprint(tmp_path) == before
    (tmp_path / "weights").rename(tmp_path / "other")
    assert folder_fingerprint(tmp_path) != before
    with pytest.raises(InputError, match="nowhere is not a folder; name the folder of a trained model"):
        folder_fingerprint(tmp_path / "nowhere")


def test_a_table_is_its_columns_and_rows() -> None:
    frame = pl.DataFrame({"image_id": ["a", "b"], "landmark_id": [1, 2]})
    assert content_version(frame) == content_version(frame.clone())
    changed = [frame.reverse(), frame.rename({"image_id": "photo"}), frame.with_columns(landmark_id=2)]
    assert content_version(frame) not in [content_version(other) for other in changed]
