"""Candidate pairs: for each photo, the nearest photos of the same landmark."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.settings.cleaning import CandidateSettings


def candidate_pairs(
    image_ids: Sequence[str],
    landmark_ids: NDArray[np.int64],
    vectors: NDArray[np.floating],
    settings: CandidateSettings,
    block: int = 1024,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the pairs of photos to verify, and the similarity of each.

    Two photos are a pair when one of them is among the other's `settings.neighbours` nearest photos of the same
    landmark by inner product (ties: the smaller image id). With `settings.among_nearest`, these must also be among
    that many nearest photos of all landmarks (the paper's rule, section 3.1). `landmark_ids` has shape (n,),
    `vectors` (n, d). The pairs, int32 (p, 2), hold positions in `image_ids`, the smaller id first, each pair once,
    sorted by the two ids; the similarities are float32 (p,). Beyond the result, `block` rows of similarities are in
    memory at once. Raises InputError for ids that repeat and for vectors that are not finite.
    """
    _check(image_ids, landmark_ids, vectors)
    order = np.array(sorted(range(len(image_ids)), key=image_ids.__getitem__), dtype=np.int64)
    landmarks = landmark_ids[order]
    if settings.among_nearest:
        found = _near_among_all(vectors[order], landmarks, settings, block)
    else:
        found = (
            (members[pairs], similarity)
            for members in _landmarks(landmarks)
            for pairs, similarity in _near_within(vectors[order[members]], settings.neighbours, block)
        )
    keys, similarities = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for pairs, similarity in found:
        keys.append(pairs.min(axis=1) * len(order) + pairs.max(axis=1))
        similarities.append(similarity)
    key, once = np.unique(np.concatenate(keys), return_index=True)
    pairs = np.stack([order[key // len(order)], order[key % len(order)]], axis=1) if len(key) else key.reshape(0, 2)
    return pairs.astype(np.int32), np.concatenate(similarities)[once]


def _check(image_ids: Sequence[str], landmark_ids: NDArray, vectors: NDArray) -> None:
    """Raise InputError unless there is one label and one finite vector for each of the distinct ids."""
    if not len(image_ids) == len(landmark_ids) == len(vectors):
        raise InputError(
            f"{len(image_ids)} photos came with {len(landmark_ids)} labels and {len(vectors)} embeddings; "
            "give one of each for every photo."
        )
    if len(set(image_ids)) < len(image_ids):
        twice = next(a for a, b in zip(sorted(image_ids), sorted(image_ids)[1:], strict=False) if a == b)
        raise InputError(f"Photo {twice} is listed twice among the photos to match; keep one of the two.")
    finite = np.isfinite(vectors).all(axis=1) if len(vectors) else np.ones(0, bool)
    if not finite.all():
        raise InputError(f"The embedding of photo {image_ids[int(np.argmin(finite))]} is not finite; embed it again.")


def _landmarks(landmark_ids: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the positions of each landmark's photos, ascending, for landmarks of at least two photos."""
    by_landmark = np.argsort(landmark_ids, kind="stable")
    starts = np.flatnonzero(np.diff(landmark_ids[by_landmark])) + 1
    return (members for members in np.split(by_landmark, starts) if len(members) > 1)


def _near_within(
    vectors: NDArray, neighbours: int, block: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield, block by block, pairs (p, 2) of each row and its nearest other rows, and their similarities (p,)."""
    vectors = vectors.astype(np.float32)
    for start in range(0, len(vectors), block):
        similarity = vectors[start : start + block] @ vectors.T
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = -np.inf
        columns = np.argsort(-similarity, axis=1, kind="stable")[:, : min(neighbours, len(vectors) - 1)]
        first = np.broadcast_to((start + rows)[:, None], columns.shape)
        pairs = np.stack([first.ravel(), columns.ravel()], axis=1)
        yield pairs, np.take_along_axis(similarity, columns, axis=1).ravel()


def _near_among_all(
    vectors: NDArray, landmarks: NDArray[np.int64], settings: CandidateSettings, block: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield, as `_near_within`, the nearest rows of the same landmark among each row's nearest rows of all."""
    import faiss

    neighbours, among = settings.neighbours, settings.among_nearest
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    for start in range(0, len(vectors), block):
        similarity, columns = index.search(vectors[start : start + block], min(among + 1, len(vectors)))
        rows = np.broadcast_to(np.arange(start, start + len(columns))[:, None], columns.shape)
        other = columns != rows
        other &= np.cumsum(other, axis=1) <= among
        same = other & (landmarks[columns] == landmarks[rows])
        same &= np.cumsum(same, axis=1) <= neighbours
        yield np.stack([rows[same], columns[same]], axis=1), similarity[same]
