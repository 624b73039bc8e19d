"""Settings of the evaluation stage; importing them loads nothing heavy."""

from dataclasses import dataclass, field
from typing import Annotated

from landmark_dag.settings.reranking import RerankingSettings


@dataclass(frozen=True)
class BootstrapSettings:
    """Intervals of a mean over queries."""

    level: Annotated[float, "share of resamples within the interval"] = 0.95
    resamples: Annotated[int, "times that the queries are drawn anew"] = 10_000
    seed: Annotated[int, "of the draws"] = 0


@dataclass(frozen=True)
class ComparisonSettings(RerankingSettings):
    """All ways to re-rank, side by side on one graph."""

    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)
