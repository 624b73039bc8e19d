"""Agreement: rank listed photos by similarity, raised if their landmark is the query's and lowered if it is not.

Photos are ranked by a score; ties keep the order of the list.
"""

import numpy as np
import polars as pl

from landmark_dag.retrieval.reranking.inputs import RerankingInput
from landmark_dag.retrieval.reranking.insert import refuse_bad_settings
from landmark_dag.retrieval.reranking.lists import read_lists
from landmark_dag.settings.reranking import InsertSettings, RerankingSettings, SoftSettings
from landmark_dag.storage.ragged_lists import list_of_rows, offsets_of, places_in_lists


def rerank(lists: pl.DataFrame, photos: RerankingInput, settings: RerankingSettings) -> pl.DataFrame:
    """Return `lists` ranked by similarity and agreement; see `agreement_ranking`."""
    return agreement_ranking(lists, *photos.votes, settings.insert, settings.soft)


def agreement_ranking(
    ranking: pl.DataFrame,
    query_votes: pl.DataFrame,
    index_votes: pl.DataFrame,
    settings: InsertSettings,
    soft: SoftSettings,
) -> pl.DataFrame:
    """Rank the listed photos by similarity and agreement of landmarks.

    A photo scores similarity + bonus x its confidence if its landmark is the query's, else similarity - penalty x
    its confidence. Nothing is inserted: list more neighbours than the limit (750 in the source) to raise photos from
    lower ranks. (Henkel, arXiv 2110.03786, section 2.5: bonus 1, penalty 0.1.)
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
