"""mAP of each choice of training settings for small folders, on validation splits of the train photos.

    python -m benchmarks.small_folder_recipe PHOTOS --backbone NAME --weights FILE [--wrong-labels CSV] [--fine-tune]

A third of the landmarks joins the validation index whole, as distractors: votes must not be drawn to photos of unknown
places. Of the photos of the other landmarks half are train, a third index, the rest queries. Lists have 30 photos,
about what 100 are to a folder's real index. The folder's own index and query photos are not used.
"""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from landmark_dag.evaluation.retrieval_metrics import average_precision, first_hits
from landmark_dag.photos.resizing import decoded, photo_sizes, resized, scaled, size_for
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.retrieval.embedding import embed_photos
from landmark_dag.retrieval.knn.exact import nearest
from landmark_dag.retrieval.reranking.insert import QueryVotes, SortedLists, group_by_landmark, insert_step
from landmark_dag.retrieval.reranking.sort import sort_step
from landmark_dag.retrieval.votes import vote
from landmark_dag.settings.profiles import profile_named
from landmark_dag.settings.reranking import InsertSettings
from landmark_dag.settings.retrieval import EmbeddingSettings
from landmark_dag.settings.training import AUGMENTATIONS, NetworkSettings, TrainingSettings
from landmark_dag.training.artifact import Model
from landmark_dag.training.augmentation import augmented
from landmark_dag.training.fit import fit, fit_projection
from landmark_dag.training.inference import features_of
from landmark_dag.training.labelled_photos import LabelledPhotos
from landmark_dag.training.network import EmbeddingNetwork, build_network

LIST_LENGTH = 30


@dataclass(frozen=True)
class Features:
    """Pooled features of all train photos: augmented views (v, n, c), and every scale (s, n, c)."""

    views: NDArray[np.float32]
    scales: NDArray[np.float32]


def read_train(photos: Path, wrong_labels: Path | None) -> tuple[list[PhotoLocation], NDArray[np.int64]]:
    """Return the train photos and their landmarks, without those that `wrong_labels` lists."""
    wrong = {row["id"] for row in csv.DictReader(wrong_labels.open())} if wrong_labels else set()
    files = sorted(file for file in (photos / "train").rglob("*.jpg") if file.stem not in wrong)
    landmarks = np.unique([file.parent.name for file in files], return_inverse=True)[1]
    return [PhotoLocation(file.stem, str(file), 0, file.stat().st_size) for file in files], landmarks


def extract(locations: list[PhotoLocation], network: EmbeddingNetwork, training: TrainingSettings) -> Features:
    """Return the features of every photo at the settings' size, by the backbone without training."""
    sizes = photo_sizes(training.square_size, training.long_side)

    def pass_over(prepare) -> NDArray[np.float32]:  # type: ignore[no-untyped-def]
        def views_of(position: int) -> list[torch.Tensor]:
            photo = decoded(locations[position], 2 * training.long_side)
            return [prepare(photo, size_for(photo, sizes), position)]

        return features_of(len(locations), views_of, network.pooled, batch_size=8, device=torch.device("cpu"))

    views = [
        pass_over(
            lambda photo, size, position, view=view: augmented(
                photo, size, AUGMENTATIONS[training.augmentation], np.random.default_rng([view, position])
            )
        )
        for view in range(training.views)
    ]
    scales = [
        pass_over(lambda photo, size, _, scale=scale: resized(photo, scaled(size, scale, 128, network.size_multiple)))
        for scale in EmbeddingSettings().scales
    ]
    return Features(np.stack(views), np.stack(scales))


def split(landmarks: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], ...]:
    """Return the positions of train, index and query photos; a third of the landmarks is in the index only."""
    random = np.random.default_rng(seed)
    names = random.permutation(np.unique(landmarks))
    held_out = names[: len(names) // 3]
    parts: list[list[int]] = [[], list(np.flatnonzero(np.isin(landmarks, held_out))), []]
    for landmark in names[len(names) // 3 :]:
        members = random.permutation(np.flatnonzero(landmarks == landmark))
        borders = round(len(members) / 2), round(len(members) * 5 / 6)
        for part, some in zip(parts, np.split(members, borders), strict=True):
            part.extend(some)
    return tuple(np.array(part) for part in parts)


def map_of_steps(
    vectors: NDArray[np.float32], landmarks: NDArray[np.int64], parts: tuple[NDArray[np.int64], ...]
) -> list[float]:
    """Return the mAP of the kNN, sorted and inserted lists of a split, percent."""
    train, index, query = (np.ascontiguousarray(vectors[part]) for part in parts)
    train_landmarks, index_landmarks, query_landmarks = (landmarks[part] for part in parts)
    votes = []
    for some in (query, index):
        similarity, position = nearest(some, train, 3)
        votes.append(vote(similarity, train_landmarks[position]))
    (query_vote, query_confidence), (index_vote, index_confidence) = votes
    positions = nearest(query, index, LIST_LENGTH)[1]
    offsets = np.arange(len(query) + 1, dtype=np.int64) * positions.shape[1]
    flat = positions.ravel()
    order, same = sort_step(offsets, flat, query_vote, index_vote)
    groups = group_by_landmark(index_vote, index_confidence)
    settings = InsertSettings(limit=LIST_LENGTH)
    inserted = insert_step(
        SortedLists(offsets, flat[order], same), QueryVotes(query_vote, query_confidence), groups, settings
    )
    right = [np.flatnonzero(index_landmarks == landmark).astype(np.int32) for landmark in query_landmarks]
    expected = np.array([len(some) for some in right], dtype=np.int64)
    right_offsets = np.concatenate([[0], np.cumsum(expected)])
    figures = []
    for list_offsets, list_positions in ((offsets, flat), (offsets, flat[order]), inserted[:2]):
        hits = first_hits(list_offsets, list_positions, right_offsets, np.concatenate(right))
        figures.append(100 * average_precision(list_offsets, hits, expected, LIST_LENGTH)[expected > 0].mean())
    return figures


def figures(
    features: Features,
    landmarks: NDArray[np.int64],
    network: EmbeddingNetwork,
    training: TrainingSettings | None,
    scales: list[int],
    seeds: int,
) -> NDArray[np.float64]:
    """Return the mean of `map_of_steps` over splits; the projection is fitted to each split's train photos."""
    rows = []
    for seed in range(seeds):
        parts = split(landmarks, seed)
        train = parts[0]
        if training:
            class_ids = np.unique(landmarks[train], return_inverse=True)[1]
            fit_projection(np.ascontiguousarray(features.views[: training.views, train]), class_ids, network, training)
        with torch.inference_mode():
            raw = torch.stack([network.projection(torch.from_numpy(features.scales[scale])) for scale in scales])
            vectors = torch.nn.functional.normalize(raw.mean(dim=0)).numpy()
        rows.append(map_of_steps(vectors, landmarks, parts))
    return np.mean(rows, axis=0)


def fine_tuned(
    locations: list[PhotoLocation],
    landmarks: NDArray[np.int64],
    settings: NetworkSettings,
    training: TrainingSettings,
    seeds: int,
) -> NDArray[np.float64]:
    """Return the mean of `map_of_steps` over splits; a network is trained on each split, and embeds at one scale."""
    shapes = np.array([Image.open(location.path).size for location in locations], np.int32)
    one_scale = EmbeddingSettings(square_size=training.square_size, long_side=training.long_side, scales=(1.0,))
    rows = []
    for seed in range(seeds):
        parts = split(landmarks, seed)
        train = parts[0]
        class_ids = np.unique(landmarks[train], return_inverse=True)[1]
        network = build_network(settings, training.seed)
        fit(LabelledPhotos([locations[place] for place in train], shapes[train], class_ids), network, training)
        vectors = embed_photos(locations, Model(network, settings, "", {}), replace(one_scale, batch_size=8)).vectors
        rows.append(map_of_steps(vectors.astype(np.float32), landmarks, parts))
    return np.mean(rows, axis=0)


def fine_tuning(base: TrainingSettings) -> dict[str, TrainingSettings]:
    """Return training settings by name: the profile's, and those that train the backbone's last stage too."""
    last_stage = replace(base, trainable="last_stage", epochs=5, backbone_share=0.01, frozen_batch_norm=True)
    return {
        "the profile": base,
        "last stage, 0.01 of the rate": last_stage,
        "last stage, 0.1 of the rate": replace(last_stage, backbone_share=0.1),
        "last stage, 0.1, batch norm trained": replace(last_stage, backbone_share=0.1, frozen_batch_norm=False),
        "last stage, 0.1, moving average": replace(last_stage, backbone_share=0.1, ema_decay=0.98),
    }


def choices(base: TrainingSettings) -> dict[str, tuple[dict[str, object], TrainingSettings | None, list[int]]]:
    """Return every choice by name: the network settings that differ, training settings, and scales."""
    every = [0, 1, 2]
    none: dict[str, object] = {"embedding_dim": 0}
    chosen: dict[str, tuple[dict[str, object], TrainingSettings | None, list[int]]] = {
        "no projection, one scale": (none, None, [1]),
        "no projection": (none, None, every),
        "the profile": ({}, base, every),
        "the profile, embedded at one scale": ({}, base, [1]),
        "random start, 10 times the epochs": ({}, replace(base, projection_start="random", epochs=100), every),
        "whitened, not trained": ({}, replace(base, epochs=0), every),
    }
    for dimensions in (64, 128, 512):
        chosen[f"{dimensions} dimensions"] = ({"embedding_dim": dimensions}, base, every)
    chosen["pooled features not normalised"] = ({"normalise_pooled": False}, base, every)
    variations: dict[str, list[object]] = {
        "shrinkage": [0.03, 0.3],
        "views": [1, 3],
        "epochs": [5, 30],
        "scale": [4.0, 16.0, 30.0],
        "margin": [0.0, 0.4],
        "loss": ["cosface"],
    }
    for name, values in variations.items():
        for value in values:
            chosen[f"{name} {value}"] = ({}, replace(base, **{name: value}), every)  # type: ignore[arg-type]
    for rate in (0.01, 0.3, 1.0):
        moved = replace(base, learning_rate=rate, classifier_learning_rate=rate)
        chosen[f"learning rates {rate}"] = ({}, moved, every)
    return chosen


@click.command()
@click.argument("photos", type=click.Path(exists=True, path_type=Path))
@click.option("--backbone", default="mobilenetv2_100", show_default=True)
@click.option("--weights", default="hub", show_default=True, help="weights file, or `hub`")
@click.option("--wrong-labels", type=click.Path(exists=True, path_type=Path), help="CSV with the column id")
@click.option("--seeds", default=4, show_default=True, help="splits averaged")
@click.option("--fine-tune", is_flag=True, help="choices that train the backbone, each embedded at one scale")
def main(photos: Path, backbone: str, weights: str, wrong_labels: Path | None, seeds: int, fine_tune: bool) -> None:
    """Print the mAP of kNN, sorted and inserted lists for every choice."""
    profile = profile_named("photos")
    settings = replace(profile.network, backbone=backbone, weights=weights)
    locations, landmarks = read_train(photos, wrong_labels)
    print(f"mean of {seeds} splits of {len(landmarks)} photos")
    print(f"{'choice':40s} {'kNN':>6s} {'sorted':>6s} {'inserted':>8s}")
    if fine_tune:
        for name, tried in fine_tuning(profile.training).items():
            _print_row(name, fine_tuned(locations, landmarks, settings, tried, seeds))
        return
    extracted: dict[bool, Features] = {}
    for name, (differs, training, scales) in choices(profile.training).items():
        network_settings: NetworkSettings = replace(settings, **differs)  # type: ignore[arg-type]
        network = build_network(network_settings, profile.training.seed)
        normalised = network_settings.normalise_pooled
        if normalised not in extracted:
            extracted[normalised] = extract(locations, network, profile.training)
        found = figures(extracted[normalised], landmarks, network, training, scales, seeds)
        _print_row(name, found)


def _print_row(name: str, found: NDArray[np.float64]) -> None:
    print(f"{name:40s} {found[0]:6.1f} {found[1]:6.1f} {found[2]:8.1f}", flush=True)


if __name__ == "__main__":
    main()
