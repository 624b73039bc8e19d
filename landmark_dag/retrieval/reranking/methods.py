"""The table of ways to re-rank, by name; of a chain, such as `k_reciprocal,insert`, one follows the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.retrieval.reranking import (
    agreement,
    bridged,
    database_augmentation,
    diffusion,
    graph_traversal,
    insert,
    k_reciprocal,
    label_product,
    query_expansion,
    sort,
)
from landmark_dag.retrieval.reranking.inputs import RerankingInput
from landmark_dag.settings.reranking import RerankingSettings
from landmark_dag.storage.schemas import RANKING

Need = Literal["votes", "train neighbours", "vectors", "index graph"]

Rerank = Callable[[pl.DataFrame, RerankingInput, RerankingSettings], pl.DataFrame]
"""Takes lists (schemas.NEIGHBOURS or RANKING), what is known of the photos, and the settings; returns new lists."""


@dataclass(frozen=True)
class Method:
    """One way to re-rank: its name for people, what it reads, and how many photos of a list it starts from."""

    title: str
    rerank: Rerank
    needs: frozenset[Need]
    depth: Callable[[RerankingSettings], int]

    @property
    def reads_labels(self) -> bool:
        """Whether landmarks decide, not similarity alone."""
        return bool(self.needs & {"votes", "train neighbours"})


def _limit(settings: RerankingSettings) -> int:
    return settings.insert.limit


def _candidates(settings: RerankingSettings) -> int:
    return settings.candidates


def _deepest(settings: RerankingSettings) -> int:
    return max(settings.insert.limit, settings.candidates, settings.traversal.neighbours)


METHODS: dict[str, Method] = {
    "sort": Method("sort", sort.rerank, frozenset({"votes"}), _limit),
    "insert": Method("sort + insert", insert.rerank, frozenset({"votes"}), _limit),
    "agreement": Method("agreement", agreement.rerank, frozenset({"votes"}), _candidates),
    "label_product": Method("label_product", label_product.rerank, frozenset({"train neighbours"}), _candidates),
    "bridged": Method("bridged", bridged.rerank, frozenset({"train neighbours"}), _candidates),
    "alpha_qe": Method("alpha-QE", query_expansion.rerank, frozenset({"vectors"}), _deepest),
    "dba": Method("DBA", database_augmentation.rerank, frozenset({"vectors", "index graph"}), _deepest),
    "diffusion": Method("diffusion", diffusion.rerank, frozenset({"vectors", "index graph"}), _deepest),
    "egt": Method("EGT", graph_traversal.rerank, frozenset({"vectors", "index graph"}), _deepest),
    "k_reciprocal": Method("k-reciprocal", k_reciprocal.rerank, frozenset({"vectors", "index graph"}), _candidates),
}
"""The paper's two steps, the soft variants of later challenges, then the label-blind ones."""


def chain(names: str) -> list[Method]:
    """Return the methods of a chain such as `k_reciprocal,insert`; InputError for an unknown name lists all."""
    for name in names.split(","):
        if name not in METHODS:
            raise InputError(f"There is no re-ranking method {name!r}; choose from {', '.join(METHODS)}.")
    return [METHODS[name] for name in names.split(",")]


def label_aware(name: str) -> tuple[Method, bool]:
    """Return the one method called `name`, which reads labels, and whether votes alone do; else train neighbours do.

    Raises InputError for a method that reads no labels.
    """
    known = [name for name, method in METHODS.items() if method.reads_labels and name != "sort"]
    if name not in known:
        raise InputError(f"inserted_ranking re-ranks by labels, not by {name!r}; choose from {', '.join(known)}.")
    return METHODS[name], "votes" in METHODS[name].needs


def needs(methods: Sequence[Method]) -> frozenset[Need]:
    """Return what a chain of methods reads."""
    return frozenset[Need]().union(*(method.needs for method in methods))


def rerank(
    lists: pl.DataFrame, photos: RerankingInput, methods: Sequence[Method], settings: RerankingSettings
) -> pl.DataFrame:
    """Return the ranking (schemas.RANKING) after each of `methods` re-ranked the first photos of every list.

    `lists` (schemas.NEIGHBOURS or RANKING) may be longer than the first method needs.
    """
    for method in methods:
        lists = method.rerank(lists.filter(pl.col("rank") <= method.depth(settings)), photos, settings)
    if "reason" not in lists.columns:
        lists = lists.with_columns(reason=pl.lit("retrieved"))
    return RANKING.conform(lists, "the ranking")
