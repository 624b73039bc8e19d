"""The manifest of a shard: every photo read once, fingerprinted and tried, the unreadable ones set apart."""

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.photos.reading import UnreadablePhoto, photo_size, read_bytes
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.storage.hashing import fingerprint
from landmark_dag.storage.schemas import MANIFEST, UNREADABLE


@dataclass(frozen=True)
class ManifestChanges:
    """Image ids, sorted, in which a shard's manifest differs from the one before."""

    added: list[str]
    removed: list[str]
    replaced: list[str]

    def __bool__(self) -> bool:
        """Tell whether there is any change."""
        return bool(self.added or self.removed or self.replaced)


def build_manifest(locations: Sequence[PhotoLocation], threads: int = 4) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the shard's manifest (schemas.MANIFEST) and its unreadable photos (schemas.UNREADABLE).

    Each photo's bytes are read once, in the order in which they lie on disk, and at most `threads` photos
    are held at a time. Both frames are sorted by image id and do not depend on `threads`.
    """
    as_they_lie = sorted(locations, key=lambda location: (location.path, location.offset))
    with ThreadPoolExecutor(max_workers=threads) as pool:
        findings = list(pool.map(_examine, as_they_lie))
    readable, unreadable = [], []
    for location, finding in zip(as_they_lie, findings, strict=True):
        if isinstance(finding, str):
            unreadable.append((*astuple(location), finding))
        else:
            readable.append((*astuple(location), *finding))
    return (
        pl.DataFrame(readable, schema=MANIFEST.schema, orient="row").sort("image_id"),
        pl.DataFrame(unreadable, schema=UNREADABLE.schema, orient="row").sort("image_id"),
    )


def locations_of(manifest: pl.DataFrame) -> list[PhotoLocation]:
    """Return where the photos of a manifest (schemas.MANIFEST) lie, in its order.

    Raises InputError, naming this machine, when it has none of their files: the manifest was made on another.
    """
    locations = [PhotoLocation(*row) for row in manifest.select("image_id", "path", "offset", "size").iter_rows()]
    if locations and not any(Path(location.path).exists() for location in locations):
        raise InputError(
            f"The machine {socket.gethostname()} has none of the files of these {len(locations)} photos, such as "
            f"{locations[0].path}; mount the photos there at the same path as where they were listed, and run again."
        )
    return locations


def manifest_changes(before: pl.DataFrame, after: pl.DataFrame) -> ManifestChanges:
    """Compare two manifests of one shard: which photos came, went, or have other bytes under their id."""
    old = dict(before.select("image_id", "fingerprint").iter_rows())
    new = dict(after.select("image_id", "fingerprint").iter_rows())
    return ManifestChanges(
        added=sorted(new.keys() - old.keys()),
        removed=sorted(old.keys() - new.keys()),
        replaced=sorted(image_id for image_id in old.keys() & new.keys() if old[image_id] != new[image_id]),
    )


def _examine(location: PhotoLocation) -> tuple[int, int, str] | str:
    """Return the photo's width, height and fingerprint, or the reason why it cannot be used."""
    try:
        data = read_bytes(location.path, location.offset, location.size)
        width, height = photo_size(data)
    except UnreadablePhoto as error:
        return str(error)
    return width, height, fingerprint(data)
