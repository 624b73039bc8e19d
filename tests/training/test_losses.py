"""The losses against their formulas, and at the edges of the cosine."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from landmark_dag.training.losses import Classifier, arcface_logits, cosface_logits


@settings(max_examples=50, deadline=None)
@given(st.floats(-0.99, 0.99), st.floats(0.0, 1.0), st.floats(1.0, 64.0))
def test_arcface_adds_the_margin_to_the_angle_of_the_true_class(cosine: float, margin: float, scale: float) -> None:
    given_cosines = torch.tensor([[0.3, cosine]], dtype=torch.float64)
    logits = arcface_logits(given_cosines, torch.tensor([1]), scale=scale, margin=margin)
    angle = math.acos(cosine)
    passed_pi = angle + margin > math.pi
    expected = cosine - margin * math.sin(margin) if passed_pi else math.cos(angle + margin)
    assert logits[0, 0].item() == pytest.approx(0.3 * scale)
    assert logits[0, 1].item() == pytest.approx(expected * scale, abs=1e-6 * scale)


@pytest.mark.parametrize("cosine", [-1.0, 1.0, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_arcface_has_a_finite_gradient_at_every_edge(cosine: float, dtype: torch.dtype) -> None:
    cosines = torch.tensor([[cosine, 0.1]], dtype=dtype, requires_grad=True)
    logits = arcface_logits(cosines, torch.tensor([0]), scale=30.0, margin=0.3)
    functional.cross_entropy(logits.float(), torch.tensor([0])).backward()
    assert cosines.grad is not None and torch.isfinite(cosines.grad).all()


def test_cosface_subtracts_the_margin_from_the_true_cosine_only() -> None:
    logits = cosface_logits(torch.tensor([[0.5, 0.2]]), torch.tensor([0]), scale=10.0, margin=0.35)
    assert torch.allclose(logits, torch.tensor([[1.5, 2.0]]))


@pytest.mark.parametrize("loss", ["arcface", "cosface", "softmax"])
def test_without_a_margin_the_loss_is_cross_entropy_of_the_scaled_products(loss: str) -> None:
    torch.manual_seed(0)
    classifier = Classifier(8, 5, loss, scale=4.0, margin=0.0)  # type: ignore[arg-type]
    features, class_ids = torch.randn(6, 8), torch.tensor([0, 1, 2, 3, 4, 0])
    products = features @ classifier.weight.T
    if loss != "softmax":
        lengths = features.norm(dim=1)[:, None] * classifier.weight.norm(dim=1)[None]
        products = 4.0 * products / lengths
    value, accuracy = classifier(features, class_ids)
    assert torch.allclose(value, functional.cross_entropy(products, class_ids), atol=1e-5)
    assert accuracy == (products.argmax(1) == class_ids).float().mean()
