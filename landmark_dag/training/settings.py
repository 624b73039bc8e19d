"""Settings of the network and of its training; importing them loads nothing heavy."""

from dataclasses import dataclass
from typing import Annotated, Literal


@dataclass(frozen=True)
class NetworkSettings:
    """The network: a timm backbone, GeM pooling, and a projection to the embedding."""

    backbone: Annotated[str, "name of a timm model"] = "resnet101"
    weights: Annotated[str, "file of backbone weights (safetensors or pth), `hub` for timm's, or empty"] = ""
    embedding_dim: Annotated[int, "dimensions of the embedding"] = 512
    gem_power: Annotated[float, "power p of GeM pooling"] = 3.0


@dataclass(frozen=True)
class TrainingSettings:
    """How the network is fitted to the cleaned dataset."""

    trainable: Annotated[Literal["all", "projection"], "what the loss moves; the rest keeps its weights"] = "all"
    size: Annotated[int, "side of the square training photos, pixels"] = 448
    epochs: Annotated[int, "passes over the cleaned dataset"] = 5
    batch_size: Annotated[int, "photos a step"] = 32
    learning_rate: Annotated[float, "peak learning rate"] = 1e-3
    weight_decay: Annotated[float, "weight decay"] = 1e-5
    scale: Annotated[float, "ArcFace scale s"] = 30.0
    margin: Annotated[float, "ArcFace margin m, radians"] = 0.3
    seed: Annotated[int, "seed of initial weights, order and augmentation"] = 123456789
