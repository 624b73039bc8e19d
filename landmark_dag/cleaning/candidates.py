"""Candidate pairs: for each photo, the nearest photos of the same landmark."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from landmark_dag.cleaning.settings import CandidateSettings
from landmark_dag.errors import InputError

_BLOCK = 1024
"""Photos whose similarities are in memory at once."""


def candidate_pairs(
    image_ids: Sequence[str],
    landmark_ids: NDArray[np.int64],
    vectors: NDArray[np.floating],
    settings: CandidateSettings,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the pairs of photos to verify, and the similarity of each (paper, section 3.1).

    A pair is there when one of its photos is among the other's `settings.neighbours` nearest photos of the
    same landmark by inner product (a tie goes to the smaller image id). `landmark_ids` has shape (n,),
    `vectors` (n, d). The pairs, int32 (p, 2), hold positions in `image_ids`, the smaller id first, each pair
    once, sorted by the two ids; the similarities are float32 (p,). Raises InputError for ids that repeat and
    for vectors that are not finite.
    """
    _check(image_ids, landmark_ids, vectors)
    order = np.array(sorted(range(len(image_ids)), key=image_ids.__getitem__), dtype=np.int64)
    pairs, similarities = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)]
    for members in _landmarks(landmark_ids[order]):
        near, similarity = _nearest_within(vectors[order[members]], settings.neighbours)
        pairs.append(members[near])
        similarities.append(similarity)
    ordered, similarity = np.concatenate(pairs), np.concatenate(similarities)
    by_id = np.lexsort((ordered[:, 1], ordered[:, 0]))
    return order[ordered[by_id]].astype(np.int32), similarity[by_id]


def _check(image_ids: Sequence[str], landmark_ids: NDArray, vectors: NDArray) -> None:
    """Raise InputError unless there is one label and one finite vector for each of the distinct ids."""
    if not len(image_ids) == len(landmark_ids) == len(vectors):
        raise InputError(
            f"{len(image_ids)} photos came with {len(landmark_ids)} labels and {len(vectors)} embeddings; "
            "give one of each for every photo."
        )
    if len(set(image_ids)) < len(image_ids):
        twice = next(a for a, b in zip(sorted(image_ids), sorted(image_ids)[1:], strict=False) if a == b)
        raise InputError(f"Photo {twice} stands twice among the photos to match; keep one of the two.")
    finite = np.isfinite(vectors).all(axis=1) if len(vectors) else np.ones(0, bool)
    if not finite.all():
        raise InputError(f"The embedding of photo {image_ids[int(np.argmin(finite))]} is not finite; embed it again.")


def _landmarks(landmark_ids: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the ascending positions of each landmark's photos, for landmarks of two and more."""
    by_landmark = np.argsort(landmark_ids, kind="stable")
    starts = np.flatnonzero(np.diff(landmark_ids[by_landmark])) + 1
    return (members for members in np.split(by_landmark, starts) if len(members) > 1)


def _nearest_within(vectors: NDArray, neighbours: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the pairs (p, 2), smaller position first, of rows near one another, and their similarities."""
    vectors = vectors.astype(np.float32)
    count = len(vectors)
    keys, similarities = [], []
    for start in range(0, count, _BLOCK):
        similarity = vectors[start : start + _BLOCK] @ vectors.T
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = -np.inf
        columns = np.argsort(-similarity, axis=1, kind="stable")[:, : min(neighbours, count - 1)]
        first = np.minimum(columns, (start + rows)[:, None])
        second = np.maximum(columns, (start + rows)[:, None])
        keys.append((first * count + second).ravel())
        similarities.append(np.take_along_axis(similarity, columns, axis=1).ravel())
    key, once = np.unique(np.concatenate(keys), return_index=True)
    return np.stack([key // count, key % count], axis=1), np.concatenate(similarities)[once]
