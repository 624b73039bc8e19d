"""Settings of the network and of its training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from landmark_dag.errors import InputError
from landmark_dag.settings.definition import (
    ABOVE_0,
    AT_LEAST_0,
    AT_LEAST_1,
    SEED,
    SHARE,
    SHARE_BELOW_1,
    Names,
    Only,
    Range,
    Settings,
    Unit,
)


@dataclass(frozen=True)
class Augmentation(Settings, section="augmentation"):
    """The largest random changes of a photo."""

    crop: Annotated[float, "share of each side cut off", SHARE_BELOW_1] = 0.0
    shear: Annotated[float, "shear along each axis", AT_LEAST_0, Unit("degrees")] = 0.0
    brightness: Annotated[float, "relative change of brightness", AT_LEAST_0] = 0.0
    contrast: Annotated[float, "relative change of contrast", AT_LEAST_0] = 0.0


AUGMENTATIONS: Mapping[str, Augmentation] = {
    "none": Augmentation(),
    "soft": Augmentation(crop=0.2, brightness=0.1),
    "middle": Augmentation(crop=0.3, shear=4.0, brightness=0.1, contrast=0.1),
}
"""The values of TrainingSettings.augmentation; soft and middle are those of the paper's authors."""


@dataclass(frozen=True)
class NetworkSettings(Settings, section="network"):
    """The network: a timm backbone, pooling, and a projection to the embedding."""

    backbone: Annotated[str, "name of a timm model"] = "resnet101"
    weights: Annotated[str, "file of backbone weights (safetensors or pth), `hub` for timm's, or empty", Names.PATH] = (
        ""
    )
    pooling: Annotated[
        Literal["gem", "mean", "max", "token"], "how positions become one vector; token is a transformer's class token"
    ] = "gem"
    gem_power: Annotated[float, "power p of GeM pooling", ABOVE_0] = 3.0
    gem_learned: Annotated[bool, "train the power p with the network"] = False
    normalise_pooled: Annotated[bool, "L2-normalise the pooled features before the projection"] = False
    dropout: Annotated[
        float, "share of the pooled features dropped before the projection in training", SHARE_BELOW_1
    ] = 0.0
    embedding_dim: Annotated[int, "dimensions of the embedding; 0 leaves out the projection", AT_LEAST_0] = 512
    batch_norm: Annotated[bool, "batch norm after the projection"] = True


@dataclass(frozen=True)
class TrainingSettings(Settings, section="training"):
    """How the network is fitted to the cleaned dataset; the defaults are the paper's."""

    trainable: Annotated[
        Literal["all", "last_stage", "projection"],
        "what the loss moves, besides pooling and projection: the backbone, its last stage, or none of it",
    ] = "all"
    projection_start: Annotated[
        Literal["random", "whitened"], "the first projection: random, or the whitening of the train photos' features"
    ] = "random"
    shrinkage: Annotated[float, "share of the identity in the whitened covariance", SHARE] = 0.1
    square_size: Annotated[int, "side of a nearly square photo", AT_LEAST_1, Unit("pixels")] = 448
    long_side: Annotated[int, "longer side of any other photo", AT_LEAST_1, Unit("pixels")] = 512
    epochs: Annotated[int, "passes over the cleaned dataset", AT_LEAST_0] = 5
    first_stage_epochs: Annotated[
        int, "passes over all labelled photos before, with a classifier of their own", AT_LEAST_0
    ] = 0
    final_epochs: Annotated[int, "further passes, at the final sizes and with frozen batch norm", AT_LEAST_0] = 0
    final_square_size: Annotated[
        int, "side of a nearly square photo in the final epochs", AT_LEAST_1, Unit("pixels")
    ] = 640
    final_long_side: Annotated[
        int, "longer side of any other photo in the final epochs", AT_LEAST_1, Unit("pixels")
    ] = 736
    views: Annotated[
        int, "augmented views of each photo, taken in turn, where only the projection moves", AT_LEAST_1
    ] = 4
    batch_size: Annotated[int, "photos a batch, of all processes together", Range(at_least=2)] = 32
    accumulation: Annotated[int, "batches whose gradients together make one step of the optimizer", AT_LEAST_1] = 1
    loss: Annotated[Literal["arcface", "cosface", "adacos", "softmax"], "loss of the classifier"] = "arcface"
    scale: Annotated[float, "scale s of ArcFace and CosFace", ABOVE_0] = 30.0
    margin: Annotated[float, "margin m of ArcFace (radians) and CosFace (cosine)", AT_LEAST_0] = 0.3
    easy_margin: Annotated[bool, "ArcFace: no margin for photos more than a right angle from their class"] = False
    rare_margin: Annotated[
        float, "a landmark of n photos has the margin margin + rare_margin n^-margin_decay", AT_LEAST_0
    ] = 0.0
    margin_decay: Annotated[float, "how fast the margin falls with a landmark's photos", AT_LEAST_0] = 0.25
    sub_centers: Annotated[int, "vectors of each landmark; the nearest one counts", AT_LEAST_1] = 1
    label_smoothing: Annotated[float, "share of the target spread over all landmarks", SHARE_BELOW_1] = 0.0
    class_share: Annotated[
        float, "share of the landmarks that a step compares its photos with", Range(above=0, at_most=1)
    ] = 1.0
    optimizer: Annotated[str, "name of a timm optimizer; momentum is plain SGD with momentum"] = "momentum"
    learning_rate: Annotated[float, "peak learning rate of the network", ABOVE_0] = 1e-3
    backbone_share: Annotated[float, "learning rate of the backbone, as a share of the network's", AT_LEAST_0] = 1.0
    classifier_learning_rate: Annotated[float, "peak learning rate of the classifier", ABOVE_0] = 1e-3
    lowest_learning_rate: Annotated[
        float, "learning rate at the end of the cosine, and where a warm-up starts", AT_LEAST_0
    ] = 3e-6
    warm_up_steps: Annotated[int, "steps in which the learning rates rise to their peaks", AT_LEAST_0] = 0
    momentum: Annotated[float, "momentum", SHARE_BELOW_1] = 0.9
    weight_decay: Annotated[float, "weight decay", AT_LEAST_0] = 1e-5
    clip_norm: Annotated[
        float, "largest norm of the gradient, longer ones are shortened; 0 leaves them", AT_LEAST_0
    ] = 0.0
    frozen_batch_norm: Annotated[bool, "the backbone's batch norm keeps its statistics"] = False
    ema_decay: Annotated[
        float, "decay a step of the moving average of weights that is kept; 0 keeps the last", SHARE_BELOW_1
    ] = 0.0
    compile: Annotated[bool, "compile the network with torch.compile; it rounds otherwise"] = False
    augmentation: Annotated[
        Literal["none", "soft", "middle"],
        "soft: crop and brightness; middle: a larger crop, shear, brightness and contrast",
    ] = "soft"
    seed: Annotated[int, "seed of initial weights, order and augmentation", SEED] = 123456789
    checkpoint_steps: Annotated[int, "steps from one checkpoint to the next; 0 writes none", AT_LEAST_0, Only.SPEED] = (
        1000
    )

    def __post_init__(self) -> None:
        """Refuse final epochs, which need a backbone that moves, where only the projection is trained."""
        super().__post_init__()
        if self.trainable == "projection" and self.final_epochs:
            raise InputError("Where only the projection is trained there are no final epochs; set final_epochs to 0.")


@dataclass(frozen=True)
class DistributedSettings(Settings, section="distributed"):
    """On how many processes and hosts training runs; losses and gradients are those of the whole batch."""

    processes: Annotated[int, "processes on each host; 0: one for each GPU, or one", AT_LEAST_0, Only.SPEED] = 0
    hosts: Annotated[int, "hosts", AT_LEAST_1, Only.SPEED] = 1
    rendezvous: Annotated[str, "host:port at which several hosts meet, reachable from each", Only.SPEED] = ""

    def __post_init__(self) -> None:
        """Refuse several hosts without a place to meet."""
        super().__post_init__()
        if self.hosts > 1 and not self.rendezvous:
            raise InputError(f"Training on {self.hosts} hosts needs a `rendezvous`, the host:port at which they meet.")


@dataclass(frozen=True)
class TuningSettings(Settings, section="tuning"):
    """How trials of other settings are scored, on landmarks that they are not trained on."""

    held_out: Annotated[float, "share of the cleaned landmarks that are held out", SHARE_BELOW_1] = 0.2
    distractors: Annotated[int, "photos trained on, at most, that are searched with the held-out ones", AT_LEAST_0] = (
        10_000
    )
    seed: Annotated[int, "seed of the landmarks held out and of the distractors", SEED] = 123456789
