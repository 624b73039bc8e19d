"""The losses by name, each a classifier over landmarks.

A new loss is a subclass of Classifier that overrides `class_logits`, an entry in LOSSES, and its name in the settings.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from landmark_dag.errors import InputError
from landmark_dag.settings.training import TrainingSettings

_SMALLEST_SINE_SQUARED = 1e-6
_SMALLEST_LENGTH = 1e-12


def cosface_logits(
    cosine: torch.Tensor, class_ids: torch.Tensor, *, scale: float, margin: float | torch.Tensor
) -> torch.Tensor:
    """Return s (cos - m) at the true class, s cos elsewhere, for cosines (b, classes).

    `margin` is one number, or float (b,). Source: Wang et al., CosFace: Large Margin Cosine Loss for Deep Face
    Recognition, CVPR 2018, eq. 4.
    """
    true = cosine.gather(1, class_ids[:, None])
    return scale * cosine.scatter(1, class_ids[:, None], true - _column(margin, true))


def arcface_logits(
    cosine: torch.Tensor,
    class_ids: torch.Tensor,
    *,
    scale: float,
    margin: float | torch.Tensor,
    easy_margin: bool = False,
) -> torch.Tensor:
    """Return s cos(angle + m) at the true class, s cos elsewhere, for cosines (b, classes).

    `margin` is one number of radians, or float (b,). Where angle + m would exceed pi, the logit is s (cos - m sin m),
    which goes on falling, as in the authors' code. With `easy_margin` only photos less than a right angle from their
    class get the margin. The sine is kept above 0, so that the gradient is finite at cos = 1 and cos = -1.
    Source: Deng et al., ArcFace: Additive Angular Margin Loss for Deep Face Recognition, CVPR 2019, eq. 3.
    """
    true = cosine.gather(1, class_ids[:, None])
    margins = _column(margin, true)
    sine = (1 - true.square()).clamp(min=_SMALLEST_SINE_SQUARED).sqrt()
    shifted = true * margins.cos() - sine * margins.sin()
    if easy_margin:
        shifted = torch.where(true > 0, shifted, true)
    else:
        shifted = torch.where(true > -margins.cos(), shifted, true - margins * margins.sin())
    return scale * cosine.scatter(1, class_ids[:, None], shifted)


def adacos_scale(cosine: torch.Tensor, class_ids: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return the next scale of AdaCos, from the present one and this step's cosines (b, classes).

    Source: Zhang et al., AdaCos: Adaptively Scaling Cosine Logits for Effectively Learning Deep Face
    Representations, CVPR 2019, section 4.2.
    """
    true = cosine.gather(1, class_ids[:, None])
    wrong = (scale * cosine).scatter(1, class_ids[:, None], -math.inf).logsumexp(dim=1)
    average = wrong.logsumexp(dim=0) - math.log(len(wrong))
    angle = true.squeeze(1).clamp(-1, 1).acos().quantile(0.5)
    return average / angle.clamp(max=math.pi / 4).cos()


def dynamic_margins(photos_per_class: Sequence[int] | NDArray[np.integer], settings: TrainingSettings) -> torch.Tensor:
    """Return the margin of each class, float32: margin + rare_margin n^-margin_decay for a class of n photos.

    Source: Ha et al., Google Landmark Recognition 2020 Competition Third Place Solution, arXiv 2010.05350. Their b is
    our `margin`, their a our `rare_margin`, their lambda our `margin_decay`.
    """
    photos = torch.as_tensor(np.asarray(photos_per_class), dtype=torch.float64)
    return (settings.margin + settings.rare_margin * photos**-settings.margin_decay).float()


class Classifier(nn.Module, ABC):
    """Weight vectors of each landmark, and the cross-entropy of raw features against them; a subclass is a loss.

    `weight` is float32 (classes * sub_centers, dimensions), a class's vectors one below the other. With several
    sub-centers the nearest of a landmark counts: photos of another side of it, or with a wrong label, gather at a
    vector of their own (Deng et al., Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces,
    ECCV 2020). With a `class_share` below 1 each training step compares its photos only with their own landmarks and
    a random share of the rest, which depends on seed and step (An et al., Partial FC: Training 10 Million Identities
    on a Single Machine, ICCVW 2021).
    """

    weight: nn.Parameter
    margins: torch.Tensor
    scale: torch.Tensor
    step: torch.Tensor

    def __init__(
        self, dimensions: int, photos_per_class: Sequence[int] | NDArray[np.integer], settings: TrainingSettings
    ) -> None:
        super().__init__()
        self.settings = settings
        self.weight = nn.Parameter(torch.empty(len(photos_per_class) * settings.sub_centers, dimensions))
        nn.init.xavier_uniform_(self.weight)
        self.register_buffer("margins", dynamic_margins(photos_per_class, settings), persistent=False)
        self.register_buffer("scale", torch.tensor(settings.scale))
        self.register_buffer("step", torch.tensor(0))

    @abstractmethod
    def class_logits(
        self, features: torch.Tensor, weight: torch.Tensor, true: torch.Tensor, margins: torch.Tensor
    ) -> torch.Tensor:
        """Return logits float32 (b, compared classes), with the margin applied; every loss overrides this.

        `features` are raw, float32 (b, dimensions); `weight` holds the vectors of the compared classes; `true` int64
        (b,) is each photo's class among them, and `margins` float32 (b,) the margin of that class.
        """

    def start_at(self, centers: torch.Tensor) -> None:
        """Set the first vector of every class, in place, to `centers` (classes, dimensions)."""
        with torch.no_grad():
            self.weight[:: self.settings.sub_centers] = centers.to(self.weight)

    def logits(self, features: torch.Tensor, class_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (b, compared classes), float32, margin applied, and each photo's true class among them.

        `features` are raw, (b, dimensions).
        """
        weight, true = self._compared(class_ids)
        return self.class_logits(features.float(), weight, true, self.margins[class_ids]), true

    def forward(self, features: torch.Tensor, class_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean cross-entropy, and the share of photos whose largest logit is the true class.

        Source of softmax: Bridle, Probabilistic interpretation of feedforward classification networks, 1990; of label
        smoothing: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016.
        """
        with torch.autocast(features.device.type, enabled=False):
            logits, true = self.logits(features, class_ids)
        if self.training:
            self.step += 1
        accuracy = (logits.argmax(dim=1) == true).float().mean()
        return functional.cross_entropy(logits, true, label_smoothing=self.settings.label_smoothing), accuracy

    def nearest(self, products: torch.Tensor) -> torch.Tensor:
        """Reduce products (b, classes * sub_centers) to those with each class's nearest vector (b, classes)."""
        if self.settings.sub_centers == 1:
            return products
        return products.unflatten(1, (-1, self.settings.sub_centers)).amax(dim=2)

    def cosine(self, features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the cosines (b, classes) of features (b, dimensions) with the nearest vector of each class."""
        # The products are divided by the lengths, not `weight` itself: products are fewer, one row for each photo.
        lengths = weight.norm(dim=1).clamp(min=_SMALLEST_LENGTH)
        return self.nearest((functional.normalize(features) @ weight.T / lengths).clamp(-1, 1))

    def _compared(self, class_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the weight of the classes this step compares with, and the photos' classes among them."""
        if not self.training or self.settings.class_share == 1:
            return self.weight, class_ids
        chosen = self._sample(class_ids)
        weight = self.weight.unflatten(0, (-1, self.settings.sub_centers))[chosen].flatten(0, 1)
        return weight, torch.searchsorted(chosen, class_ids)

    def _sample(self, class_ids: torch.Tensor) -> torch.Tensor:
        """Return the sorted classes of this step: those of its photos, and others up to the share."""
        classes = len(self.margins)
        random = np.random.default_rng([self.settings.seed, int(self.step)])
        priority = torch.from_numpy(random.random(classes, dtype=np.float32)).to(class_ids.device)
        present = class_ids.unique()
        priority[present] = 2.0
        wanted = max(len(present), round(self.settings.class_share * classes))
        return priority.topk(wanted).indices.sort().values


class Softmax(Classifier):
    """Plain cross-entropy of the inner products."""

    def class_logits(
        self, features: torch.Tensor, weight: torch.Tensor, true: torch.Tensor, margins: torch.Tensor
    ) -> torch.Tensor:
        """Return the inner products."""
        return self.nearest(features @ weight.T)


class CosFace(Classifier):
    """A margin taken from the cosine of the true class; see `cosface_logits`."""

    def class_logits(
        self, features: torch.Tensor, weight: torch.Tensor, true: torch.Tensor, margins: torch.Tensor
    ) -> torch.Tensor:
        """Return scaled cosines."""
        return cosface_logits(self.cosine(features, weight), true, scale=self.settings.scale, margin=margins)


class ArcFace(Classifier):
    """A margin added to the angle of the true class; see `arcface_logits`."""

    def class_logits(
        self, features: torch.Tensor, weight: torch.Tensor, true: torch.Tensor, margins: torch.Tensor
    ) -> torch.Tensor:
        """Return scaled cosines."""
        scale, easy = self.settings.scale, self.settings.easy_margin
        return arcface_logits(self.cosine(features, weight), true, scale=scale, margin=margins, easy_margin=easy)


class AdaCos(Classifier):
    """Cosines without a margin, times a scale that follows the training; see `adacos_scale`.

    Raises InputError for fewer than 3 landmarks.
    """

    def __init__(
        self, dimensions: int, photos_per_class: Sequence[int] | NDArray[np.integer], settings: TrainingSettings
    ) -> None:
        super().__init__(dimensions, photos_per_class, settings)
        classes = len(photos_per_class)
        if classes < 3:
            raise InputError(f"AdaCos needs at least 3 landmarks to set its scale, not {classes}; choose another loss.")
        self.scale.fill_(math.sqrt(2) * math.log(classes - 1))

    def class_logits(
        self, features: torch.Tensor, weight: torch.Tensor, true: torch.Tensor, margins: torch.Tensor
    ) -> torch.Tensor:
        """Return scaled cosines; a training step moves the scale first."""
        cosine = self.cosine(features, weight)
        if not self.training:
            return self.scale * cosine
        scale = adacos_scale(cosine.detach(), true, self.scale)
        self.scale.copy_(scale)
        return scale * cosine


LOSSES: Mapping[str, type[Classifier]] = {
    "arcface": ArcFace,
    "cosface": CosFace,
    "adacos": AdaCos,
    "softmax": Softmax,
}
"""The losses by the value of TrainingSettings.loss."""


def build_classifier(
    dimensions: int, photos_per_class: Sequence[int] | NDArray[np.integer], settings: TrainingSettings
) -> Classifier:
    """Return the classifier with the loss of the settings, for embeddings of `dimensions` numbers.

    `photos_per_class` (classes,) counts the photos of each landmark. Raises InputError for a setting out of its range.
    """
    return LOSSES[settings.loss](dimensions, photos_per_class, settings)


def _column(margin: float | torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return one margin, or one for each photo, as a column of the dtype and device of `like`."""
    return torch.as_tensor(margin, dtype=like.dtype, device=like.device).reshape(-1, 1)
