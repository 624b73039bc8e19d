"""From embeddings to tables: the kNN graph of queries, and the votes of photos."""

import itertools

import numpy as np
import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.retrieval.embeddings import Embeddings, check_same_model, concatenate
from landmark_dag.retrieval.knn import nearest
from landmark_dag.retrieval.settings import NeighbourSettings, VoteSettings
from landmark_dag.retrieval.votes import vote
from landmark_dag.tables import NEIGHBOURS, VOTES


def neighbour_table(
    queries: Embeddings, index: Embeddings, settings: NeighbourSettings, device: str = "cpu"
) -> pl.DataFrame:
    """Return every query's nearest index photos (tables.NEIGHBOURS), by query id, then rank.

    Ties of similarity go by index id ascending. Ids are unique within a split alone, so an index photo of the
    query's id is another photo and may be its neighbour. With fewer index photos than `settings.neighbours` a
    list is as long as there are. Raises InputError for embeddings of two models or an empty index.
    """
    check_same_model(queries, index)
    queries, index = _by_id(queries), _by_id(index)
    similarity, positions = nearest(queries.vectors, index.vectors, settings.neighbours, device=device)
    count, length = positions.shape
    frame = pl.DataFrame(
        {
            "query_id": pl.Series(queries.image_ids, dtype=pl.String).gather(np.repeat(np.arange(count), length)),
            "rank": np.tile(np.arange(1, length + 1), count),
            "index_id": pl.Series(index.image_ids, dtype=pl.String).gather(positions.ravel()),
            "similarity": similarity.ravel(),
        }
    )
    return NEIGHBOURS.conform(frame, "the kNN graph")


def vote_table(
    photos: Embeddings,
    train: Embeddings,
    cleaned: pl.DataFrame,
    settings: VoteSettings,
    device: str = "cpu",
) -> pl.DataFrame:
    """Return the votes (tables.VOTES, by image id) of `photos` by their nearest photos of `cleaned`.

    `cleaned` (tables.CLEANED_DATASET) names the train photos that vote, and their landmarks; ties of
    similarity go by train id ascending. With fewer than k of them, those there are vote and confidence is
    still their sum / k. Raises InputError for embeddings of two models, for a cleaned photo without
    embedding, and when no train photo is left to vote.
    """
    check_same_model(photos, train)
    photos, train = _by_id(photos), _by_id(train)
    if cleaned.is_empty():
        raise InputError(
            "No train photo is left to vote: the cleaned dataset is empty; loosen min_inliers or min_verified."
        )
    voters = cleaned.select("image_id", "landmark_id").sort("image_id")
    position_of = {image_id: position for position, image_id in enumerate(train.image_ids)}
    missing = [image_id for image_id in voters["image_id"] if image_id not in position_of]
    if missing:
        raise InputError(f"Photo {missing[0]} of the cleaned dataset has no embedding; embed all train photos.")
    rows = np.array([position_of[image_id] for image_id in voters["image_id"]], dtype=np.int64)
    similarity, positions = nearest(photos.vectors, train.vectors[rows], settings.k, device=device)
    landmarks = voters["landmark_id"].to_numpy()[positions]
    short = ((0, 0), (0, settings.k - positions.shape[1]))
    # A missing voter has similarity 0 for the last landmark: all sums stay what they are.
    landmark, confidence = vote(np.pad(similarity, short), np.pad(landmarks, short, mode="edge"))
    frame = pl.DataFrame({"image_id": photos.image_ids, "landmark_id": landmark, "confidence": confidence})
    return VOTES.conform(frame, "the votes")


def _by_id(embeddings: Embeddings) -> Embeddings:
    """Return `embeddings` sorted by image id: themselves, where they are already."""
    if all(before < after for before, after in itertools.pairwise(embeddings.image_ids)):
        return embeddings
    return concatenate([embeddings])
