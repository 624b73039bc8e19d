"""The losses against their formulas and pytorch-metric-learning, and at the edges of the cosine."""

import copy
import math
import typing
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import losses as library
from torch.nn import functional

from landmark_dag.errors import InputError
from landmark_dag.settings.training import TrainingSettings
from landmark_dag.training.losses import (
    LOSSES,
    Classifier,
    adacos_scale,
    arcface_logits,
    build_classifier,
    cosface_logits,
    dynamic_margins,
)

DIMENSIONS, CLASSES = 8, 5
ARCFACE = TrainingSettings(scale=16.0, margin=0.4)
SETTINGS = {
    "softmax": replace(ARCFACE, loss="softmax"),
    "cosface": replace(ARCFACE, loss="cosface"),
    "arcface": ARCFACE,
    "easy arcface": replace(ARCFACE, easy_margin=True),
    "sub-center arcface": replace(ARCFACE, sub_centers=3),
    "adacos": replace(ARCFACE, loss="adacos"),
}


def classifier_of(training: TrainingSettings, classes: int = CLASSES) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_classifier(DIMENSIONS, [4] * classes, training)


def batch(count: int = 12, classes: int = CLASSES) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(1)
    features = torch.from_numpy(random.normal(size=(count, DIMENSIONS)).astype(np.float32))
    return features.requires_grad_(), torch.from_numpy(random.integers(0, classes, count))


def value_and_gradients(
    loss: torch.Tensor, features: torch.Tensor, weight: torch.Tensor
) -> tuple[float, torch.Tensor, torch.Tensor]:
    return loss.item(), *torch.autograd.grad(loss, (features, weight))


def library_loss(training: TrainingSettings) -> torch.nn.Module:
    sizes = {"num_classes": CLASSES, "embedding_size": DIMENSIONS}
    if training.loss == "cosface":
        return library.CosFaceLoss(**sizes, margin=training.margin, scale=training.scale)
    margin = {**sizes, "margin": math.degrees(training.margin), "scale": training.scale}
    if training.sub_centers > 1:
        return library.SubCenterArcFaceLoss(**margin, sub_centers=training.sub_centers)
    if training.margin:
        return library.ArcFaceLoss(**margin)
    return library.NormalizedSoftmaxLoss(**sizes, temperature=1 / training.scale)


@pytest.mark.parametrize(
    "training",
    [*(SETTINGS[name] for name in ("cosface", "arcface", "sub-center arcface")), replace(ARCFACE, margin=0.0)],
    ids=["cosface", "arcface", "sub-center arcface", "normalised softmax"],
)
def test_value_and_gradients_are_those_of_pytorch_metric_learning(training: TrainingSettings) -> None:
    classifier, expected = classifier_of(training), library_loss(training)
    features, class_ids = batch()
    with torch.no_grad():
        expected.W.copy_(classifier.weight.T)
    ours = value_and_gradients(classifier(features, class_ids)[0], features, classifier.weight)
    normalised = functional.normalize(features)
    theirs = value_and_gradients(expected(normalised, class_ids), features, expected.W)
    assert ours[0] == pytest.approx(theirs[0], abs=1e-5)
    assert torch.allclose(ours[1], theirs[1], atol=1e-5)
    assert torch.allclose(ours[2], theirs[2].T, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.floats(-0.99, 0.99), st.floats(0.0, 1.0), st.floats(1.0, 64.0))
def test_arcface_adds_the_margin_to_the_angle_of_the_true_class(cosine: float, margin: float, scale: float) -> None:
    given_cosines = torch.tensor([[0.3, cosine]], dtype=torch.float64)
    logits = arcface_logits(given_cosines, torch.tensor([1]), scale=scale, margin=margin)
    easy = arcface_logits(given_cosines, torch.tensor([1]), scale=scale, margin=margin, easy_margin=True)
    angle = math.acos(cosine)
    passed_pi = angle + margin > math.pi
    expected = cosine - margin * math.sin(margin) if passed_pi else math.cos(angle + margin)
    assert logits[0, 0].item() == pytest.approx(0.3 * scale)
    assert logits[0, 1].item() == pytest.approx(expected * scale, abs=1e-6 * scale)
    expected_easy = math.cos(angle + margin) if cosine > 0 else cosine
    assert easy[0, 1].item() == pytest.approx(expected_easy * scale, abs=1e-6 * scale)


@pytest.mark.parametrize("cosine", [-1.0, 1.0, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("easy", [False, True])
def test_arcface_has_a_finite_gradient_at_every_edge(cosine: float, dtype: torch.dtype, easy: bool) -> None:
    cosines = torch.tensor([[cosine, 0.1]], dtype=dtype, requires_grad=True)
    logits = arcface_logits(cosines, torch.tensor([0]), scale=30.0, margin=0.3, easy_margin=easy)
    functional.cross_entropy(logits.float(), torch.tensor([0])).backward()
    assert cosines.grad is not None and torch.isfinite(cosines.grad).all()


@pytest.mark.parametrize("training", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_every_loss_is_finite_for_bfloat16_features_along_and_against_their_class(
    training: TrainingSettings, sign: float
) -> None:
    classifier = classifier_of(training)
    class_ids = torch.arange(CLASSES)
    along = classifier.weight.detach()[:: training.sub_centers]
    features = (sign * along).bfloat16().requires_grad_()
    for _ in range(2):
        loss, _ = classifier(features, class_ids)
    loss.backward()
    assert math.isfinite(loss.item())
    assert features.grad is not None and torch.isfinite(features.grad).all()
    assert classifier.weight.grad is not None and torch.isfinite(classifier.weight.grad).all()


def test_autocast_around_the_classifier_changes_nothing() -> None:
    classifier, (features, class_ids) = classifier_of(ARCFACE), batch()
    plain = classifier(features, class_ids)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(classifier(features, class_ids)[0], plain)


def test_cosface_subtracts_the_margin_from_the_true_cosine_only() -> None:
    logits = cosface_logits(torch.tensor([[0.5, 0.2]]), torch.tensor([0]), scale=10.0, margin=0.35)
    assert torch.allclose(logits, torch.tensor([[1.5, 2.0]]))


@pytest.mark.parametrize("loss", ["arcface", "cosface", "softmax"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_without_a_margin_the_loss_is_cross_entropy_of_the_scaled_products(loss: str, smoothing: float) -> None:
    training = TrainingSettings(loss=loss, scale=4.0, margin=0.0, label_smoothing=smoothing)  # type: ignore[arg-type]
    classifier, (features, class_ids) = classifier_of(training), batch()
    products = features @ classifier.weight.T
    if loss != "softmax":
        products = 4.0 * products / (features.norm(dim=1)[:, None] * classifier.weight.norm(dim=1)[None])
    value, accuracy = classifier(features, class_ids)
    targets = (1 - smoothing) * functional.one_hot(class_ids, CLASSES) + smoothing / CLASSES
    expected = -(targets * products.log_softmax(dim=1)).sum(dim=1).mean()
    assert torch.allclose(value, expected, atol=1e-5)
    assert accuracy == (products.argmax(1) == class_ids).float().mean()


def test_rare_landmarks_get_the_larger_margin() -> None:
    training = TrainingSettings(margin=0.05, rare_margin=0.5, margin_decay=0.5)
    margins = dynamic_margins([1, 4, 100], training)
    assert margins.tolist() == pytest.approx([0.55, 0.30, 0.10])
    classifier = build_classifier(DIMENSIONS, [1, 4, 100], training)
    features, class_ids = batch(classes=3)
    cosine = functional.normalize(features) @ functional.normalize(classifier.weight).T
    logits, true = classifier.logits(features, class_ids)
    for row, landmark in enumerate(true.tolist()):
        alone = arcface_logits(cosine[row : row + 1], true[row : row + 1], scale=30.0, margin=float(margins[landmark]))
        assert torch.allclose(logits[row], alone[0], atol=1e-5)


def plain_adacos(cosines: np.ndarray, class_ids: np.ndarray, scale: float) -> float:
    """Return the next scale of AdaCos, photo by photo."""
    sums = [
        sum(math.exp(scale * cosine) for landmark, cosine in enumerate(row) if landmark != true)
        for row, true in zip(cosines, class_ids, strict=True)
    ]
    angle = float(np.median([math.acos(row[true]) for row, true in zip(cosines, class_ids, strict=True)]))
    return math.log(sum(sums) / len(sums)) / math.cos(min(math.pi / 4, angle))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(3, 12), st.floats(1.0, 40.0))
def test_adacos_scale_is_that_of_the_paper(seed: int, photos: int, classes: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    cosines, class_ids = random.uniform(-1, 1, (photos, classes)), random.integers(0, classes, photos)
    found = adacos_scale(torch.from_numpy(cosines), torch.from_numpy(class_ids), torch.tensor(scale))
    assert found.item() == pytest.approx(plain_adacos(cosines, class_ids, scale), rel=1e-5)


def test_adacos_starts_at_its_fixed_scale_and_moves_it_in_training_only() -> None:
    classifier, (features, class_ids) = classifier_of(SETTINGS["adacos"]), batch()
    first = classifier.scale.item()
    assert first == pytest.approx(math.sqrt(2) * math.log(CLASSES - 1))
    classifier.eval()(features, class_ids)
    assert classifier.scale.item() == first
    loss, _ = classifier.train()(features, class_ids)
    cosine = functional.normalize(features) @ functional.normalize(classifier.weight).T
    moved = plain_adacos(cosine.detach().numpy(), class_ids.numpy(), first)
    assert classifier.scale.item() == pytest.approx(moved, rel=1e-5)
    assert torch.allclose(loss, functional.cross_entropy(moved * cosine, class_ids), atol=1e-5)


@pytest.mark.parametrize("sub_centers", [1, 2])
def test_a_sampled_step_compares_with_its_own_landmarks_and_a_share_of_the_others(sub_centers: int) -> None:
    training = replace(ARCFACE, class_share=0.25, sub_centers=sub_centers)
    classifier, (features, class_ids) = classifier_of(training, classes=40), batch(classes=40)
    loss, _ = classifier(features, class_ids)
    loss.backward()
    assert classifier.weight.grad is not None
    moved = classifier.weight.grad.unflatten(0, (40, sub_centers)).abs().sum(dim=(1, 2)).nonzero().squeeze(1)
    assert set(class_ids.tolist()) <= set(moved.tolist())
    assert len(moved) == max(10, len(class_ids.unique()))
    whole = classifier_of(replace(training, class_share=1.0), classes=40)
    rows = whole.logits(features, class_ids)[0][:, moved]
    expected = functional.cross_entropy(rows, torch.searchsorted(moved, class_ids))
    assert torch.allclose(loss, expected, atol=1e-5)


def test_samples_follow_seed_and_step_and_a_checkpoint_continues_them() -> None:
    training = replace(ARCFACE, class_share=0.2)
    features, class_ids = batch(classes=100)

    def losses(classifier: Classifier, steps: int) -> list[float]:
        return [classifier(features, class_ids)[0].item() for _ in range(steps)]

    whole = losses(classifier_of(training, classes=100), 4)
    assert len(set(whole)) == 4
    interrupted = classifier_of(training, classes=100)
    first = losses(interrupted, 2)
    state = copy.deepcopy(interrupted.state_dict())
    resumed = classifier_of(training, classes=100)
    resumed.load_state_dict(state)
    assert first + losses(resumed, 2) == whole
    assert losses(classifier_of(replace(training, seed=1), classes=100), 4) != whole


def test_in_evaluation_a_sampled_classifier_compares_with_every_landmark() -> None:
    classifier = classifier_of(replace(ARCFACE, class_share=0.25), classes=40).eval()
    features, class_ids = batch(classes=40)
    logits, true = classifier.logits(features, class_ids)
    assert logits.shape == (12, 40) and torch.equal(true, class_ids)


def test_a_start_sets_the_first_sub_center_of_each_landmark() -> None:
    classifier = classifier_of(SETTINGS["sub-center arcface"])
    before = classifier.weight.detach().clone()
    centers = torch.arange(CLASSES * DIMENSIONS, dtype=torch.float32).reshape(CLASSES, DIMENSIONS)
    classifier.start_at(centers)
    after = classifier.weight.detach().unflatten(0, (CLASSES, 3))
    assert torch.equal(after[:, 0], centers)
    assert torch.equal(after[:, 1:], before.unflatten(0, (CLASSES, 3))[:, 1:])


def test_adacos_of_two_landmarks_is_refused() -> None:
    with pytest.raises(InputError, match="at least 3 landmarks"):
        classifier_of(SETTINGS["adacos"], classes=2)


def test_every_loss_of_the_settings_is_in_the_table() -> None:
    kind, *_ = typing.get_args(typing.get_type_hints(TrainingSettings, include_extras=True)["loss"])
    assert set(LOSSES) == set(typing.get_args(kind))


class ShiftedCosine(Classifier):
    """A loss of a test: cosines less the margin, at every class."""

    def class_logits(
        self, features: torch.Tensor, weight: torch.Tensor, true: torch.Tensor, margins: torch.Tensor
    ) -> torch.Tensor:
        return self.cosine(features, weight) - margins[:, None]


def test_a_new_loss_overrides_one_method() -> None:
    features, class_ids = batch()
    classifier = ShiftedCosine(DIMENSIONS, [4] * CLASSES, ARCFACE)
    cosine = functional.normalize(features) @ functional.normalize(classifier.weight).T
    loss, _ = classifier(features, class_ids)
    assert torch.allclose(loss, functional.cross_entropy(cosine - ARCFACE.margin, class_ids), atol=1e-5)
