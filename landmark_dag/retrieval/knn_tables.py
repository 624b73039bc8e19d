"""Between stored embeddings and the tables of neighbours and votes."""

import numpy as np
import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.retrieval.embeddings import Embeddings, check_same_model
from landmark_dag.retrieval.knn import nearest
from landmark_dag.retrieval.settings import NeighbourSettings, VoteSettings
from landmark_dag.retrieval.votes import vote
from landmark_dag.tables import NEIGHBOURS, VOTES


def neighbour_table(
    queries: Embeddings, index: Embeddings, settings: NeighbourSettings, device: str = "cpu"
) -> pl.DataFrame:
    """Return the nearest index photos of every query (tables.NEIGHBOURS), by query, then rank.

    Ties of similarity go by index id, since `index` is sorted by image id; lists are shorter than
    `settings.neighbours` where the index is. Raises InputError for embeddings of two models.
    """
    check_same_model(queries, index)
    similarity, position = nearest(queries.vectors, index.vectors, settings.neighbours, device=device)
    count, length = position.shape
    return pl.DataFrame(
        {
            "query_id": pl.Series(queries.image_ids, dtype=pl.String).gather(np.repeat(np.arange(count), length)),
            "rank": np.tile(np.arange(1, length + 1, dtype=np.int32), count),
            "index_id": pl.Series(index.image_ids, dtype=pl.String).gather(position.ravel()),
            "similarity": similarity.ravel(),
        },
        schema=NEIGHBOURS.schema,
    )


def vote_table(
    photos: Embeddings, train: Embeddings, cleaned: pl.DataFrame, settings: VoteSettings, device: str = "cpu"
) -> pl.DataFrame:
    """Return the vote of every photo (tables.VOTES) over its `settings.k` nearest cleaned train photos.

    `cleaned` (tables.CLEANED_DATASET) names the train photos that vote, and their landmarks. With fewer than k
    of them, those there are vote and confidence is still their sum over k. Raises InputError for embeddings
    of two models, and when no train photo is left to vote.
    """
    check_same_model(photos, train)
    rows = pl.DataFrame({"image_id": train.image_ids}, schema={"image_id": pl.String}).with_row_index("row")
    voters = rows.join(cleaned, on="image_id", maintain_order="left")
    if voters.is_empty():
        raise InputError("No train photo is left to vote: cleaned_dataset is empty; loosen min_inliers or min_verified.")
    vectors = train.vectors[voters["row"].to_numpy()]
    similarity, position = nearest(photos.vectors, vectors, settings.k, device=device)
    landmark, confidence = vote(similarity, voters["landmark_id"].to_numpy()[position])
    confidence *= np.float32(similarity.shape[1] / settings.k)
    return pl.DataFrame(
        {"image_id": photos.image_ids, "landmark_id": landmark, "confidence": confidence}, schema=VOTES.schema
    )
