"""The photo source resource: where photos, labels and ground truth come from."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from landmark_dag.errors import InputError
from landmark_dag.photos.source import PhotoSource


class PhotoSourceResource(dg.ConfigurableResource):
    """A folder of photos of one's own, cut into shards."""

    photos: str = Field(description="folder with train/, index/, query/ and perhaps ground_truth/")
    photos_per_shard: int = Field(description="photos in a full shard")
    memory: str = Field(description="folder that remembers which photo belongs to which shard")

    def source(self) -> PhotoSource:
        """Return the source; raises InputError when no photos are set or the folder is not as it must be."""
        from landmark_dag.photos.folder import FolderSource

        if not self.photos:
            raise InputError(
                "No photos are set: run `landmark-dag run --photos DIR`, or set LANDMARK_PHOTOS to the folder."
            )
        return FolderSource(Path(self.photos), self.photos_per_shard, Path(self.memory))
