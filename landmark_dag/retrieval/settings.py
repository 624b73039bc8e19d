"""Settings of embedding, neighbours, votes and re-ranking; importing them loads nothing heavy."""

from dataclasses import dataclass
from typing import Annotated

from landmark_dag.determining import Only


@dataclass(frozen=True)
class EmbeddingSettings:
    """How a photo becomes an embedding."""

    square_size: Annotated[int, "side of a nearly square photo at scale 1, pixels"] = 800
    long_side: Annotated[int, "longer side of any other photo at scale 1, pixels"] = 800
    scales: Annotated[tuple[float, ...], "scales whose raw features are averaged"] = (0.75, 1.0, 1.25)
    smallest_side: Annotated[int, "no side is scaled under this, pixels"] = 128
    batch_size: Annotated[int, "photos a batch", Only.SPEED] = 32


@dataclass(frozen=True)
class NeighbourSettings:
    """How many index photos stand in a query's list."""

    neighbours: Annotated[int, "nearest index photos kept for each query"] = 100


@dataclass(frozen=True)
class VoteSettings:
    """Soft voting over the nearest train photos."""

    k: Annotated[int, "nearest train photos that vote"] = 3


@dataclass(frozen=True)
class InsertSettings:
    """The insert-step (paper, section 3.3)."""

    threshold: Annotated[float, "query confidence + index confidence must exceed this"] = 0.6
    limit: Annotated[int, "length to which a list is cut"] = 100
