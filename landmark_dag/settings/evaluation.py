"""Settings of the evaluation stage."""

from dataclasses import dataclass, field
from typing import Annotated

from landmark_dag.settings.definition import AT_LEAST_1, SEED, Range, Settings
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
class BootstrapSettings(Settings, section="comparison.bootstrap"):
    """Bootstrap intervals of a mean over queries."""

    level: Annotated[float, "share of the resampled means inside the interval", Range(above=0, below=1)] = 0.95
    resamples: Annotated[int, "how often the queries are resampled", AT_LEAST_1] = 10_000
    seed: Annotated[int, "seed of the resampling", SEED] = 0


@dataclass(frozen=True)
class ComparisonSettings(Settings, section="comparison"):
    """The paper's re-ranking and its baselines, side by side on one graph."""

    candidates: Annotated[
        int, "nearest index photos that soft variants and k-reciprocal re-rank (Henkel 2021)", AT_LEAST_1
    ] = 750
    votes: VoteSettings = field(default_factory=VoteSettings)
    insert: InsertSettings = field(default_factory=InsertSettings)
    soft: SoftSettings = field(default_factory=SoftSettings)
    expansion: ExpansionSettings = field(default_factory=ExpansionSettings)
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    traversal: TraversalSettings = field(default_factory=TraversalSettings)
    reciprocal: ReciprocalSettings = field(default_factory=ReciprocalSettings)
    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)
