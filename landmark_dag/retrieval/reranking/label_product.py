"""Label product: rank index photos by the inner product of their label distribution and the query's.

Photos are ranked by a score. Ties keep the order of the list; unlisted photos come last, by image id ascending.
"""

import numpy as np
import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.retrieval.reranking.inputs import RerankingInput
from landmark_dag.retrieval.reranking.insert import refuse_bad_settings
from landmark_dag.retrieval.reranking.lists import read_lists
from landmark_dag.retrieval.reranking.through_landmarks import (
    Joining,
    ListedPhotos,
    ranked_through_landmarks,
    strongest_votes,
)
from landmark_dag.settings.reranking import InsertSettings, RerankingSettings, SoftSettings
from landmark_dag.storage.schemas import VOTES


def rerank(lists: pl.DataFrame, photos: RerankingInput, settings: RerankingSettings) -> pl.DataFrame:
    """Return `lists` ranked by the product of label distributions; see `label_product_ranking`."""
    queries, index = photos.votes_by(label_distribution, settings.soft)
    return label_product_ranking(lists, queries, index, settings.insert)


def label_product_ranking(
    ranking: pl.DataFrame,
    query_votes: pl.DataFrame,
    index_votes: pl.DataFrame,
    settings: InsertSettings,
) -> pl.DataFrame:
    """Rank the index photos by the inner product of their label distribution and the query's.

    Votes have one row for every landmark of a photo's distribution; see `label_distribution`. Every index photo that
    shares a landmark with the query comes before the listed photos that share none; these keep their order. (13th
    place of the Google Landmark Retrieval Challenge 2021, step 3.)
    """
    refuse_bad_settings(settings)
    lists = read_lists(ranking, strongest_votes(query_votes), strongest_votes(index_votes))
    direct = np.zeros(len(lists.positions))
    return ranked_through_landmarks(
        ListedPhotos(lists, direct), query_votes, index_votes, Joining(True, 1.0), settings.limit
    )


def label_distribution(train_neighbours: pl.DataFrame, settings: SoftSettings) -> pl.DataFrame:
    """Return the landmarks of each photo's nearest train photos with the sum of their similarities, over k.

    The columns are those of schemas.VOTES, with several rows per photo.
    (13th place of the Google Landmark Retrieval Challenge 2021, "Soft Landmark ID Assignment", step 1.)
    """
    k = settings.product_k
    if k < 1:
        raise InputError(f"product_k is {k}; it must be 1 or more.")
    sums = (
        train_neighbours.filter(pl.col("rank") <= k)
        .sort("image_id", "rank")
        .group_by("image_id", "landmark_id", maintain_order=True)
        .agg(confidence=pl.col("similarity").sum() / k)
    )
    return VOTES.conform(sums, "the label distribution")
