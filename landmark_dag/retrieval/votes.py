"""Soft voting: a photo's landmark and confidence from its nearest train photos."""

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.storage.schemas import VOTES


def vote(
    similarity: NDArray[np.float32], neighbour_landmarks: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return each photo's landmark int64 (m,) and confidence float32 (m,).

    Row i holds photo i's k nearest train photos, nearest first: their `similarity` float32 (m, k) and their
    landmark int64 (m, k). The similarities of each landmark are summed in float32, nearest first. The largest sum
    wins; a tie goes to the landmark of the nearer photo. Confidence is that sum / k. (Yokoo et al., CVPRW 2020,
    section 3.3.) Raises ValueError when k is 0 or the shapes differ.
    """
    if similarity.shape != neighbour_landmarks.shape or similarity.ndim != 2 or similarity.shape[1] == 0:
        raise ValueError(f"similarity {similarity.shape} and landmarks {neighbour_landmarks.shape} must be (m, k)")
    landmark = np.empty(len(similarity), dtype=np.int64)
    confidence = np.empty(len(similarity), dtype=np.float32)
    _vote(
        np.ascontiguousarray(similarity, dtype=np.float32),
        np.ascontiguousarray(neighbour_landmarks, dtype=np.int64),
        landmark,
        confidence,
    )
    return landmark, confidence


def votes_from_neighbours(neighbours: pl.DataFrame, labels: pl.DataFrame, k: int) -> pl.DataFrame:
    """Return the votes (schemas.VOTES, by image id) of the photos in `neighbours`.

    `neighbours` has the columns image_id, train_id and similarity, in any row order; the k most similar train
    photos vote for each photo (ties: train id ascending). If a photo has fewer than k neighbours, all of them
    vote, and its confidence is still their sum / k. `labels` has image_id and landmark_id of train
    photos. Raises InputError for a train photo without a label, and for k < 1.
    """
    nearest = (
        neighbours.sort(["image_id", "similarity", "train_id"], descending=[False, True, False])
        .with_columns(rank=pl.int_range(1, pl.len() + 1).over("image_id"))
        .filter(pl.col("rank") <= k)
        .join(labels.select(train_id="image_id", landmark_id="landmark_id"), on="train_id", how="left")
    )
    unlabelled = nearest.filter(pl.col("landmark_id").is_null())
    if len(unlabelled):
        raise InputError(
            f"Train photo {unlabelled['train_id'][0]} is a neighbour of photo {unlabelled['image_id'][0]} "
            "but has no label; label it or leave it out of the neighbours."
        )
    return votes_of(nearest, k)


def votes_of(train_neighbours: pl.DataFrame, k: int, train_photos: int = 0) -> pl.DataFrame:
    """Return the votes (schemas.VOTES, by image id) of the `k` nearest `train_neighbours` (schemas.TRAIN_NEIGHBOURS).

    If a photo has fewer train neighbours, all of them vote, and its confidence is still their sum / k. Raises
    InputError for k < 1, and when fewer than k train neighbours are stored although there are more of `train_photos`.
    """
    stored = train_neighbours["rank"].n_unique()
    if len(train_neighbours) and stored < min(k, train_photos):
        raise InputError(
            f"k is {k} but only {stored} train photos are stored for each photo; raise the count of train_neighbours."
        )
    image_ids, similarity, landmarks = nearest_train_neighbours(train_neighbours, k)
    landmark, confidence = vote(similarity, landmarks)
    frame = pl.DataFrame({"image_id": image_ids, "landmark_id": landmark, "confidence": confidence})
    return VOTES.conform(frame, "votes")


def nearest_train_neighbours(
    train_neighbours: pl.DataFrame, k: int
) -> tuple[pl.Series, NDArray[np.float32], NDArray[np.int64]]:
    """Return photos by id, with similarity float32 and landmark int64 of their k nearest train photos, (m, k).

    `train_neighbours` has image_id, rank (from 1), landmark_id and similarity, in any row order. Where a photo has
    fewer, the nearest landmark with similarity 0 fills the rest: no sum changes. Raises InputError for k < 1.
    """
    if k < 1:
        raise InputError(f"k is {k}; at least one train photo must vote.")
    nearest = train_neighbours.filter(pl.col("rank") <= k).sort("image_id", "rank")
    place = nearest["rank"].to_numpy() - 1
    row = np.cumsum(place == 0) - 1
    landmarks = np.repeat(nearest["landmark_id"].to_numpy()[place == 0][:, None], k, axis=1)
    similarity = np.zeros(landmarks.shape, dtype=np.float32)
    landmarks[row, place] = nearest["landmark_id"].to_numpy()
    similarity[row, place] = nearest["similarity"].to_numpy()
    return nearest["image_id"].filter(pl.Series(place == 0)), similarity, landmarks


@njit(cache=True, nogil=True)
def _vote(similarity, landmarks, landmark, confidence):  # type: ignore[no-untyped-def]
    """Fill `landmark` and `confidence`, one row at a time; see `vote`."""
    k = similarity.shape[1]
    for row in range(similarity.shape[0]):
        best = -1
        best_sum = np.float32(0)
        for first in range(k):
            name = landmarks[row, first]
            met_before = False
            for earlier in range(first):
                met_before = met_before or landmarks[row, earlier] == name
            if met_before:
                continue
            total = np.float32(0)
            for other in range(first, k):
                if landmarks[row, other] == name:
                    total += similarity[row, other]
            if best < 0 or total > best_sum:
                best, best_sum = first, total
        landmark[row] = landmarks[row, best]
        confidence[row] = best_sum / np.float32(k)
