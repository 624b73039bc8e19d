"""Files and folders appear whole or not at all, and what killed processes left is removed."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from filelock import Timeout

from landmark_dag.storage.atomic import lock_beside, replacing, replacing_folder


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

    with monkeypatch.context() as patch, pytest.raises(OSError, match="Input/output error"):
        patch.setattr(os, "open", failing)
        with replace(tmp_path / "results"):
            pass
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from landmark_dag.storage import atomic
with atomic.replacing(Path(sys.argv[1])) as file, atomic.replacing_folder(Path(sys.argv[1])) as folder:
    file.write_text("half")
    (folder / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_and_what_a_live_one_writes_stays(tmp_path: Path) -> None:
    target = tmp_path / "file[1]"
    for name in ("file[1]", "another"):
        killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / name], check=False)
        assert killed.returncode == -signal.SIGKILL
    not_ours = {path.name for path in tmp_path.iterdir() if path.name.startswith(".another.")}
    assert len(not_ours) == 2 and len(list(tmp_path.iterdir())) == 4  # a file and a folder of each
    with replacing(target) as first:
        first.write_text("first")
        with replacing(target) as second:
            assert first.exists()
            second.write_text("second")
        assert target.read_text() == "second"
    assert target.read_text() == "first"
    assert {path.name for path in tmp_path.iterdir()} == {"file[1]"} | not_ours


KILLED_BETWEEN_RENAMES = """
import os, signal, sys
from pathlib import Path
from landmark_dag.storage import atomic
def rename(path, target):
    os.rename(path, target)
    os.kill(os.getpid(), signal.SIGKILL)
Path.rename = rename
with atomic.replacing_folder(Path(sys.argv[1])):
    pass
"""


def test_a_folder_that_a_killed_process_moved_aside_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "weights").write_text("old")
    subprocess.run([sys.executable, "-c", KILLED_BETWEEN_RENAMES, target], check=False)
    assert [path.read_text() for path in tmp_path.rglob("weights")] == ["old"] and not target.exists()
    with replacing_folder(target) as temporary:
        (temporary / "weights").write_text("new")
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*")] == [Path("model"), Path("model/weights")]


def test_a_second_process_waits_for_the_lock_beside_a_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    with lock_beside(path), pytest.raises(Timeout):
        lock_beside(path).acquire(timeout=0.01)
    with lock_beside(path).acquire(timeout=0):
        pass


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
