"""Soft voting: a photo's landmark and confidence from its nearest train photos."""

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.tables import VOTES


def vote(
    similarity: NDArray[np.float32], neighbour_landmarks: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return each photo's landmark int64 (m,) and confidence float32 (m,).

    Row i holds photo i's k nearest train photos, nearest first: their `similarity` float32 (m, k) and their
    landmark int64 (m, k). Per landmark the similarities are summed in float32 from the nearest on; the
    largest sum wins, a tie goes to the landmark met first; confidence is that sum / k. (Yokoo et al., CVPRW
    2020, section 3.3.) Raises ValueError when k is 0 or the shapes differ.
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
    """Return the votes (tables.VOTES, by image id) of the photos in `neighbours`.

    `neighbours` has the columns image_id, train_id and similarity, in any row order; the k most similar train
    photos vote for each photo (ties: train id ascending). A photo with fewer than k neighbours is voted for
    by those it has, and its confidence is still their sum / k. `labels` has image_id and landmark_id of train
    photos. Raises InputError for a train photo without a label.
    """
    if k < 1:
        raise InputError(f"k is {k}; at least one train photo must vote.")
    nearest = (
        neighbours.sort(["image_id", "similarity", "train_id"], descending=[False, True, False])
        .with_columns(place=pl.int_range(pl.len()).over("image_id"))
        .filter(pl.col("place") < k)
        .join(labels.select(train_id="image_id", landmark_id="landmark_id"), on="train_id", how="left")
        .sort(["image_id", "place"])
    )
    unlabelled = nearest.filter(pl.col("landmark_id").is_null())
    if len(unlabelled):
        raise InputError(
            f"Train photo {unlabelled['train_id'][0]} is a neighbour of photo {unlabelled['image_id'][0]} "
            "but has no label; label it or leave it out of the neighbours."
        )
    first = nearest["place"].to_numpy() == 0
    row = np.cumsum(first) - 1
    # A missing neighbour votes with similarity 0 for the landmark met first: the sums stay what they are.
    landmarks = np.repeat(nearest["landmark_id"].to_numpy()[first][:, None], k, axis=1)
    similarity = np.zeros(landmarks.shape, dtype=np.float32)
    landmarks[row, nearest["place"].to_numpy()] = nearest["landmark_id"].to_numpy()
    similarity[row, nearest["place"].to_numpy()] = nearest["similarity"].to_numpy()
    landmark, confidence = vote(similarity, landmarks)
    image_ids = nearest["image_id"].filter(pl.Series(first))
    frame = pl.DataFrame({"image_id": image_ids, "landmark_id": landmark, "confidence": confidence})
    return VOTES.conform(frame, "votes")


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
