"""Fitting the network to the cleaned dataset: a deterministic loop over augmented photos."""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from torch import nn
from torch.nn import functional

from landmark_dag.errors import InputError
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.training.feeding import (
    Views,
    batches_of_one_size,
    default_threads,
    prepared_ahead,
    torch_threads,
)
from landmark_dag.training.inference import features_of
from landmark_dag.training.losses import Classifier
from landmark_dag.training.network import EmbeddingNetwork
from landmark_dag.training.preprocessing import augmented, decoded, photo_sizes, resized, size_for
from landmark_dag.training.settings import TrainingSettings
from landmark_dag.training.whitening import whitening

History = list[dict[str, float]]
"""One row an epoch: epoch (from 1), steps so far, mean loss, accuracy (0 to 1), last learning_rate."""

_ORDER, _AUGMENTATION, _CLASSIFIER = range(3)

_FEATURE_BATCH = 8
"""Photos a batch where features are only read off: more need more memory and are no faster on a CPU."""


def fit(
    photos: Sequence[PhotoLocation],
    class_ids: NDArray[np.integer],
    network: EmbeddingNetwork,
    settings: TrainingSettings,
    device: str = "cpu",
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> History:
    """Fit `network`, in place, to photos of classes numbered from 0; return the history.

    The network is left on `device` in evaluation mode. The same photos, settings and device give the same
    weights. Raises InputError for class ids that are not 0 to n - 1, fewer than two landmarks, a photo that
    cannot be read, and a loss that is not finite (naming step and learning rate).
    """
    classes = np.asarray(class_ids, dtype=np.int64)
    _check(len(photos), classes)
    photo_set = _PhotoSet(photos, settings)
    run = _Run(torch.from_numpy(classes), network.to(device).eval(), settings, torch.device(device))
    if settings.trainable == "projection":
        views = [_pooled(run, functools.partial(photo_set.augmented, view)) for view in range(settings.views)]
        return _fit_projection(run, np.stack(views), on_epoch)
    decoding, computing = _threads(run.device)
    with _deterministic(), torch_threads(computing):
        classifier = _classifier(run)
        if settings.projection_start == "whitened":
            _start_whitened(run, classifier, _pooled(run, photo_set.plain)[None])
        return _loop(run, network, classifier, _photo_steps(run, photo_set, decoding), on_epoch)


def fit_projection(
    views: NDArray[np.float32],
    class_ids: NDArray[np.integer],
    network: EmbeddingNetwork,
    settings: TrainingSettings,
    device: str = "cpu",
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> History:
    """Fit the projection of `network`, in place, to pooled features, as `fit` does with a frozen backbone.

    `views` are the features (views, photos, channels) of several views of the photos, taken in turn epoch by
    epoch. Returns and raises what `fit` does.
    """
    classes = np.asarray(class_ids, dtype=np.int64)
    _check(views.shape[1], classes)
    run = _Run(torch.from_numpy(classes), network.to(device).eval(), settings, torch.device(device))
    return _fit_projection(run, views, on_epoch)


@dataclass(frozen=True)
class _Run:
    """What every step of one fit needs."""

    class_ids: torch.Tensor
    network: EmbeddingNetwork
    settings: TrainingSettings
    device: torch.device

    def order(self) -> Iterator[tuple[int, int]]:
        """Yield (epoch, position) of every photo of every epoch, each epoch in an order of its own."""
        for epoch in range(self.settings.epochs):
            for position in _generator(self.settings, _ORDER, epoch).permutation(len(self.class_ids)):
                yield epoch, int(position)


class _PhotoSet:
    """The photos as the network is shown them."""

    def __init__(self, photos: Sequence[PhotoLocation], settings: TrainingSettings) -> None:
        self._photos = photos
        self._settings = settings
        self._sizes = photo_sizes(settings.square_size, settings.long_side)

    def plain(self, position: int) -> Views:
        """Return a photo as it is embedded at scale 1."""
        photo = self._decoded(position)
        return [resized(photo, size_for(photo, self._sizes))]

    def augmented(self, view: int, position: int) -> Views:
        """Return a photo as it is seen in one of its augmented views."""
        photo = self._decoded(position)
        draws = _generator(self._settings, _AUGMENTATION, view, position)
        size = size_for(photo, self._sizes)
        return [augmented(photo, size, self._settings.crop, self._settings.brightness, draws)]

    def _decoded(self, position: int) -> NDArray[np.uint8]:
        return decoded(self._photos[position], max(map(max, self._sizes)))


class _Curve:
    """Means of loss and accuracy: a row each time as many photos as there are have been seen."""

    def __init__(self, photos: int, on_epoch: Callable[[dict[str, float]], None] | None) -> None:
        self.seen = 0
        self._photos = photos
        self._on_epoch = on_epoch
        self._rows: History = []
        self._steps = 0
        self._sums = np.zeros(3)
        self._rate = 0.0

    def add(self, count: int, loss: float, accuracy: float, rate: float) -> None:
        """Count one step of `count` photos."""
        self.seen += count
        self._steps += 1
        self._sums += count * np.array([1.0, loss, accuracy])
        self._rate = rate
        if self.seen >= (len(self._rows) + 1) * self._photos:
            self._end_row()

    def finished(self) -> History:
        """Return all rows; the last holds what came after the last full one."""
        if self._sums[0]:
            self._end_row()
        return self._rows

    def _end_row(self) -> None:
        count, loss, accuracy = self._sums
        row = {
            "epoch": float(len(self._rows) + 1),
            "steps": float(self._steps),
            "loss": float(loss / count),
            "accuracy": float(accuracy / count),
            "learning_rate": self._rate,
        }
        self._rows.append(row)
        self._sums[:] = 0
        if self._on_epoch:
            self._on_epoch(row)


def _generator(settings: TrainingSettings, purpose: int, *numbers: int) -> np.random.Generator:
    """Return the random numbers for one purpose, e.g. one photo in one epoch."""
    return np.random.default_rng([settings.seed, purpose, *numbers])


def _threads(device: torch.device) -> tuple[int, int]:
    """Return how many threads decode photos, and with how many torch computes.

    On a CPU the network's threads wait for each other at every layer, so decoding leaves them their cores.
    """
    cores = default_threads()
    if device.type != "cpu":
        return cores, torch.get_num_threads()
    decoding = max(1, cores // 4)
    return decoding, max(1, cores - decoding)


def _check(photos: int, class_ids: NDArray[np.int64]) -> None:
    """Raise InputError unless class ids number at least two landmarks from 0, one for each photo."""
    if photos != len(class_ids):
        raise InputError(f"There are {photos} photos and {len(class_ids)} class ids; give one for each.")
    found = np.unique(class_ids)
    if len(found) < 2:
        raise InputError(
            f"The cleaned dataset has photos of {len(found)} landmarks; training needs at least 2. "
            "Loosen the keep rule or add photos."
        )
    if found[0] != 0 or found[-1] != len(found) - 1:
        raise InputError(f"Class ids must be 0 to {len(found) - 1} without gaps; found up to {found[-1]}.")


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    """Ask torch for deterministic algorithms where it has them; the former choice returns afterwards."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


def _fit_projection(
    run: _Run, views: NDArray[np.float32], on_epoch: Callable[[dict[str, float]], None] | None
) -> History:
    """Fit the projection to `views`, pooled features (views, photos, channels)."""
    with _deterministic(), torch_threads(1 if run.device.type == "cpu" else torch.get_num_threads()):
        classifier = _classifier(run)
        if run.settings.projection_start == "whitened":
            _start_whitened(run, classifier, views)
        return _loop(run, run.network.projection, classifier, _feature_steps(run, views), on_epoch)


def _start_whitened(run: _Run, classifier: Classifier, views: NDArray[np.float32]) -> None:
    """Set the projection to the whitening of pooled features, and each class to the mean of its photos.

    `views` are features (views, photos, channels). The projection is scaled so that a projected photo has
    length 1 on average: learning rates then mean the same for every backbone.
    """
    linear = run.network.linear
    if linear is None:
        raise InputError("A network without projection cannot start whitened; set embedding_dim above 0.")
    features = views.reshape(-1, views.shape[2])
    class_ids = np.tile(run.class_ids.numpy(), len(views))
    weight, bias = whitening(features, class_ids, linear.out_features, run.settings.shrinkage)
    projected = features @ weight.T + bias
    lengths = np.linalg.norm(projected, axis=1, keepdims=True)
    means = np.zeros((int(class_ids.max()) + 1, linear.out_features), np.float32)
    np.add.at(means, class_ids, projected / np.maximum(lengths, np.finfo(np.float32).tiny))
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight / lengths.mean()))
        linear.bias.copy_(torch.from_numpy(bias / lengths.mean()))
        classifier.start_at(functional.normalize(torch.from_numpy(means)))


def _pooled(run: _Run, views_of: Callable[[int], Views]) -> NDArray[np.float32]:
    """Return pooled features (photos, channels) of one view of every photo, by the network as it is."""
    return features_of(
        len(run.class_ids),
        views_of,
        run.network.pooled,
        batch_size=_FEATURE_BATCH,
        device=run.device,
    )


@dataclass(frozen=True)
class _Step:
    """The photos of one step: what the fitted module is given, and their classes."""

    inputs: torch.Tensor
    class_ids: torch.Tensor


def _photo_steps(run: _Run, photo_set: _PhotoSet, decoding: int) -> Iterator[_Step]:
    """Yield steps of augmented photos, decoded ahead; all photos of a step have one size."""

    def prepare(item: tuple[int, int]) -> tuple[int, Views]:
        return item[1], photo_set.augmented(*item)

    size = run.settings.batch_size
    photos = prepared_ahead(run.order(), prepare, threads=decoding, ahead=2 * size)
    for batch in batches_of_one_size(photos, size):
        yield _Step(batch.views[0], run.class_ids[batch.positions])


def _feature_steps(run: _Run, views: NDArray[np.float32]) -> Iterator[_Step]:
    """Yield steps of pooled features (views, photos, channels), the views taken in turn epoch by epoch."""
    features = torch.from_numpy(views)
    order = torch.tensor(list(run.order()), dtype=torch.int64).reshape(-1, 2)
    for start in range(0, len(order), run.settings.batch_size):
        epochs, positions = order[start : start + run.settings.batch_size].unbind(1)
        yield _Step(features[epochs % len(views), positions], run.class_ids[positions])


def _classifier(run: _Run) -> Classifier:
    settings = run.settings
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(_generator(settings, _CLASSIFIER).integers(2**62)))
        classifier = Classifier(run.network.dimensions, torch.bincount(run.class_ids).numpy(), settings)
    return classifier.to(run.device)


def _optimizer(module: nn.Module, classifier: Classifier, settings: TrainingSettings) -> torch.optim.Optimizer:
    return create_optimizer_v2(
        [
            {"params": list(module.parameters()), "lr": settings.learning_rate},
            {"params": list(classifier.parameters()), "lr": settings.classifier_learning_rate},
        ],
        opt=settings.optimizer,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        momentum=settings.momentum,
    )


def _loop(
    run: _Run,
    module: nn.Module,
    classifier: Classifier,
    steps: Iterator[_Step],
    on_epoch: Callable[[dict[str, float]], None] | None,
) -> History:
    """Move `module` and `classifier` through `steps`; the learning rate follows a cosine over photos seen."""
    settings = run.settings
    if not settings.epochs:
        return []
    optimizer = _optimizer(module, classifier, settings)
    scheduler = CosineLRScheduler(
        optimizer,
        t_initial=settings.epochs * len(run.class_ids),
        lr_min=settings.lowest_learning_rate,
        t_in_epochs=False,
    )
    curve = _Curve(len(run.class_ids), on_epoch)
    for number, step in enumerate(steps, start=1):
        if len(step.class_ids) == 1:
            continue  # batch norm has no statistics of a single photo
        module.train()
        class_ids = step.class_ids.to(run.device)
        loss, accuracy = classifier(module(step.inputs.to(run.device, non_blocking=True)), class_ids)
        rate = optimizer.param_groups[0]["lr"]
        if not math.isfinite(loss.item()):
            raise InputError(
                f"The loss became {loss.item()} at step {number} (learning rate {rate:.3g}); "
                "lower the learning rates or look at the photos."
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        curve.add(len(class_ids), loss.item(), accuracy.item(), rate)
        scheduler.step_update(curve.seen)
    run.network.eval()
    return curve.finished()
