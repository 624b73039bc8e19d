"""Settings of the network and of its training; importing them loads nothing heavy."""

from dataclasses import dataclass
from typing import Annotated, Literal


@dataclass(frozen=True)
class NetworkSettings:
    """The network: a timm backbone, GeM pooling, and a projection to the embedding."""

    backbone: Annotated[str, "name of a timm model"] = "resnet101"
    weights: Annotated[str, "file of backbone weights (safetensors or pth), `hub` for timm's, or empty"] = ""
    gem_power: Annotated[float, "power p of GeM pooling"] = 3.0
    normalise_pooled: Annotated[bool, "L2-normalise the pooled features before the projection"] = False
    embedding_dim: Annotated[int, "dimensions of the embedding; 0 leaves out the projection"] = 512
    batch_norm: Annotated[bool, "batch norm after the projection"] = True


@dataclass(frozen=True)
class TrainingSettings:
    """How the network is fitted to the cleaned dataset; the defaults are the paper's."""

    trainable: Annotated[Literal["all", "projection"], "what the loss moves; the rest keeps its weights"] = "all"
    projection_start: Annotated[
        Literal["random", "whitened"], "the first projection: random, or the whitening of the train photos' features"
    ] = "random"
    shrinkage: Annotated[float, "share of the identity in the whitened covariance, 0 to 1"] = 0.1
    square_size: Annotated[int, "side of a nearly square photo, pixels"] = 448
    long_side: Annotated[int, "longer side of any other photo, pixels"] = 512
    epochs: Annotated[int, "passes over the cleaned dataset"] = 5
    views: Annotated[int, "augmented views of each photo, taken in turn, where only the projection moves"] = 4
    batch_size: Annotated[int, "photos a step"] = 32
    loss: Annotated[Literal["arcface", "cosface", "adacos", "softmax"], "loss of the classifier"] = "arcface"
    scale: Annotated[float, "scale s of ArcFace and CosFace"] = 30.0
    margin: Annotated[float, "margin m of ArcFace (radians) and CosFace (cosine)"] = 0.3
    easy_margin: Annotated[bool, "ArcFace: no margin for photos more than a right angle from their class"] = False
    rare_margin: Annotated[float, "a landmark of n photos has the margin margin + rare_margin n^-margin_decay"] = 0.0
    margin_decay: Annotated[float, "how fast the margin falls with a landmark's photos"] = 0.25
    sub_centers: Annotated[int, "vectors of each landmark, of which the nearest counts"] = 1
    label_smoothing: Annotated[float, "share of the target spread over all landmarks"] = 0.0
    class_share: Annotated[float, "share of the landmarks that a step compares its photos with"] = 1.0
    optimizer: Annotated[str, "name of a timm optimizer; momentum is plain SGD with momentum"] = "momentum"
    learning_rate: Annotated[float, "peak learning rate of the network"] = 1e-3
    classifier_learning_rate: Annotated[float, "peak learning rate of the classifier"] = 1e-3
    lowest_learning_rate: Annotated[float, "learning rate at the end of the cosine"] = 3e-6
    momentum: Annotated[float, "momentum"] = 0.9
    weight_decay: Annotated[float, "weight decay"] = 1e-5
    crop: Annotated[float, "largest share of a side that the random crop cuts off"] = 0.2
    brightness: Annotated[float, "largest relative change of brightness"] = 0.1
    seed: Annotated[int, "seed of initial weights, order and augmentation"] = 123456789
