"""Bridged confidence: rank index photos by similarity and by the landmarks that they share with the query.

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

NEAREST_DISTANCE = 1e-3
"""Smaller distances count as this one when confidence is 1 / distance: the photos are the same."""


def rerank(lists: pl.DataFrame, photos: RerankingInput, settings: RerankingSettings) -> pl.DataFrame:
    """Return `lists` ranked by direct and bridged confidence; see `bridged_ranking`."""
    queries, index = photos.votes_by(bridge_confidence, settings.soft)
    return bridged_ranking(lists, queries, index, settings.insert, settings.soft)


def bridged_ranking(
    ranking: pl.DataFrame,
    query_votes: pl.DataFrame,
    index_votes: pl.DataFrame,
    settings: InsertSettings,
    soft: SoftSettings,
) -> pl.DataFrame:
    """Rank the index photos by the sum of direct and bridged confidence, each to the power `bridge_power`.

    Votes have one row for every landmark that can be a photo's bridge; see `bridge_confidence`. Direct confidence is
    1 / (1 - similarity) for a listed photo and 0 for others. The confidence of a bridge is the smaller of the query's
    and the photo's confidence in its landmark, and the best bridge counts. (5th place of the Google Landmark
    Retrieval Challenge 2021: the smallest over landmarks of the larger of both distances.)
    """
    refuse_bad_settings(settings)
    lists = read_lists(ranking, strongest_votes(query_votes), strongest_votes(index_votes))
    similarity = lists.similarity.cast(pl.Float64).to_numpy()
    confidence = 1 / np.maximum(1 - similarity, NEAREST_DISTANCE)
    power = soft.bridge_power
    direct = np.nan_to_num(confidence**power)
    return ranked_through_landmarks(
        ListedPhotos(lists, direct), query_votes, index_votes, Joining(False, power), settings.limit
    )


def bridge_confidence(train_neighbours: pl.DataFrame, settings: SoftSettings) -> pl.DataFrame:
    """Return each photo's nearest landmarks with the confidence that it shows them: bonus + 1 / distance.

    The columns are those of schemas.VOTES, up to `bridge_landmarks` rows a photo. A landmark's distance is the mean
    of 1 - similarity over its `bridge_photos` nearest train photos; a photo that is not stored has the distance of
    the farthest stored one. Only the nearest landmark (ties: the first one) gets the bonus. (5th place of the Google
    Landmark Retrieval Challenge 2021, without its penalty from photos that show no landmark.)
    """
    photos, landmarks = settings.bridge_photos, settings.bridge_landmarks
    if photos < 1 or landmarks < 1:
        raise InputError(f"bridge_landmarks is {landmarks} and bridge_photos is {photos}; both must be 1 or more.")
    near = pl.col("similarity").head(photos)
    means = (
        train_neighbours.sort("image_id", "rank")
        .with_columns(farthest=pl.col("similarity").last().over("image_id"))
        .group_by("image_id", "landmark_id", maintain_order=True)
        .agg(mean=(near.sum() + (photos - near.len()) * pl.col("farthest").first()) / photos)
        .with_columns(place=pl.col("mean").rank("ordinal", descending=True).over("image_id"))
        .filter(pl.col("place") <= landmarks)
    )
    distance = (1 - pl.col("mean")).clip(lower_bound=NEAREST_DISTANCE)
    bonus = pl.when(pl.col("place") == 1).then(settings.bridge_bonus).otherwise(0.0)
    return VOTES.conform(
        means.select("image_id", "landmark_id", confidence=1 / distance + bonus), "the bridge confidence"
    )
