"""Files appear whole or not at all."""

import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from landmark_dag.storage.files import fingerprint, replacing, replacing_folder


def test_a_file_is_replaced_when_the_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file"
    for content in ("first", "second"):
        with replacing(target) as temporary:
            temporary.write_text(content)
    assert target.read_text() == "second"
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("replace", [replacing, replacing_folder])
def test_a_disk_that_fails_at_once_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: Callable[[Path], AbstractContextManager[Path]]
) -> None:
    whole = os.open

    def failing(path: str | Path, flags: int, *arguments: int) -> int:
        if flags == os.O_RDONLY:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return whole(path, flags, *arguments)

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(OSError, match="Input/output error"), replace(tmp_path / "results"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_a_live_one_writes_stays(tmp_path: Path) -> None:
    target = tmp_path / "file[1]"
    (tmp_path / ".file[1].dead.tmp").write_text("half")
    (tmp_path / ".file[1].dead2.tmp").mkdir()
    (tmp_path / ".file[1].dead2.tmp" / "half").write_text("half")
    (tmp_path / ".another.dead.tmp").write_text("not ours")
    with replacing(target) as first:
        first.write_text("first")
        with replacing(target) as second:
            assert first.exists()
            second.write_text("second")
        assert target.read_text() == "second"
    assert target.read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".another.dead.tmp", "file[1]"]


def test_a_folder_is_replaced_whole_or_stays(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for content in ("first", "second"):
        with replacing_folder(target) as temporary:
            (temporary / content).write_text(content)
        assert [path.name for path in target.iterdir()] == [content]
    with pytest.raises(RuntimeError), replacing_folder(target) as temporary:
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [target]


def test_fingerprints_tell_bytes_apart() -> None:
    assert fingerprint(b"a") == fingerprint(b"a") != fingerprint(b"b")
    assert len(fingerprint(b"")) == 32
