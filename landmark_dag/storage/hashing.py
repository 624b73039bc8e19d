"""The hash function of the project, and the fingerprints of files, folders, settings and tables by it."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_dag.errors import InputError

if TYPE_CHECKING:  # bytes are hashed on machines without polars, too
    import polars as pl


def fingerprint(*parts: bytes | memoryview, size: int = 16) -> str:
    """Return the BLAKE2b fingerprint of `parts`, one after the other, as 2 * `size` hexadecimal digits.

    `size` (1 to 64 bytes) enters the hash: a short fingerprint is not the beginning of a long one.
    """
    hashed = hashlib.blake2b(digest_size=size)
    for part in parts:
        hashed.update(part)
    return hashed.hexdigest()


def folder_fingerprint(folder: Path) -> str:
    """Return the fingerprint of the names and bytes of the files directly in `folder`.

    Raises InputError when `folder` is not a folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; name the folder of a trained model.")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return fingerprint(*(f"{path.name} {fingerprint(path.read_bytes())}\n".encode() for path in files))


def digest(content: object) -> str:
    """Return the fingerprint of `content` as JSON with sorted keys; values that JSON does not know become text."""
    return fingerprint(json.dumps(content, sort_keys=True, default=str).encode())


def content_version(frame: "pl.DataFrame") -> str:
    """Return the fingerprint of the columns and values of `frame`, row by row."""
    return fingerprint(frame.write_csv().encode())
