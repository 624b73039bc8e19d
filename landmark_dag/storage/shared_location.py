"""A shared location: files under any URL that fsspec opens, and the copies of them on this machine."""

import errno
import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from landmark_dag.errors import InputError
from landmark_dag.storage.atomic import lock_beside, replacing
from landmark_dag.storage.secrets import refuse_secrets

_WHOLE_OR_NOTHING = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"}
"""Storages where readers see the whole of a file put there or nothing; elsewhere it is put aside and renamed."""

_UNFINISHED = ".tmp"
_IDENTITY = ("ETag", "etag", "mtime", "LastModified", "last_modified", "created")


@dataclass(frozen=True)
class SharedLocation:
    """Files under `url`, which every machine sees, and their copies in the folder `copies`, which this machine sees.

    Names are relative to both, with slashes. copies/.shared records the identity (size and time) of each file when
    shared file and copy last were equal. Credentials come only from the environment, as the URL's fsspec
    implementation reads them.
    """

    url: str
    copies: Path

    def sync(self, names: Iterable[str]) -> None:
        """Make the copies of `names` and the shared files equal.

        A copy that changed since they were equal is shared. A shared file that changed is copied, even if its copy
        changed too. The copy of a file that was removed from the location is removed. Readers see the whole of a
        file or nothing. Raises InputError when the location cannot be reached, refuses the credentials, or does not
        exist.
        """
        for folder, group in groupby(sorted(map(PurePosixPath, names)), key=lambda name: name.parent):
            self._sync(folder, [name.name for name in group])

    def sync_folder(self, folder: str) -> None:
        """Make the copies of all files directly in `folder` and the shared files equal; see `sync`."""
        self._sync(PurePosixPath(folder), None)

    def check(self) -> None:
        """Raise InputError unless the URL's bucket or folder exists and accepts this machine's credentials."""
        with self._explained():
            files, root = self._files
            files.info(root.split("/")[0] if urlsplit(self.url).netloc else root)

    def _sync(self, folder: PurePosixPath, names: list[str] | None) -> None:
        """Sync the files `names` of `folder`, or all of its files if `names` is None."""
        memory = self.copies / ".shared" / folder / "agreed.json"
        with lock_beside(memory), self._explained():
            agreed = json.loads(memory.read_text(encoding="utf-8")) if memory.exists() else {}
            copies = self.copies / folder
            shared = self._shared(folder, names)
            here = _visible(copies) if names is None else names
            up, down = [], []
            for name in sorted({*here, *(shared if names is None else ())}):
                copied = _identity_of_copy(copies / name)
                was_shared, was_copied = agreed.get(name, (None, None))
                if (shared.get(name), copied) == (was_shared, was_copied):
                    continue
                if copied not in (None, was_copied) and shared.get(name) in (None, was_shared):
                    up.append(name)
                elif name in shared:
                    down.append(name)
                else:
                    (copies / name).unlink(missing_ok=True)
                    agreed.pop(name, None)
            if up:
                self._put(folder, up)
                shared |= self._shared(folder, up)
            if down:
                self._get(folder, {name: shared[name] for name in down})
            if up or down:
                agreed |= {name: (shared[name], _identity_of_copy(copies / name)) for name in up + down}
                with replacing(memory) as temporary:
                    temporary.write_text(json.dumps(agreed), encoding="utf-8")

    @cached_property
    def _files(self) -> tuple[Any, str]:
        """The fsspec file system of the URL, and the path in it."""
        import fsspec
        from fsspec.implementations.local import LocalFileSystem

        refuse_secrets(self.url)
        try:
            files, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise InputError(f"{self.url} cannot be opened: {error}; install the package that it names.") from error
        if isinstance(files, LocalFileSystem) and not Path(root).is_dir():
            raise InputError(f"This machine has no folder {root} ({self.url}); mount it or create it.")
        return files, root.rstrip("/")

    def _shared(self, folder: PurePosixPath, names: list[str] | None) -> dict[str, str]:
        """Return the identity of each shared file in `folder` by name: of all, or of those of `names` that exist."""
        files, root = self._files
        try:
            if names is not None and len(names) == 1:
                found = [files.info(f"{root}/{folder / names[0]}")]
            else:
                found = files.ls(f"{root}/{folder}" if folder.name else root, detail=True)
        except FileNotFoundError:
            return {}
        named = {PurePosixPath(info["name"]).name: info for info in found if info["type"] == "file"}
        return {
            name: _identity(info)
            for name, info in named.items()
            if (names is None or name in names) and not name.endswith(_UNFINISHED)
        }

    def _get(self, folder: PurePosixPath, listed: dict[str, str]) -> None:
        """Copy shared files to this machine; `listed` holds their identities a moment ago."""
        files, root = self._files
        names = list(listed)
        with ExitStack() as stack:
            written = [stack.enter_context(replacing(self.copies / folder / name)) for name in names]
            files.get([f"{root}/{folder / name}" for name in names], [str(path) for path in written])
            now = self._shared(folder, names)  # another machine may have written one since
            for name, path in zip(names, written, strict=True):
                if path.stat().st_size != _size(now.get(name)):
                    self._check_whole(folder / name, path.stat().st_size, _size(listed[name]))

    def _put(self, folder: PurePosixPath, names: list[str]) -> None:
        """Share the copies of files."""
        files, root = self._files
        copies = [str(self.copies / folder / name) for name in names]
        targets = [f"{root}/{folder / name}" for name in names]
        kinds = {files.protocol} if isinstance(files.protocol, str) else set(files.protocol)
        if kinds & _WHOLE_OR_NOTHING:
            files.put(copies, targets)
            return
        aside = [f"{target}.{uuid.uuid4().hex}{_UNFINISHED}" for target in targets]
        files.makedirs(f"{root}/{folder}", exist_ok=True)
        try:
            files.put(copies, aside)
            for name, copy, unfinished in zip(names, copies, aside, strict=True):
                self._check_whole(folder / name, files.info(unfinished)["size"], Path(copy).stat().st_size)
            for unfinished, target in zip(aside, targets, strict=True):
                files.mv(unfinished, target)
        except BaseException:
            for unfinished in aside:
                with suppress(Exception):
                    files.rm_file(unfinished)
            raise

    def _check_whole(self, name: PurePosixPath, copied: int, size: int) -> None:
        """Raise InputError unless all `size` bytes of a file were copied: some storages end a copy without an error."""
        if copied != size:
            raise InputError(
                f"Only {copied} of {size} bytes of {self.url}/{name} were copied; run again, and check the storage if "
                "that does not help."
            ) from ConnectionError("a copy was cut short")  # which is retried

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise errors of the block as an InputError of one sentence that does not repeat the storage's message.

        Every implementation of fsspec has its own errors, and their messages may name an account.
        """
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise
            kind, cause = type(error).__name__, None
            bucket = urlsplit(self.url).netloc or self.url
            if isinstance(error, PermissionError) or "Credentials" in kind:
                problem = (
                    f"{self.url} refuses this machine's credentials ({kind}): set credentials that may list, read and "
                    "write it in the environment (for S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
                )
            elif isinstance(error, FileNotFoundError):
                problem = f"There is no bucket or folder {bucket} for {self.url}: create it, or correct the URL"
            else:
                cause = ConnectionError(kind)  # which is retried
                problem = (
                    f"{self.url} cannot be reached ({kind}): check the network and the address (for S3: "
                    "AWS_ENDPOINT_URL)"
                )
            raise InputError(f"{problem}, then run again; what is stored already is kept.") from cause


def _visible(folder: Path) -> list[str]:
    """Return the names of the files directly in `folder`, without hidden ones: locks and temporary files."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return [path.name for path in paths if path.is_file() and not path.name.startswith(".")]


def _identity(info: dict[str, Any]) -> str:
    """Return the identity of a shared file: its size, and its tag or time."""
    return f"{info['size']} {next((info[key] for key in _IDENTITY if info.get(key)), '')}"


def _size(identity: str | None) -> int:
    """Return the size of the file with this identity; 0 for None."""
    return int(identity.split(" ")[0]) if identity else 0


def _identity_of_copy(path: Path) -> str | None:
    """Return the identity of a copy: its size and time; None if there is no copy."""
    if not path.is_file():
        return None
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"
