"""Writing files so that a reader sees the whole of one or nothing of it, and fingerprints of bytes."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from landmark_dag.errors import InputError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit it is synced and renamed over `path`.

    A failure inside the block removes the temporary file and leaves whatever `path` held before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
