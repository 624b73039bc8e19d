"""The losses of the cosine-softmax family, as a classifier over landmarks."""

import math
from collections.abc import Sequence

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

    `margin` is one number of radians, or float (b,). Where angle + m would pass pi the logit goes on falling as
    s (cos - m sin m), as in the authors' code; with `easy_margin` only photos less than a right angle from their
    class get the margin. The sine is kept off 0, so that the gradient is finite at cos = 1 and cos = -1.
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

    Source: Ha et al., Google Landmark Recognition 2020 Competition Third Place Solution, arXiv 2010.05350, whose
    b is our `margin`, a our `rare_margin` and lambda our `margin_decay`.
    """
    photos = torch.as_tensor(np.asarray(photos_per_class), dtype=torch.float64)
    return (settings.margin + settings.rare_margin * photos**-settings.margin_decay).float()


class Classifier(nn.Module):
    """Weight vectors for each landmark, and the loss of raw features against them.

    `weight` is float32 (classes * sub_centers, dimensions), a class's vectors one below the other. With several
    sub-centers the nearest of a landmark counts: photos of another side of it, or with a wrong label, gather at a
    vector of their own (Deng et al., Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces,
    ECCV 2020). With a `class_share` under 1 each training step compares only with the landmarks of
    its own photos and a random share of the rest, drawn anew by seed and step (An et al., Partial FC: Training 10
    Million Identities on a Single Machine, ICCVW 2021).

    Raises InputError for a setting out of its range.
    """

    weight: nn.Parameter
    margins: torch.Tensor
    scale: torch.Tensor
    step: torch.Tensor

    def __init__(
        self, dimensions: int, photos_per_class: Sequence[int] | NDArray[np.integer], settings: TrainingSettings
    ) -> None:
        super().__init__()
        classes = len(photos_per_class)
        _check(classes, settings)
        self.settings = settings
        self.weight = nn.Parameter(torch.empty(classes * settings.sub_centers, dimensions))
        nn.init.xavier_uniform_(self.weight)
        self.register_buffer("margins", dynamic_margins(photos_per_class, settings), persistent=False)
        first_scale = math.sqrt(2) * math.log(classes - 1) if settings.loss == "adacos" else settings.scale
        self.register_buffer("scale", torch.tensor(first_scale))
        self.register_buffer("step", torch.tensor(0))

    def start_at(self, centers: torch.Tensor) -> None:
        """Set the first vector of every class, in place, to `centers` (classes, dimensions)."""
        with torch.no_grad():
            self.weight[:: self.settings.sub_centers] = centers.to(self.weight)

    def logits(self, features: torch.Tensor, class_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (b, compared classes), float32, margin applied, and each photo's true class among them.

        `features` are raw, (b, dimensions).
        """
        weight, true = self._compared(class_ids)
        features = features.float()
        if self.settings.loss == "softmax":
            return self._nearest(features @ weight.T), true
        # Products are divided by the lengths, not the weight itself: of them there are fewer, a row for each photo.
        lengths = weight.norm(dim=1).clamp(min=_SMALLEST_LENGTH)
        cosine = self._nearest((functional.normalize(features) @ weight.T / lengths).clamp(-1, 1))
        return self._with_margin(cosine, true, self.margins[class_ids]), true

    def forward(self, features: torch.Tensor, class_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean cross-entropy, and the share of photos whose largest logit is the true class.

        For softmax, see Bridle, Probabilistic interpretation of feedforward classification networks, 1990; for
        label smoothing Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016.
        """
        with torch.autocast(features.device.type, enabled=False):
            logits, true = self.logits(features, class_ids)
        if self.training:
            self.step += 1
        accuracy = (logits.argmax(dim=1) == true).float().mean()
        return functional.cross_entropy(logits, true, label_smoothing=self.settings.label_smoothing), accuracy

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
        draws = np.random.default_rng([self.settings.seed, int(self.step)])
        priority = torch.from_numpy(draws.random(classes, dtype=np.float32)).to(class_ids.device)
        present = class_ids.unique()
        priority[present] = 2.0
        wanted = max(len(present), round(self.settings.class_share * classes))
        return priority.topk(wanted).indices.sort().values

    def _nearest(self, products: torch.Tensor) -> torch.Tensor:
        """Reduce products (b, classes * sub_centers) to those with each class's nearest vector (b, classes)."""
        if self.settings.sub_centers == 1:
            return products
        return products.unflatten(1, (-1, self.settings.sub_centers)).amax(dim=2)

    def _with_margin(self, cosine: torch.Tensor, true: torch.Tensor, margins: torch.Tensor) -> torch.Tensor:
        settings = self.settings
        if settings.loss == "arcface":
            easy = settings.easy_margin
            return arcface_logits(cosine, true, scale=settings.scale, margin=margins, easy_margin=easy)
        if settings.loss == "cosface":
            return cosface_logits(cosine, true, scale=settings.scale, margin=margins)
        if not self.training:
            return self.scale * cosine
        scale = adacos_scale(cosine.detach(), true, self.scale)
        self.scale.copy_(scale)
        return scale * cosine


def _column(margin: float | torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return one margin, or one for each photo, as a column of the dtype and device of `like`."""
    return torch.as_tensor(margin, dtype=like.dtype, device=like.device).reshape(-1, 1)


def _check(classes: int, settings: TrainingSettings) -> None:
    """Raise InputError for a loss that does not work with so few classes."""
    if settings.loss == "adacos" and classes < 3:
        raise InputError(f"AdaCos needs at least 3 landmarks to set its scale, not {classes}; choose another loss.")
