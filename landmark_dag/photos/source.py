"""What every photo source offers: its shards, the places of its photos, labels and ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # modules that run without polars import PhotoLocation from here
    import polars as pl

SPLITS = ("train", "index", "query")


@dataclass(frozen=True, slots=True)
class PhotoLocation:
    """Where a photo's bytes are: `size` bytes from byte `offset` of the file `path`, a photo or a TAR."""

    image_id: str
    path: str
    offset: int
    size: int


class PhotoSource(Protocol):
    """A source of photos. Every method raises InputError when the source is not valid."""

    def check(self) -> None:
        """Raise InputError unless every split is valid; nothing is fetched or written."""
        ...

    def shards(self, split: str) -> list[str]:
        """Return the keys of the split's shards, in order; a key stays valid when photos are added."""
        ...

    def locations(self, split: str, shard: str) -> list[PhotoLocation]:
        """Return the shard's photos sorted by image id; what is not on this machine is fetched first.

        A photo that the source knows but no longer has is listed, too, and is unreadable when it is read.
        """
        ...

    def version(self, split: str, shard: str) -> str:
        """Return a text that changes when the shard's photos may have changed; no photo is read."""
        ...

    def labels(self) -> pl.DataFrame:
        """Return the labels of the train photos (schemas.LABELS), sorted by image id."""
        ...

    def retrieval_ground_truth(self) -> Path | None:
        """Return the retrieval solution file in the GLDv2 format, or None where there is none."""
        ...

    def recognition_ground_truth(self) -> Path | None:
        """Return the recognition solution file in the GLDv2 format, or None where there is none."""
        ...
