"""Fetching files from a server: resumed after an interruption, checked, and moved into place only when whole."""

import contextlib
import hashlib
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import fsspec
import requests
import urllib3
from filelock import FileLock

from landmark_dag.errors import InputError
from landmark_dag.settings.photos import DownloadSettings
from landmark_dag.storage.secrets import without_secrets

_log = logging.getLogger(__name__)
_CHUNK = 1 << 16
WRITTEN_AT_ONCE = 1 << 18
"""Bytes that are collected before they are written: the page cache holds a file that is written in larger pieces in
larger pages, from which photos are read a third faster than from a file written 64 KiB at a time."""
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class DownloadError(InputError):
    """A file could not be fetched."""


class NotOnServer(DownloadError):
    """The server has no file of that name."""


class _TryAgain(Exception):
    """An attempt failed in a way that may pass; `wait_seconds` is what the server asked for."""

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


def _told(error: Exception) -> ConnectionError:
    """Return an error that says what `error` does, without the signatures of URLs."""
    return ConnectionError(without_secrets(str(error)) or type(error).__name__)


@dataclass(frozen=True)
class _Answer:
    """Bytes of a file from `start` on; `total` is the whole file's size where the server tells it."""

    start: int
    total: int | None
    chunks: Iterator[bytes]


def fetch(url: str, target: Path, settings: DownloadSettings, md5: str | None = None) -> Path:
    """Fetch the file at `url` to `target`, unless it exists, and return `target`.

    Bytes are collected in `<target>.part`. With `md5` the file is checked, and the part of an interrupted process is
    resumed. Without `md5` a stale part cannot be recognised, so the file is fetched from its beginning. Processes that
    fetch the same file wait for each other.

    Raises NotOnServer; DownloadError when the server refuses, stays unreachable in all retries, or when the whole file
    has another md5 sum (the part is then kept, so that the sum can be accepted without fetching it again).
    """
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.exists():
                _fetch_part(url, part, settings, md5)
                with part.open("rb") as whole:
                    os.fsync(whole.fileno())
                part.replace(target)
    except OSError as error:
        raise DownloadError(f"{part} cannot be written: {error.strerror}; make room and run again.") from error
    return target


def fetch_text(url: str, settings: DownloadSettings) -> str:
    """Return the text of the small file at `url`. Raises what fetch raises."""
    with tempfile.TemporaryDirectory() as folder:
        return fetch(url, Path(folder, "text"), settings).read_text(encoding="utf-8", errors="replace")


def md5_of(path: Path) -> str:
    """Return the md5 sum of a file, 32 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _fetch_part(url: str, part: Path, settings: DownloadSettings, md5: str | None) -> None:
    """Fill `part` with the whole file and check it."""
    if md5 is None:
        part.unlink(missing_ok=True)
    resumed = part.exists()
    started = time.monotonic()
    _log.info("fetching %s%s", url, f" from byte {part.stat().st_size}" if resumed else "")
    _fill(url, part, settings)
    if md5 is not None:
        found = md5_of(part)
        if found != md5 and resumed:  # the resumed half may have been another version's
            part.unlink()
            _fill(url, part, settings)
            found = md5_of(part)
        if found != md5:
            raise DownloadError(
                f"{url} has the md5 sum {found}, expected is {md5}; fetch it again later, or if you trust "
                f"what came, set accepted_md5 of this file to {found}."
            )
    _log.info("fetched %s: %d bytes in %.1f s", url, part.stat().st_size, time.monotonic() - started)


def _fill(url: str, part: Path, settings: DownloadSettings) -> None:
    """Append to `part` until it is whole, trying again with growing waits while the server fails."""
    failures = 0
    while True:
        before = _size(part)
        try:
            return _append(url, part, settings)
        except _TryAgain as error:
            failures = 0 if _size(part) > before else failures + 1
            if failures > settings.retries:
                raise DownloadError(
                    f"{url} could not be fetched in {failures} attempts: {error}; run again to resume at "
                    f"byte {_size(part)}."
                ) from error
            wait = min(settings.longest_wait_seconds, settings.backoff_seconds * 2 ** max(failures - 1, 0))
            wait = max(wait, min(settings.longest_wait_seconds, error.wait_seconds))
            _log.warning("%s: %s; next attempt in %.1f s", url, error, wait)
            time.sleep(wait)


def _append(url: str, part: Path, settings: DownloadSettings) -> None:
    """Make one attempt to add what `part` lacks; raises _TryAgain when it is not whole after that."""
    answering = _http_answer if url.startswith(("http://", "https://")) else _fsspec_answer
    with answering(url, _size(part), settings) as answer, part.open("ab", buffering=WRITTEN_AT_ONCE) as file:
        file.truncate(answer.start)
        if answer.total is not None:
            _check_room(part, answer.total - answer.start)
        for chunk in answer.chunks:
            file.write(chunk)
    if answer.total is not None and _size(part) < answer.total:
        raise _TryAgain(f"the server stopped after {_size(part)} of {answer.total} bytes")
    if answer.total is not None and _size(part) > answer.total:
        part.unlink()
        raise _TryAgain(f"the server sent more than the {answer.total} bytes it announced")


@contextlib.contextmanager
def _http_answer(url: str, offset: int, settings: DownloadSettings) -> Iterator[_Answer]:
    """Ask an HTTP server for the file from `offset` on; redirects are followed."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=settings.timeout_seconds) as response:
            yield _read_status(response, url, offset)
    except (requests.exceptions.InvalidURL, requests.exceptions.TooManyRedirects) as error:
        raise DownloadError(f"{url} cannot be fetched: {without_secrets(str(error))}; correct the base URL.") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        told = _told(error)
        raise _TryAgain(str(told)) from told


def _read_status(response: requests.Response, url: str, offset: int) -> _Answer:
    """Turn the status line and headers into an answer, or into the fitting error."""
    status, told = response.status_code, f"{response.status_code} {response.reason}"
    length = response.headers.get("Content-Length", "")
    chunks = response.raw.stream(_CHUNK, decode_content=False)
    if status == 200:
        return _Answer(0, int(length) if length.isdigit() else None, chunks)
    extent = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
    total = int(extent[2]) if extent and extent[2] != "*" else None
    if status == 206 and extent and extent[1] and int(extent[1]) <= offset:
        return _Answer(int(extent[1]), total, chunks)
    if status == 416 and total is not None:  # nothing lies beyond `offset`
        return _Answer(offset if offset == total else 0, total, iter(()))
    if status in (404, 410):
        raise NotOnServer(f"{url} does not exist on the server ({told}); check the base URL.")
    if status in _BUSY or status in (206, 416):
        asked = response.headers.get("Retry-After", "")
        raise _TryAgain(f"the server answered {told}", float(asked) if asked.isdigit() else 0.0)
    raise DownloadError(f"{url} cannot be fetched: the server answered {told}; check the base URL and your access.")


@contextlib.contextmanager
def _fsspec_answer(url: str, offset: int, settings: DownloadSettings) -> Iterator[_Answer]:
    """Open a file of any other kind of root (s3://, gs://, memory://) from `offset` on."""
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        total = int(filesystem.size(path))
        remote = filesystem.open(path, "rb")
    except FileNotFoundError:
        raise NotOnServer(f"{url} does not exist; check the base URL.") from None
    except (ImportError, ValueError, PermissionError) as error:
        raise DownloadError(f"{url} cannot be fetched: {without_secrets(str(error))}.") from None
    except OSError as error:
        told = _told(error)
        raise _TryAgain(str(told)) from told
    with remote:
        start = offset if offset <= total else 0
        yield _Answer(start, total, _pieces(remote, start))


def _pieces(remote: BinaryIO, start: int) -> Iterator[bytes]:
    """Yield what `remote` holds from `start` on."""
    try:
        remote.seek(start)
        while piece := remote.read(_CHUNK):
            yield piece
    except OSError as error:
        told = _told(error)
        raise _TryAgain(str(told)) from told


def _check_room(part: Path, needed: int) -> None:
    """Fail before the disk is full rather than after."""
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise DownloadError(
            f"{part.parent} has {free} bytes free, the download needs {needed}; make room and run again."
        )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
