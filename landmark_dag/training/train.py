"""A whole training: all stages, resumable, from photos to the folder of the trained model."""

import json
from dataclasses import asdict, replace
from typing import Any

import torch

from landmark_dag.settings.definition import hashed_fields
from landmark_dag.settings.training import TrainingSettings
from landmark_dag.storage.hashing import fingerprint
from landmark_dag.training.artifact import save_model
from landmark_dag.training.checkpoint import Checkpoint
from landmark_dag.training.distributed import SINGLE, Ranks
from landmark_dag.training.fit import Progress, fit
from landmark_dag.training.history import History, OnEpoch
from landmark_dag.training.job_spec import TrainingJobSpec
from landmark_dag.training.labelled_photos import LabelledPhotos
from landmark_dag.training.network import build_network


def train(
    job: TrainingJobSpec, device: str, ranks: Ranks = SINGLE, on_epoch: OnEpoch | None = None
) -> tuple[str, History]:
    """Train, from the checkpoint if there is one, and save the model; return its fingerprint and history.

    The process of rank 0 writes checkpoint and model. The caller removes the checkpoint, once it has recorded the
    model. Raises what `build_network` and `fit` raise.
    """
    network = build_network(job.network, job.training.seed)
    checkpoint = Checkpoint(job.checkpoint, _identity(job))
    state = checkpoint.load()
    history: History = []
    for stage, (photos, settings) in enumerate(_stages(job), start=1):
        if state and state["stage"] > stage:
            continue
        progress = Progress(stage, history, checkpoint, on_epoch, ranks)
        history = fit(photos, network, settings, device, progress)
    fingerprint = ""
    if ranks.rank == 0:
        fingerprint = save_model(job.model_folder, network, job.network, job.class_landmarks, history)
    return ranks.from_rank_0(fingerprint), history


def _stages(job: TrainingJobSpec) -> list[tuple[LabelledPhotos, TrainingSettings]]:
    """Return the photos and settings of every stage."""
    stages = [(job.photos, job.training)]
    if job.first_photos and job.training.first_stage_epochs:
        first = replace(job.training, epochs=job.training.first_stage_epochs, final_epochs=0)
        stages.insert(0, (job.first_photos, first))
    return stages


def _identity(job: TrainingJobSpec) -> dict[str, Any]:
    """Return what distinguishes this training from others, by the names that an error uses."""
    return {
        "class map": _digest(sorted(job.class_landmarks.items())),
        "photos": _digest([_content(photos) for photos, _ in _stages(job)]),
        **{f"network setting {name}": value for name, value in asdict(job.network).items()},
        **{f"training setting {name}": value for name, value in hashed_fields(job.training).items()},
        "version of torch": str(torch.__version__),
    }


def _content(photos: LabelledPhotos) -> list[Any]:
    """Return the ids of photos, and their classes."""
    return [[photo.image_id for photo in photos.locations], photos.class_ids.tolist()]


def _digest(content: object) -> str:
    return fingerprint(json.dumps(content).encode(), size=8)
