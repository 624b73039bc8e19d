"""The photo source resource: where photos, labels and ground truth come from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from landmark_dag.errors import InputError
from landmark_dag.photos.folder import FolderSource
from landmark_dag.photos.source import PhotoSource
from landmark_dag.settings.home import shared_location
from landmark_dag.settings.keys import flattened, with_values
from landmark_dag.storage.secrets import refuse_secrets
from landmark_dag.storage.shared_location import SharedLocation

_SHARDS = "shards"


@dataclass(frozen=True)
class SharedFolderSource(FolderSource):
    """A folder that every machine sees; the record of its shards is at a shared location."""

    location: SharedLocation

    def shards(self, split: str) -> list[str]:
        """Return the keys of the split's shards; new photos get a shard first, which is shared with every machine."""
        listed = super().shards(split)
        self.location.sync_folder(_SHARDS)
        return listed


class PhotoSourceResource(dg.ConfigurableResource):
    """A folder of photos, or a dataset in the layout of the Google Landmarks Dataset v2."""

    photos: str = Field(description="folder with train/, index/ and query/; or the root URL of a dataset")
    photos_per_shard: int = Field(description="photos in a full shard of a folder")
    dataset: dict[str, Any] = Field(default={}, description="settings of a dataset: the fields of Gldv2Settings")
    home: str = Field(description="folder for the record of the shards and for downloads")

    def source(self) -> PhotoSource:
        """Return the source; raises InputError when no photos are set, or the settings of the dataset are wrong."""
        if not self.photos:
            raise InputError(
                "No photos are set: run `landmark-dag run --photos DIR`, or set LANDMARK_PHOTOS to the folder."
            )
        return photo_source(self.photos, self.photos_per_shard, self.dataset, Path(self.home))

    def names_landmarks(self) -> bool:
        """Whether ground truth and submissions name landmarks, as those of a folder do; a dataset's use numbers."""
        return "://" not in self.photos

    def published_clean(self) -> Path:
        """Return the dataset's train_clean.csv; raises InputError if the photos are a folder."""
        from landmark_dag.photos.gldv2 import Gldv2Source

        source = self.source()
        if not isinstance(source, Gldv2Source):
            raise InputError(f"{self.photos} has no published cleaned dataset; set `published` to false.")
        return source.metadata("train_clean")


def photo_source(photos: str, photos_per_shard: int, dataset: Mapping[str, Any], home: Path) -> PhotoSource:
    """Return the source that `photos` names: a dataset if it is a URL, otherwise a folder.

    The record of which photo of a folder is in which shard is kept in `home`, or at its shared location if it has one.
    """
    from landmark_dag.photos.gldv2 import Gldv2Source
    from landmark_dag.settings.photos import Gldv2Settings

    if "://" not in photos:
        if location := shared_location(home):
            location.sync_folder(_SHARDS)
            return SharedFolderSource(Path(photos), photos_per_shard, location.copies / _SHARDS, location)
        return FolderSource(Path(photos), photos_per_shard, home / _SHARDS)
    refuse_secrets(photos)
    settings = with_values(Gldv2Settings(base_url=photos), flattened(dataset, Gldv2Settings))
    return Gldv2Source(settings, home / "downloads")
