"""Settings of embedding, neighbours, votes and recognition."""

from dataclasses import dataclass
from typing import Annotated, Literal

from landmark_dag.errors import InputError
from landmark_dag.settings.definition import ABOVE_0, AT_LEAST_0, AT_LEAST_1, Names, Only, Settings, Unit


@dataclass(frozen=True)
class EmbeddingSettings(Settings, section="embedding"):
    """How a photo becomes an embedding."""

    square_size: Annotated[int, "side of a nearly square photo at scale 1", AT_LEAST_1, Unit("pixels")] = 800
    long_side: Annotated[int, "longer side of any other photo at scale 1", AT_LEAST_1, Unit("pixels")] = 800
    scales: Annotated[tuple[float, ...], "scales whose raw features are averaged", ABOVE_0] = (0.75, 1.0, 1.25)
    smallest_side: Annotated[int, "no side is scaled under this", AT_LEAST_1, Unit("pixels")] = 128
    batch_size: Annotated[int, "photos a batch", AT_LEAST_1, Only.SPEED] = 32
    compile: Annotated[bool, "compile the network for each size, which takes seconds each", Only.SPEED] = False


@dataclass(frozen=True)
class EnsembleSettings(Settings, section="ensemble"):
    """Further trained models whose embeddings follow the trained model's (paper, section 4.4: six models)."""

    folders: Annotated[tuple[str, ...], "folders of further trained models", Names.PATH] = ()
    weights: Annotated[
        tuple[float, ...], "weight of the trained model, then of each further one; empty: 1 each", ABOVE_0
    ] = ()

    def __post_init__(self) -> None:
        """Refuse weights that do not fit the models."""
        super().__post_init__()
        if self.weights and len(self.weights) != 1 + len(self.folders):
            raise InputError(
                f"An ensemble of {1 + len(self.folders)} models got {len(self.weights)} weights; give one for each."
            )

    @property
    def each_weight(self) -> tuple[float, ...]:
        """The weight of every model, the trained model's first."""
        return self.weights or (1.0,) * (1 + len(self.folders))


@dataclass(frozen=True)
class NeighbourSettings(Settings, section="neighbours"):
    """How many index photos are in a query's list, and how they are found."""

    neighbours: Annotated[int, "nearest index photos kept for each query", AT_LEAST_1] = 100
    search: Annotated[
        Literal["exact", "hnsw", "ivf", "ivfsq", "ivfpq"],
        "exact, or by an approximate index of faiss for sizes beyond that",
    ] = "exact"
    effort: Annotated[
        int, "approximate: lists probed by ivf, ivfsq and ivfpq, photos looked at by hnsw (ef)", AT_LEAST_1
    ] = 128
    expansion: Annotated[
        Literal["none", "queries", "index", "both"], "queries: alpha-QE; index: database augmentation"
    ] = "none"
    alpha: Annotated[float, "expansion: a neighbour weighs similarity to this power", AT_LEAST_0] = 3.0
    expanded_by: Annotated[int, "expansion: nearest index photos added to a vector", AT_LEAST_1] = 10
    backend: Annotated[
        Literal["auto", "integer", "float", "faiss", "torch"],
        "exact: what shortlists; auto takes the fastest",
        Only.SPEED,
    ] = "auto"

    @property
    def grows(self) -> bool:
        """Whether neighbours among new index photos can be merged into those among the old ones."""
        return self.search == "exact" and self.expansion == "none"


@dataclass(frozen=True)
class TrainNeighbourSettings(Settings, section="train_neighbours"):
    """How many of a photo's nearest train photos are stored, for votes and soft re-ranking to take from."""

    count: Annotated[int, "nearest train photos stored for each photo", AT_LEAST_1] = 20


@dataclass(frozen=True)
class VoteSettings(Settings, section="votes"):
    """Soft voting over the nearest train photos."""

    k: Annotated[int, "nearest train photos that vote", AT_LEAST_1] = 3


@dataclass(frozen=True)
class RecognitionSettings(Settings, section="recognition"):
    """The landmark and score of a query (the authors' exp/submit_recognition.py)."""

    k: Annotated[int, "nearest train photos that vote", AT_LEAST_1] = 3
    verified: Annotated[bool, "add inliers / full_inliers to the similarity of each, at most 1"] = False
    full_inliers: Annotated[int, "inliers that add 1", AT_LEAST_1] = 70
    distractor_queries: Annotated[
        int, "a landmark of more queries than this scores below all others; 0: never (GLDv2: 30)", AT_LEAST_0
    ] = 0
