"""What every photo source gives: its shards, where each photo's bytes lie, labels and ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # modules that run without polars take PhotoLocation from here
    import polars as pl

SPLITS = ("train", "index", "query")


@dataclass(frozen=True, slots=True)
class PhotoLocation:
    """Where a photo's bytes lie: `size` bytes from `offset` of `path`, the photo itself or a TAR."""

    image_id: str
    path: str
    offset: int
    size: int


class PhotoSource(Protocol):
    """A place that photos come from. Every method raises InputError when the place is not as it must be."""

    def check(self) -> None:
        """Raise InputError unless every split is as it must be; nothing is fetched or remembered."""
        ...

    def shards(self, split: str) -> list[str]:
        """Return the keys of the split's shards, in order; keys stay valid while photos are added."""
        ...

    def locations(self, split: str, shard: str) -> list[PhotoLocation]:
        """Return the shard's photos sorted by image id, after fetching what is not on this machine yet.

        A photo known to the source but no longer there is listed too, and is found unreadable when read.
        """
        ...

    def version(self, split: str, shard: str) -> str:
        """Return a text that changes when the shard's photos may have changed; no photo is read for it."""
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
