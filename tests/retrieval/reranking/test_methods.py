"""The table of re-ranking methods: one signature, chains, and what each reads."""

import typing

import numpy as np
import polars as pl
import pytest

from landmark_dag.errors import InputError
from landmark_dag.retrieval.reranking import methods
from landmark_dag.retrieval.reranking.bridged import bridge_confidence, bridged_ranking
from landmark_dag.retrieval.reranking.inputs import PhotoVectors, RerankingInput
from landmark_dag.retrieval.reranking.insert import inserted_ranking
from landmark_dag.retrieval.reranking.methods import METHODS, Method, chain, label_aware, needs, rerank
from landmark_dag.retrieval.votes import votes_of
from landmark_dag.settings.reranking import (
    InsertSettings,
    LabelMethod,
    ReciprocalSettings,
    RerankingSettings,
    SoftSettings,
    TraversalSettings,
)
from landmark_dag.storage.embeddings import Embeddings
from landmark_dag.storage.schemas import RANKING, TRAIN_NEIGHBOURS
from tests.support.vectors import unit_vectors

SETTINGS = RerankingSettings(
    candidates=15,
    insert=InsertSettings(limit=6),
    traversal=TraversalSettings(neighbours=8),
    reciprocal=ReciprocalSettings(k1=5, k2=2),
)


@pytest.fixture(scope="module")
def vectors() -> PhotoVectors:
    queries = Embeddings([f"q{n}" for n in range(5)], unit_vectors(5, 8, 1), "m")
    return PhotoVectors(queries, Embeddings([f"i{n:02}" for n in range(40)], unit_vectors(40, 8, 2), "m"))


@pytest.fixture(scope="module")
def photos(vectors: PhotoVectors) -> RerankingInput:
    draws = np.random.default_rng(3)

    def train_neighbours(image_ids: list[str]) -> pl.DataFrame:
        rows = [
            (image_id, rank, f"t{rank}", int(draws.integers(4)), 1 - rank / 8)
            for image_id in image_ids
            for rank in (1, 2, 3)
        ]
        return pl.DataFrame(rows, schema=TRAIN_NEIGHBOURS.schema, orient="row")

    pair = train_neighbours(vectors.queries.image_ids), train_neighbours(vectors.index.image_ids)
    votes = votes_of(pair[0], 3), votes_of(pair[1], 3)
    return RerankingInput(votes=votes, train_neighbours=pair, vectors=vectors)


@pytest.fixture(scope="module")
def lists(vectors: PhotoVectors) -> pl.DataFrame:
    near = vectors.search(vectors.queries.vectors, 20)
    return vectors.lists(near.positions, near.similarity)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_makes_a_ranking_within_the_limit(name: str, lists: pl.DataFrame, photos: RerankingInput) -> None:
    ranking = rerank(lists, photos, chain(name), SETTINGS)
    assert ranking.schema == RANKING.schema
    assert ranking["query_id"].unique().sort().to_list() == [f"q{n}" for n in range(5)]
    assert ranking.group_by("query_id").len()["len"].max() <= 6
    assert not ranking.select(pl.struct("query_id", "index_id").is_duplicated().any()).item()


def test_the_table_gives_what_the_functions_give(lists: pl.DataFrame, photos: RerankingInput) -> None:
    inserted = inserted_ranking(lists.filter(pl.col("rank") <= 6), *photos.votes, SETTINGS.insert)
    assert rerank(lists, photos, chain("insert"), SETTINGS).equals(inserted)
    confidence = [bridge_confidence(split, SETTINGS.soft) for split in photos.train_neighbours]
    bridged = bridged_ranking(lists.filter(pl.col("rank") <= 15), *confidence, SETTINGS.insert, SETTINGS.soft)
    assert rerank(lists, photos, chain("bridged"), SETTINGS).equals(bridged)


def test_in_a_chain_one_method_follows_the_other(lists: pl.DataFrame, photos: RerankingInput) -> None:
    first = rerank(lists, photos, chain("k_reciprocal"), SETTINGS)
    assert rerank(lists, photos, chain("k_reciprocal,insert"), SETTINGS).equals(
        inserted_ranking(first, *photos.votes, SETTINGS.insert)
    )
    assert needs(chain("k_reciprocal,insert")) == {"vectors", "index graph", "votes"}


def test_lists_survive_the_way_to_arrays_and_back(vectors: PhotoVectors, lists: pl.DataFrame) -> None:
    near = vectors.neighbours(lists)
    assert vectors.lists(near.positions, near.similarity).equals(lists)


def test_the_longest_graph_of_the_index_is_kept(vectors: PhotoVectors) -> None:
    long = vectors.index_graph(7)
    assert np.shares_memory(vectors.index_graph(3).positions, long.positions)
    assert vectors.index_graph(3).positions.tolist() == long.positions[:, :3].tolist()


def test_an_unknown_method_names_all() -> None:
    with pytest.raises(InputError, match="no re-ranking method 'k_reciprocl'; choose from sort, insert, agree"):
        chain("insert,k_reciprocl")


def test_the_step_after_sorting_takes_only_methods_that_read_labels() -> None:
    assert label_aware("agreement") == (METHODS["agreement"], True)
    assert label_aware("bridged") == (METHODS["bridged"], False)
    with pytest.raises(InputError, match="re-ranks by labels, not by 'egt'; choose from insert, agreement"):
        label_aware("egt")


@pytest.mark.parametrize("name", ["label_product", "bridged"])
def test_what_a_soft_variant_makes_of_the_index_is_computed_once_for_all_shards_of_queries(
    name: str, lists: pl.DataFrame, photos: RerankingInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = getattr(methods, name)
    made_by = {"label_product": "label_distribution", "bridged": "bridge_confidence"}[name]
    read: list[pl.DataFrame] = []
    compute = getattr(module, made_by)

    def recorded(table: pl.DataFrame, soft: SoftSettings) -> pl.DataFrame:
        read.append(table)
        return compute(table, soft)

    monkeypatch.setattr(module, made_by, recorded)
    kept: dict = {}
    both = [RerankingInput(train_neighbours=photos.train_neighbours, kept=kept) for _ in range(2)]
    first, second = (METHODS[name].rerank(lists, one, SETTINGS) for one in both)
    assert first.equals(second)
    assert [table is photos.train_neighbours[1] for table in read].count(True) == 1


def test_the_setting_offers_every_method_that_reads_labels() -> None:
    reading = {name for name, method in METHODS.items() if method.reads_labels} - {"sort"}
    assert set(typing.get_args(LabelMethod)) == reading


def test_a_method_is_added_by_one_line_of_the_table(
    lists: pl.DataFrame, photos: RerankingInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method that turns every list round needs nothing but its function and its line."""

    def backwards(lists: pl.DataFrame, photos: RerankingInput, settings: RerankingSettings) -> pl.DataFrame:
        turned = lists.with_columns(rank=(pl.len() + 1 - pl.col("rank")).over("query_id").cast(pl.Int32))
        return turned.sort("query_id", "rank")

    added = Method("backwards", backwards, frozenset({"vectors"}), lambda settings: settings.insert.limit)
    monkeypatch.setitem(methods.METHODS, "backwards", added)
    ranking = rerank(lists, photos, chain("backwards"), SETTINGS)
    last = lists.filter(pl.col("rank") == 6)["index_id"].to_list()
    assert ranking.filter(pl.col("rank") == 1)["index_id"].to_list() == last
    assert rerank(lists, photos, chain("backwards,insert"), SETTINGS).height >= ranking.height - 5
