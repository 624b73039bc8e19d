"""Settings of the evaluation stage."""

from dataclasses import dataclass, field
from typing import Annotated

from landmark_dag.settings.definition import AT_LEAST_1, SEED, Range, Settings
from landmark_dag.settings.reranking import RerankingSettings


@dataclass(frozen=True)
class BootstrapSettings(Settings, section="comparison.bootstrap"):
    """Bootstrap intervals of a mean over queries."""

    level: Annotated[float, "share of the resampled means inside the interval", Range(above=0, below=1)] = 0.95
    resamples: Annotated[int, "how often the queries are resampled", AT_LEAST_1] = 10_000
    seed: Annotated[int, "seed of the resampling", SEED] = 0


@dataclass(frozen=True)
class ComparisonSettings(RerankingSettings, section="comparison"):
    """All ways to re-rank, side by side on one graph."""

    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)
