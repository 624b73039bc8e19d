"""Storage that fails: an fsspec file system over a folder that raises EIO and cuts copies short, chosen by a seed."""

import errno
import os
import random
from pathlib import Path
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

PROTOCOL = "faulty"


class FaultyFileSystem(LocalFileSystem):  # type: ignore[misc]
    """The folder that follows faulty://; a share of its operations fails.

    A copy that fails writes a random part of the file; half of these copies raise no error.
    """

    protocol = PROTOCOL
    share: ClassVar[float] = 0.0
    chance: ClassVar[random.Random] = random.Random(0)
    failed: ClassVar[int] = 0

    @classmethod
    def fail(cls, share: float, seed: int) -> None:
        """Let a share (0 to 1) of the operations fail from now on."""
        cls.share, cls.chance, cls.failed = share, random.Random(seed), 0

    @classmethod
    def _fails(cls) -> bool:
        fails = cls.chance.random() < cls.share
        cls.failed += fails
        return fails

    def _answer(self, path: str) -> None:
        if self._fails():
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    def _copy(self, source: str, target: str) -> None:
        data = Path(source).read_bytes()
        fails = self._fails()
        Path(target).write_bytes(data[: self.chance.randrange(len(data))] if fails and data else data)
        if fails and (not data or self.chance.random() < 0.5):
            raise OSError(errno.EIO, os.strerror(errno.EIO), source)

    def info(self, path: Any, **kwargs: Any) -> Any:
        if not isinstance(path, os.DirEntry):  # an entry of a listing, which has succeeded already
            self._answer(path)
        return super().info(path, **kwargs)

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        self._answer(path1)
        super().mv(path1, path2, **kwargs)

    def get_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        self._copy(self._strip_protocol(path1), path2)

    def put_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        self._copy(path1, self._strip_protocol(path2))


fsspec.register_implementation(PROTOCOL, FaultyFileSystem, clobber=True)
