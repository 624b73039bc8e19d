"""The score of a trial of other settings: mAP@100 among photos of landmarks it was not trained on."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from landmark_dag.evaluation.retrieval_metrics import LIMIT, average_precision, first_hits
from landmark_dag.photos.manifest import locations_of
from landmark_dag.retrieval.embedding import embed_photos
from landmark_dag.retrieval.knn.exact import nearest
from landmark_dag.settings.retrieval import EmbeddingSettings
from landmark_dag.settings.training import NetworkSettings, TrainingSettings, TuningSettings
from landmark_dag.storage.schemas import TUNING_TRIALS
from landmark_dag.training.artifact import load_model
from landmark_dag.training.history import OnEpoch
from landmark_dag.training.job_spec import TrainingJobSpec
from landmark_dag.training.labelled_photos import cleaned_photos
from landmark_dag.training.train import train
from landmark_dag.training.tuning import distractors, hold_out, settings_of


def run_trial(
    trial: str,
    folder: Path,
    manifest: pl.DataFrame,
    cleaned: pl.DataFrame,
    *,
    network: NetworkSettings,
    training: TrainingSettings,
    embedding: EmbeddingSettings,
    tuning: TuningSettings,
    device: str = "cpu",
    on_epoch: OnEpoch | None = None,
) -> pl.DataFrame:
    """Train with the settings that `trial` names in place of the given ones; return its row (schemas.TUNING_TRIALS).

    The model is trained in one stage on a part of `cleaned` (schemas.CLEANED_DATASET), and scored on the rest by
    `held_out_map`, with some of the photos trained on as distractors. `manifest` (schemas.MANIFEST) says where photos
    lie. `folder` takes the model, and the checkpoint from which an interrupted trial goes on.

    Raises InputError for a trial that names no setting or a value that does not suit it, for too few landmarks, and
    what `train` raises.
    """
    network, training = settings_of(trial, network, training)
    kept, held_out = hold_out(cleaned, tuning)
    photos, landmarks = cleaned_photos(manifest, kept)
    job = TrainingJobSpec(folder / "model", folder / "checkpoint", network, training, device, photos, landmarks)
    fingerprint, history = train(job, device, on_epoch=on_epoch)
    searched = pl.concat([held_out, distractors(kept, tuning)])
    located = searched.join(manifest, on="image_id", how="left", maintain_order="left")
    embeddings = embed_photos(locations_of(located), load_model(folder / "model"), embedding, device)
    score, queries = held_out_map(embeddings.vectors, searched["landmark_id"].to_numpy(), held_out.height, device)
    row = {
        "trial": trial,
        "map_at_100": score,
        "queries": queries,
        "searched": searched.height,
        "loss": history[-1]["loss"] if history else None,
        "accuracy": history[-1]["accuracy"] if history else None,
        "model": fingerprint,
        "settings": json.dumps({"network": asdict(network), "training": asdict(training)}),
    }
    return pl.DataFrame([row], schema=TUNING_TRIALS.schema)


def held_out_map(
    vectors: NDArray[np.float16], landmark_ids: NDArray[np.int64], held_out: int, device: str = "cpu"
) -> tuple[float, int]:
    """Return mAP@100 (percent) of the first `held_out` photos as queries, and how many of them count.

    `vectors` (n, d) are of unit length, `landmark_ids` int64 (n,). Each query is searched for among all other
    photos, itself left out; relevant are those of its landmark. A query whose landmark has no other photo does not
    count.
    """
    queries = np.arange(held_out, dtype=np.int32)
    others = [group[group != query] for query, group in zip(queries, _groups(landmark_ids, held_out), strict=True)]
    expected = np.array([len(group) for group in others], dtype=np.int64)
    counted = np.flatnonzero(expected)
    _, positions = nearest(vectors[counted], vectors, LIMIT, exclude=queries[counted], device=device)
    offsets = np.arange(len(counted) + 1, dtype=np.int64) * positions.shape[1]
    right_offsets = np.concatenate([[0], np.cumsum(expected[counted])])
    hits = first_hits(offsets, positions.ravel(), right_offsets, np.concatenate([others[query] for query in counted]))
    return 100 * float(average_precision(offsets, hits, expected[counted]).mean()), len(counted)


def best_first(trials: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of schemas.TUNING_TRIALS by mAP@100, descending; ties by the trial's name."""
    return trials.sort(["map_at_100", "trial"], descending=[True, False])


def _groups(landmark_ids: NDArray[np.int64], first: int) -> list[NDArray[np.int32]]:
    """Return, for each of the `first` photos, the positions of all photos of its landmark, ascending."""
    order = np.argsort(landmark_ids, kind="stable").astype(np.int32)
    _, members, counts = np.unique(landmark_ids, return_inverse=True, return_counts=True)
    groups = np.split(order, np.cumsum(counts)[:-1])
    return [groups[member] for member in members[:first]]
