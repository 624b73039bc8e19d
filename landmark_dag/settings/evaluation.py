"""Settings of the evaluation stage; importing them loads nothing heavy."""

from dataclasses import dataclass, field
from typing import Annotated

from landmark_dag.settings.reranking import (
    DiffusionSettings,
    ExpansionSettings,
    InsertSettings,
    ReciprocalSettings,
    SoftSettings,
    TraversalSettings,
)
from landmark_dag.settings.retrieval import VoteSettings


@dataclass(frozen=True)
class BootstrapSettings:
    """Intervals of a mean over queries."""

    level: Annotated[float, "share of resamples within the interval"] = 0.95
    resamples: Annotated[int, "times that the queries are drawn anew"] = 10_000
    seed: Annotated[int, "of the draws"] = 0


@dataclass(frozen=True)
class ComparisonSettings:
    """Re-ranking and its rivals, side by side on one graph."""

    candidates: Annotated[int, "nearest index photos that soft variants and k-reciprocal re-rank (Henkel 2021)"] = 750
    votes: VoteSettings = field(default_factory=VoteSettings)
    insert: InsertSettings = field(default_factory=InsertSettings)
    soft: SoftSettings = field(default_factory=SoftSettings)
    expansion: ExpansionSettings = field(default_factory=ExpansionSettings)
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    traversal: TraversalSettings = field(default_factory=TraversalSettings)
    reciprocal: ReciprocalSettings = field(default_factory=ReciprocalSettings)
    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)
