"""Writing files and folders so that a reader sees the whole of one or nothing of it, and locks between processes."""

import contextlib
import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

_UNFINISHED = ".tmp"


def lock_beside(path: Path) -> FileLock:
    """Return the lock of `path`, a hidden file beside it, for a `with` statement.

    One process of this machine holds it, others wait. It ends with its process.
    """
    return FileLock(path.with_name(f".{path.name}.lock"))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, what was written there replaces `path`.

    The file is synced to disk first. If the block raises, the temporary file is removed and `path` keeps what it
    held. A killed process leaves its temporary file; the next process that writes `path` removes it.
    """
    with _temporary(path, lambda file: file.touch(exist_ok=False)) as temporary:
        yield temporary
        _sync(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`; when the block ends well, it replaces `folder`.

    As `replacing`, except that a folder that exists is moved aside first: for a moment there is none.
    """
    with _temporary(folder, Path.mkdir) as temporary:
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        temporary.chmod(0o755)
        replaced = temporary.with_suffix(f".replaced{_UNFINISHED}")
        if folder.exists():
            folder.rename(replaced)
        temporary.rename(folder)
        _remove(replaced)


def remove_unfinished(path: Path) -> None:
    """Remove the temporary files and folders that killed processes left beside `path`.

    Those of live processes are locked, and stay.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{_UNFINISHED}"):
        with contextlib.suppress(OSError):
            handle = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(left)
            finally:
                os.close(handle)


@contextlib.contextmanager
def _temporary(path: Path, create: Callable[[Path], None]) -> Iterator[Path]:
    """Yield a new file or folder beside `path`, locked until the block ends; if it is still there, it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(path)
    handle, temporary = _create_locked(path, create)
    try:
        yield temporary
    finally:
        _remove(temporary)
        os.close(handle)


def _create_locked(path: Path, create: Callable[[Path], None]) -> tuple[int, Path]:
    """Create a temporary file or folder beside `path`; return the descriptor that locks it while open, and its path.

    The lock is on the temporary itself, which a FileLock cannot do: it locks no folders, and a lock file of its own
    would be left by a process that is killed just after the rename.
    """
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_UNFINISHED}")
        create(temporary)
        try:
            handle = os.open(temporary, os.O_RDONLY)
        except FileNotFoundError:  # another process removed it, since it was not locked yet
            continue
        except OSError:
            temporary.rmdir() if temporary.is_dir() else temporary.unlink()
            raise
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if temporary.exists():  # again, another process may have removed it before it was locked
            return handle, temporary
        os.close(handle)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _remove(temporary: Path) -> None:
    shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink(missing_ok=True)
