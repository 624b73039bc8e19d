"""Bridged confidence: index photos by similarity and by the landmarks that join them with the query.

A score decides; ties go to the photo listed earlier, and photos that are not listed come last, by image id ascending.
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
"""Smallest distance that makes a confidence, its inverse: photos closer are the same."""


def rerank(lists: pl.DataFrame, photos: RerankingInput, settings: RerankingSettings) -> pl.DataFrame:
    """Return `lists` by direct and bridged confidence; see `bridged_ranking`."""
    queries, index = photos.votes_by(bridge_confidence, settings.soft)
    return bridged_ranking(lists, queries, index, settings.insert, settings.soft)


def bridged_ranking(
    ranking: pl.DataFrame,
    query_votes: pl.DataFrame,
    index_votes: pl.DataFrame,
    settings: InsertSettings,
    soft: SoftSettings,
) -> pl.DataFrame:
    """Rank the index photos by direct and bridged confidence, each to `bridge_power`, added.

    Votes have a row for every landmark that may be a photo's bridge; see `bridge_confidence`. Direct
    confidence is 1 / (1 - similarity) of a listed photo, 0 of another; a landmark bridges as well as the weaker of
    the query's and the photo's confidence in it, and the best bridge counts. (5th place of the Google Landmark
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
    of 1 - similarity over its `bridge_photos` nearest train photos; one that is not stored counts as far
    as the farthest that is. The nearest landmark (ties: met first) alone has the bonus. (5th place of the Google
    Landmark Retrieval Challenge 2021; its penalty by photos that show no landmark is left out.)
    """
    photos, landmarks = settings.bridge_photos, settings.bridge_landmarks
    if photos < 1 or landmarks < 1:
        raise InputError(f"No bridge has {landmarks} landmarks of {photos} photos; each must be 1 or more.")
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
