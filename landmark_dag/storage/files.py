"""Writing files so that a reader sees the whole of one or nothing of it, and fingerprints of bytes."""

import contextlib
import fcntl
import glob
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from landmark_dag.errors import InputError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit it is synced and renamed over `path`.

    A failure inside the block removes the temporary file and leaves whatever `path` held before. What a process
    that was killed left behind is removed by the next that writes `path`; that of one still at work is not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(path)
    handle, temporary = _locked(lambda prefix: _temporary_file(path.parent, prefix), path)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`; on a clean exit its files are synced and it is renamed over `folder`.

    See `replacing`. A folder that is there is moved aside first: for a moment there is none.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder)
    handle, temporary = _locked(lambda prefix: tempfile.mkdtemp(".tmp", prefix, folder.parent), folder)
    try:
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        temporary.chmod(0o755)
        if folder.exists():
            aside = Path(tempfile.mkdtemp(".tmp", f".{folder.name}.", folder.parent))
            folder.rename(aside / folder.name)
        temporary.rename(folder)
    finally:
        os.close(handle)
        remove_unfinished(folder)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let no other process of this machine be in such a block for `path`; a later one waits.

    The lock is a hidden file beside `path`, and ends with the process. On a file system without locks nobody waits.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove_unfinished(path: Path) -> None:
    """Remove what killed processes left beside `path`; what a live one is at work on is locked, and stays."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):
            handle = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            finally:
                os.close(handle)


def _locked(make: Callable[[str], str], path: Path) -> tuple[int, Path]:
    """Return a new temporary file or folder beside `path`, and the handle that locks it while this process lives."""
    while True:
        temporary = Path(make(f".{path.name}."))
        try:
            handle = os.open(temporary, os.O_RDONLY)
        except FileNotFoundError:  # another process has taken it for one left behind
            continue
        except OSError:
            temporary.rmdir() if temporary.is_dir() else temporary.unlink(missing_ok=True)
            raise
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if temporary.exists():  # until it was locked, it may have been taken so, too
            return handle, temporary
        os.close(handle)


def _temporary_file(folder: Path, prefix: str) -> str:
    handle, name = tempfile.mkstemp(".tmp", prefix, folder)
    os.close(handle)
    return name


def fingerprint(data: bytes | memoryview) -> str:
    """Return the 32-digit hexadecimal BLAKE2b fingerprint (128 bits) of `data`."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def folder_fingerprint(folder: Path) -> str:
    """Return the fingerprint of the names and bytes of all files in `folder`, not in its folders.

    Raises InputError when there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; name the folder of a trained model.")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return fingerprint("".join(f"{path.name} {fingerprint(path.read_bytes())}\n" for path in files).encode())
