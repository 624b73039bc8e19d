"""The places of the photos in a TAR, found in one pass over its headers, without unpacking it."""

import io
import logging
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from landmark_dag.errors import InputError
from landmark_dag.photos.reading import PHOTO_SUFFIXES
from landmark_dag.photos.source import PhotoLocation

_log = logging.getLogger(__name__)
_LONGEST_HEADER = 1 << 20


def index_tar(path: Path) -> list[PhotoLocation]:
    """Return where the photos of a TAR are, in the order of the file; the image id is the stem of the member's name.

    Only headers are read. Members whose ending is not a photo's are skipped. Links, devices, sparse files, members
    whose name is absolute, leads out of the TAR or is not UTF-8, and further photos with an id that was found before
    are skipped with a warning. Where a TAR is damaged or ends too early, the bytes after the last whole photo are
    listed as one more photo, whose id tells that; it is unreadable when it is read.

    Raises InputError when the file is not a TAR or holds no photo.
    """
    found: dict[str, PhotoLocation] = {}
    odd: list[str] = []
    size = path.stat().st_size
    end = 0
    try:
        for member in _members(path):
            name = PurePosixPath(member.name)
            if member.isdir() or name.suffix.lower() not in PHOTO_SUFFIXES or name.name.startswith("."):
                continue
            if _is_odd(member, name) or name.stem in found:
                odd.append(member.name)
                continue
            if member.offset_data + member.size > size:
                raise InputError(f"{path} ends within its member {member.name[:100]!r}; fetch it again.")
            found[name.stem] = PhotoLocation(name.stem, str(path), member.offset_data, member.size)
            end = member.offset_data + member.size
    except InputError as error:
        if not found:
            raise
        _log.warning("%s", error)
        rest = f"{path.name} broken from byte {end}"
        found[rest] = PhotoLocation(rest, str(path), end, size - end + 1)
    if odd:
        _log.warning("%s: skipped %d odd members, the first is %.100r", path, len(odd), odd[0])
    if not found:
        raise InputError(f"{path} holds no photo; check that it is one of the dataset's TARs.")
    return list(found.values())


def _is_odd(member: tarfile.TarInfo, name: PurePosixPath) -> bool:
    """Return whether a member is not a plain file inside the TAR, or has a name that no table can hold."""
    try:
        member.name.encode()
    except UnicodeEncodeError:
        return True
    return not member.isreg() or member.issparse() or name.is_absolute() or ".." in name.parts


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of a TAR; sizes in them are not trusted."""
    try:
        with (
            _HeaderReader(path) as file,
            tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar,
        ):
            for member in tar:
                if member.size < 0:
                    raise tarfile.ReadError(f"the member {member.name!r} claims {member.size} bytes")
                yield member
            if file.last_read != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"no header and no end mark at byte {tar.offset}")
    except (tarfile.TarError, UnicodeError, OverflowError) as error:
        raise InputError(f"{path} is not a whole TAR: {error}; fetch it again.") from error


class _HeaderReader(io.FileIO):
    """A file from which only headers can be read, front to back; what a false header asks for is refused."""

    last_read = b""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most `size` bytes; they are also kept as `last_read`."""
        if size is None or not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        self.last_read = super().read(size) or b""
        return self.last_read

    def seek(self, position: int, whence: int = 0, /) -> int:
        """Go to `position`, but not back: a TAR whose headers lead back would never end."""
        if position < self.tell() - 1:
            raise tarfile.ReadError(f"a header at byte {self.tell()} leads back to {position}")
        return super().seek(position, whence)
