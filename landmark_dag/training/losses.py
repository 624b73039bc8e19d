"""The losses of the cosine-softmax family, as a classifier over landmarks."""

import math
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

LossName = Literal["arcface", "cosface", "softmax"]

_SMALLEST_SINE_SQUARED = 1e-6


def cosface_logits(cosine: torch.Tensor, class_ids: torch.Tensor, *, scale: float, margin: float) -> torch.Tensor:
    """Return s (cos - m) at the true class, s cos elsewhere, for cosines (b, classes).

    Source: Wang et al., CosFace: Large Margin Cosine Loss for Deep Face Recognition, CVPR 2018, eq. 4.
    """
    return scale * (cosine - margin * functional.one_hot(class_ids, cosine.shape[1]))


def arcface_logits(cosine: torch.Tensor, class_ids: torch.Tensor, *, scale: float, margin: float) -> torch.Tensor:
    """Return s cos(angle + m) at the true class, s cos elsewhere, for cosines (b, classes).

    Where angle + m would pass pi the logit goes on falling as s (cos - m sin m), as in the authors' code.
    The sine is kept off 0, so that the gradient is finite at cos = 1 and cos = -1.
    Source: Deng et al., ArcFace: Additive Angular Margin Loss for Deep Face Recognition, CVPR 2019, eq. 3.
    """
    true = cosine.gather(1, class_ids[:, None])
    sine = (1 - true.square()).clamp(min=_SMALLEST_SINE_SQUARED).sqrt()
    shifted = true * math.cos(margin) - sine * math.sin(margin)
    shifted = torch.where(true > -math.cos(margin), shifted, true - margin * math.sin(margin))
    return scale * cosine.scatter(1, class_ids[:, None], shifted)


class Classifier(nn.Module):
    """One weight vector for each landmark, and the loss of raw features against it."""

    def __init__(self, dimensions: int, classes: int, loss: LossName, *, scale: float, margin: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, dimensions))
        nn.init.xavier_uniform_(self.weight)
        self.loss = loss
        self.scale = scale
        self.margin = margin

    def logits(self, features: torch.Tensor, class_ids: torch.Tensor) -> torch.Tensor:
        """Return logits (b, classes), float32, of raw features (b, dimensions); the margin is applied."""
        features = features.float()
        if self.loss == "softmax":
            return features @ self.weight.T
        cosine = (functional.normalize(features) @ functional.normalize(self.weight).T).clamp(-1, 1)
        logits = arcface_logits if self.loss == "arcface" else cosface_logits
        return logits(cosine, class_ids, scale=self.scale, margin=self.margin)

    def forward(self, features: torch.Tensor, class_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean cross-entropy, and the share of photos whose largest logit is the true class.

        For softmax, see Bridle, Probabilistic interpretation of feedforward classification networks, 1990.
        """
        logits = self.logits(features, class_ids)
        accuracy = (logits.argmax(dim=1) == class_ids).float().mean()
        return functional.cross_entropy(logits, class_ids), accuracy
