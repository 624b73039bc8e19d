"""Agreement: listed photos by similarity, raised where their landmark is the query's and lowered where it is not.

A score decides; ties go to the photo listed earlier, and photos that are not listed come last, by image id ascending.
"""

import numpy as np
import polars as pl

from landmark_dag.retrieval.reranking.inputs import RerankingInput
from landmark_dag.retrieval.reranking.insert import refuse_bad_settings
from landmark_dag.retrieval.reranking.lists import read_lists
from landmark_dag.settings.reranking import InsertSettings, RerankingSettings, SoftSettings
from landmark_dag.storage.ragged_lists import list_of_rows, offsets_of, places_in_lists


def rerank(lists: pl.DataFrame, photos: RerankingInput, settings: RerankingSettings) -> pl.DataFrame:
    """Return `lists` by similarity and agreement; see `agreement_ranking`."""
    return agreement_ranking(lists, *photos.votes, settings.insert, settings.soft)


def agreement_ranking(
    ranking: pl.DataFrame,
    query_votes: pl.DataFrame,
    index_votes: pl.DataFrame,
    settings: InsertSettings,
    soft: SoftSettings,
) -> pl.DataFrame:
    """Rank the listed photos by similarity and agreement of landmarks.

    A photo scores similarity + bonus x its confidence where its landmark is the query's, similarity - penalty x
    its confidence where not. Nothing is inserted: list more neighbours than the limit (the source 750) to raise
    photos from further down. (Henkel, arXiv 2110.03786, section 2.5: bonus 1, penalty 0.1.)
    """
    refuse_bad_settings(settings)
    lists = read_lists(ranking, query_votes, index_votes)
    lengths = np.diff(lists.offsets)
    query = list_of_rows(lengths)
    same = lists.query_landmarks[query] == lists.index_landmarks[lists.positions]
    weight = np.where(same, np.float32(soft.agreement_bonus), np.float32(-soft.disagreement_penalty))
    score = lists.similarity.fill_null(0).to_numpy() + weight * lists.index_confidence[lists.positions]
    order = np.lexsort((-score, query))
    order = order[places_in_lists(lengths) < settings.limit]
    return lists.ranking(
        offsets_of(np.minimum(lengths, settings.limit)), lists.positions[order], order, same[order].astype(np.int8)
    )
