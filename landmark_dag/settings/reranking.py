"""Settings of the ways to re-rank."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from landmark_dag.settings.definition import ABOVE_0, AT_LEAST_0, AT_LEAST_1, SHARE, SHARE_BELOW_1, Settings
from landmark_dag.settings.retrieval import VoteSettings

LabelMethod = Literal["insert", "agreement", "label_product", "bridged"]
"""The methods of the table retrieval.reranking.methods that may follow the sort-step: those that read labels."""


@dataclass(frozen=True)
class InsertSettings(Settings, section="insert"):
    """What follows the sort-step: the insert-step (paper, section 3.3) or a soft variant of both steps."""

    threshold: Annotated[float, "query confidence + index confidence must exceed this"] = 0.6
    limit: Annotated[int, "length to which a list is cut", AT_LEAST_1] = 100
    method: Annotated[
        LabelMethod, "insert: the paper's; agreement, label_product, bridged: soft variants, without a threshold"
    ] = "insert"


@dataclass(frozen=True)
class SoftSettings(Settings, section="soft"):
    """The soft variants of sort-step and insert-step; the defaults are their sources'."""

    agreement_bonus: Annotated[
        float, "agreement: times the index confidence, added where landmarks agree", AT_LEAST_0
    ] = 1.0
    disagreement_penalty: Annotated[
        float, "agreement: times the index confidence, subtracted where landmarks differ", AT_LEAST_0
    ] = 0.1
    product_k: Annotated[int, "label_product: nearest train photos that make a photo's distribution", AT_LEAST_1] = 5
    bridge_landmarks: Annotated[int, "bridged: nearest landmarks of a photo that may be a bridge", AT_LEAST_1] = 5
    bridge_photos: Annotated[int, "bridged: a landmark's nearest train photos whose distance counts", AT_LEAST_1] = 2
    bridge_bonus: Annotated[float, "bridged: confidence added for a photo's nearest landmark", AT_LEAST_0] = 0.5
    bridge_power: Annotated[float, "bridged: power of direct and bridged confidence before they are added", ABOVE_0] = (
        3.0
    )


@dataclass(frozen=True)
class ExpansionSettings(Settings, section="comparison.expansion"):
    """Query expansion and database augmentation (the paper's alpha, its repository's count)."""

    alpha: Annotated[float, "a neighbour weighs similarity to this power", AT_LEAST_0] = 3.0
    count: Annotated[int, "nearest index photos added", AT_LEAST_1] = 10


@dataclass(frozen=True)
class DiffusionSettings(Settings, section="comparison.diffusion"):
    """Diffusion on the mutual kNN graph; the defaults are Yang et al.'s (AAAI 2019)."""

    neighbours: Annotated[int, "nearest index photos that a photo may be joined with", AT_LEAST_1] = 50
    query_neighbours: Annotated[int, "nearest index photos where a query's diffusion starts", AT_LEAST_1] = 10
    truncation: Annotated[int, "nearest index photos that a photo's diffusion may reach", AT_LEAST_1] = 1000
    gamma: Annotated[float, "an edge weighs similarity to this power", AT_LEAST_0] = 3.0
    alpha: Annotated[float, "share of the diffusion that walks on", SHARE_BELOW_1] = 0.99
    tolerance: Annotated[float, "relative residual at which conjugate gradient stops", ABOVE_0] = 1e-6
    iterations: Annotated[int, "most steps of conjugate gradient", AT_LEAST_1] = 20


@dataclass(frozen=True)
class TraversalSettings(Settings, section="comparison.traversal"):
    """Explore-exploit graph traversal, as the paper ran it."""

    neighbours: Annotated[int, "nearest index photos explored from each photo", AT_LEAST_1] = 100
    threshold: Annotated[float, "similarity above which a photo is taken at once; above 1: only the best is"] = 2.0


@dataclass(frozen=True)
class ReciprocalSettings(Settings, section="comparison.reciprocal"):
    """k-reciprocal re-ranking; the defaults are Zhong et al.'s (CVPR 2017)."""

    k1: Annotated[int, "nearest photos among which reciprocal ones are sought", AT_LEAST_1] = 20
    k2: Annotated[int, "nearest photos whose encodings are averaged", AT_LEAST_1] = 6
    original_weight: Annotated[float, "share of the original distance in the final one", SHARE] = 0.3


@dataclass(frozen=True)
class RerankingSettings(Settings, section="comparison"):
    """The settings of all ways to re-rank; each way reads its own."""

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

    @property
    def index_neighbours(self) -> int:
        """How many neighbours of every index photo the methods read at most."""
        counts = self.expansion.count, self.diffusion.neighbours, self.traversal.neighbours, self.reciprocal.k1
        return max(counts)
