"""Writing files and folders so that a reader sees the whole of one or nothing of it, and locks between processes."""

import contextlib
import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

# What a write of `name` uses, beside it: .name.TOKEN.tmp, and with these suffixes its lock and the folder it replaces.
_UNFINISHED, _LOCK, _REPLACED = ".tmp", ".lock", ".old"


def lock_beside(path: Path) -> FileLock:
    """Return the lock of `path`, a hidden file beside it, for a `with` statement.

    One process of this machine holds it, others wait. It ends with its process.
    """
    return FileLock(path.with_name(f".{path.name}{_LOCK}"))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, what was written there replaces `path`.

    The file is synced to disk first. If the block raises, the temporary file is removed and `path` keeps what it
    held. A killed process leaves its temporary file; the next process that writes `path` removes it.
    """
    with _temporary(path) as temporary:
        yield temporary
        _sync(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`; when the block ends well, it replaces `folder`.

    As `replacing`, except that a folder that exists is moved aside first: for a moment there is none.
    """
    with _temporary(folder) as temporary:
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        temporary.chmod(0o755)
        if folder.exists():
            folder.rename(_beside(temporary, _REPLACED))
        temporary.rename(folder)


def remove_unfinished(path: Path) -> None:
    """Remove the temporary files and folders that killed processes left beside `path`.

    Those of live processes are locked, and stay.
    """
    for lock in path.parent.glob(f".{glob.escape(path.name)}.*{_UNFINISHED}{_LOCK}"):
        with contextlib.suppress(Timeout, OSError), FileLock(lock, timeout=0):
            _remove(lock.with_suffix(""))


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Yield a new name beside `path`, locked until the block ends; what is left there then is removed.

    The lock comes before the file, so that no other process takes the file for one that was left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_UNFINISHED}")
    with FileLock(_beside(temporary, _LOCK)):
        try:
            yield temporary
        finally:
            _remove(temporary)


def _beside(temporary: Path, suffix: str) -> Path:
    return temporary.with_name(temporary.name + suffix)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _remove(temporary: Path) -> None:
    """Remove a temporary file or folder with all that belongs to it, the lock last."""
    for left in (temporary, _beside(temporary, _REPLACED), _beside(temporary, _LOCK)):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)
