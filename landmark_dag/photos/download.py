"""Downloading files: an interrupted download resumes where it stopped, and a file gets its name when it is complete."""

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

from landmark_dag.errors import InputError
from landmark_dag.settings.photos import DownloadSettings
from landmark_dag.storage.atomic import lock_beside
from landmark_dag.storage.secrets import without_secrets

_log = logging.getLogger(__name__)
_CHUNK = 1 << 16
WRITTEN_AT_ONCE = 1 << 18
"""Bytes of a write. The page cache holds a file that is written in larger pieces in larger pages; photos are read from
it a third faster than from a file written 64 KiB at a time."""
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class DownloadError(InputError):
    """A file could not be fetched."""


class NotOnServer(DownloadError):
    """The server has no such file."""


class _TryAgain(Exception):
    """An attempt failed, and another may succeed; `wait_seconds` is the wait that the server asked for."""

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


def _without_secrets(error: Exception) -> ConnectionError:
    """Return an error with the message of `error`, without the secrets of URLs."""
    return ConnectionError(without_secrets(str(error)) or type(error).__name__)


@dataclass(frozen=True)
class _Answer:
    """Bytes of a file from `start` on; `total` is the size of the whole file, None if the server does not send it."""

    start: int
    total: int | None
    chunks: Iterator[bytes]


def fetch(url: str, target: Path, settings: DownloadSettings, md5: str | None = None) -> Path:
    """Download `url` to `target`, and return `target`; an existing `target` is kept as it is.

    The bytes are written to `<target>.part` first. With `md5` the file is checked, and the part of an earlier process
    is resumed. Without it nothing shows whether such a part is of the same file, and the download starts from the
    beginning. Processes that download the same file wait for each other.

    Raises NotOnServer if the server has no such file. Raises DownloadError if the server refuses, does not answer in
    all retries, or the complete file has another md5 sum; the part is kept then, so that the sum can be accepted
    without another download.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with lock_beside(target):
            if not target.exists():
                _fetch_part(url, part, settings, md5)
                with part.open("rb") as whole:
                    os.fsync(whole.fileno())
                part.replace(target)
    except OSError as error:
        raise DownloadError(f"{part} cannot be written: {error.strerror}; make room and run again.") from error
    return target


def fetch_text(url: str, settings: DownloadSettings) -> str:
    """Return the text of the small file at `url`. Raises what `fetch` raises."""
    with tempfile.TemporaryDirectory() as folder:
        return fetch(url, Path(folder, "text"), settings).read_text(encoding="utf-8", errors="replace")


def md5_of(path: Path) -> str:
    """Return the md5 sum of a file, 32 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _fetch_part(url: str, part: Path, settings: DownloadSettings, md5: str | None) -> None:
    """Download the complete file to `part`, and check it."""
    if md5 is None:
        part.unlink(missing_ok=True)
    resumed = part.exists()
    started = time.monotonic()
    _log.info("fetching %s%s", url, f" from byte {part.stat().st_size}" if resumed else "")
    _fill(url, part, settings)
    if md5 is not None:
        found = md5_of(part)
        if found != md5 and resumed:  # the old part may be of another version of the file
            part.unlink()
            _fill(url, part, settings)
            found = md5_of(part)
        if found != md5:
            raise DownloadError(
                f"{url} has the md5 sum {found}, expected is {md5}; fetch it again later, or if you trust "
                f"this file, set its accepted_md5 to {found}."
            )
    _log.info("fetched %s: %d bytes in %.1f s", url, part.stat().st_size, time.monotonic() - started)


def _fill(url: str, part: Path, settings: DownloadSettings) -> None:
    """Append to `part` until it is complete; after an attempt that adds nothing, wait twice as long as before."""
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
    """Make one attempt to append what `part` lacks; raises _TryAgain if it is not complete then."""
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
    """Request the file from `offset` on from an HTTP server, following redirects."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=settings.timeout_seconds) as response:
            yield _read_status(response, url, offset)
    except (requests.exceptions.InvalidURL, requests.exceptions.TooManyRedirects) as error:
        raise DownloadError(f"{url} cannot be fetched: {without_secrets(str(error))}; correct the base URL.") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        cause = _without_secrets(error)
        raise _TryAgain(str(cause)) from cause


def _read_status(response: requests.Response, url: str, offset: int) -> _Answer:
    """Return the answer that status line and headers announce, or raise the error that they mean."""
    status, line = response.status_code, f"{response.status_code} {response.reason}"
    length = response.headers.get("Content-Length", "")
    chunks = response.raw.stream(_CHUNK, decode_content=False)
    if status == 200:
        return _Answer(0, int(length) if length.isdigit() else None, chunks)
    extent = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
    total = int(extent[2]) if extent and extent[2] != "*" else None
    if status == 206 and extent and extent[1] and int(extent[1]) <= offset:
        return _Answer(int(extent[1]), total, chunks)
    if status == 416 and total is not None:  # the file has no bytes from `offset` on
        return _Answer(offset if offset == total else 0, total, iter(()))
    if status in (404, 410):
        raise NotOnServer(f"{url} does not exist on the server ({line}); check the base URL.")
    if status in _BUSY or status in (206, 416):
        asked = response.headers.get("Retry-After", "")
        raise _TryAgain(f"the server answered {line}", float(asked) if asked.isdigit() else 0.0)
    raise DownloadError(f"{url} cannot be fetched: the server answered {line}; check the base URL and your access.")


@contextlib.contextmanager
def _fsspec_answer(url: str, offset: int, settings: DownloadSettings) -> Iterator[_Answer]:
    """Open a file of any other kind of URL (s3://, gs://, memory://) from `offset` on."""
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        total = int(filesystem.size(path))
        remote = filesystem.open(path, "rb")
    except FileNotFoundError:
        raise NotOnServer(f"{url} does not exist; check the base URL.") from None
    except (ImportError, ValueError, PermissionError) as error:
        raise DownloadError(f"{url} cannot be fetched: {without_secrets(str(error))}.") from None
    except OSError as error:
        cause = _without_secrets(error)
        raise _TryAgain(str(cause)) from cause
    with remote:
        start = offset if offset <= total else 0
        yield _Answer(start, total, _pieces(remote, start))


def _pieces(remote: BinaryIO, start: int) -> Iterator[bytes]:
    """Yield the bytes of `remote` from `start` on."""
    try:
        remote.seek(start)
        while piece := remote.read(_CHUNK):
            yield piece
    except OSError as error:
        cause = _without_secrets(error)
        raise _TryAgain(str(cause)) from cause


def _check_room(part: Path, needed: int) -> None:
    """Raise DownloadError if the disk has less than `needed` bytes free."""
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise DownloadError(
            f"{part.parent} has {free} bytes free, the download needs {needed}; make room and run again."
        )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
