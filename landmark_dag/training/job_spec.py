"""The job spec of a training: the files from which the processes that train read what to do."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from landmark_dag.errors import InputError
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.training import NetworkSettings, TrainingSettings
from landmark_dag.storage.atomic import replacing
from landmark_dag.training.labelled_photos import LabelledPhotos

_JOB, _PHOTOS, _FIRST_PHOTOS, _ERROR = "job.json", "photos.parquet", "first_photos.parquet", "error.txt"


@dataclass(frozen=True, eq=False)
class TrainingJobSpec:
    """What a training needs, on any host that has the same files.

    The model is written to `model_folder`; until then the file `checkpoint` keeps the training's state.
    `class_landmarks` holds the landmark id of each class. `first_photos` are the photos of the first stage, all that
    are labelled; None where there is no such stage.
    """

    model_folder: Path
    checkpoint: Path
    network: NetworkSettings
    training: TrainingSettings
    device: str
    photos: LabelledPhotos
    class_landmarks: Mapping[int, int]
    first_photos: LabelledPhotos | None = None


def write_job_spec(folder: Path, job: TrainingJobSpec) -> None:
    """Write `job` to `folder`, over any job there; the error of that job is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, photos in ((_PHOTOS, job.photos), (_FIRST_PHOTOS, job.first_photos)):
        if photos:
            with replacing(folder / name) as path:
                pq.write_table(_photo_table(photos), path)
    content = {
        "model_folder": str(job.model_folder),
        "checkpoint": str(job.checkpoint),
        "network": asdict(job.network),
        "training": asdict(job.training),
        "device": job.device,
        "class_landmarks": [[key, value] for key, value in job.class_landmarks.items()],
        "first_photos": job.first_photos is not None,
    }
    with replacing(folder / _JOB) as path:
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    (folder / _ERROR).unlink(missing_ok=True)


def read_job_spec(folder: Path) -> TrainingJobSpec:
    """Read a job of `write_job_spec`; raises InputError when there is none."""
    try:
        content = json.loads((folder / _JOB).read_text(encoding="utf-8"))
        first = _read_photos(folder / _FIRST_PHOTOS) if content["first_photos"] else None
        return TrainingJobSpec(
            Path(content["model_folder"]),
            Path(content["checkpoint"]),
            NetworkSettings(**content["network"]),
            TrainingSettings(**content["training"]),
            content["device"],
            _read_photos(folder / _PHOTOS),
            dict(content["class_landmarks"]),
            first,
        )
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise InputError(f"{folder} holds no training job: {error}.") from error


def write_error(folder: Path, sentence: str) -> None:
    """Write the sentence that a training failed with; of several processes, the last one's is kept."""
    with replacing(folder / _ERROR) as path:
        path.write_text(sentence, encoding="utf-8")


def read_error(folder: Path) -> str | None:
    """Return the sentence that the training failed with; None where there is none."""
    path = folder / _ERROR
    return path.read_text(encoding="utf-8") if path.exists() else None


def _photo_table(photos: LabelledPhotos) -> pa.Table:
    """Return photos as a table: their locations, width, height and class_id."""
    columns: dict[str, Any] = {
        name: [getattr(photo, name) for photo in photos.locations] for name in PhotoLocation.__dataclass_fields__
    }
    width, height = photos.sizes.T
    return pa.table({**columns, "width": width, "height": height, "class_id": photos.class_ids})


def _read_photos(path: Path) -> LabelledPhotos:
    table = pq.read_table(path)
    rows = zip(*(table[name].to_pylist() for name in PhotoLocation.__dataclass_fields__), strict=True)
    sizes = np.stack([table[name].to_numpy() for name in ("width", "height")], axis=1)
    return LabelledPhotos([PhotoLocation(*row) for row in rows], sizes, table["class_id"].to_numpy().copy())
