"""Fitting the network to labelled photos: where the weights start, and what the training loop gets."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from landmark_dag.errors import InputError
from landmark_dag.photos.loading import Views, default_threads, torch_threads
from landmark_dag.settings.training import TrainingSettings
from landmark_dag.training.batches import BatchPlan, PlannedBatch
from landmark_dag.training.checkpoint import Checkpoint
from landmark_dag.training.data_loading import MOST_NAMED, PhotoLoader, loading_threads
from landmark_dag.training.distributed import SINGLE, Ranks
from landmark_dag.training.history import Curve, History, OnEpoch
from landmark_dag.training.inference import features_of
from landmark_dag.training.labelled_photos import LabelledPhotos, check_classes
from landmark_dag.training.loop import Loop, TrainingData
from landmark_dag.training.losses import Classifier, build_classifier
from landmark_dag.training.network import EmbeddingNetwork
from landmark_dag.training.seeds import CLASSIFIER, torch_seed
from landmark_dag.training.trainable import TrainableParameters
from landmark_dag.training.whitening import whitening

_FEATURE_BATCH = 8
"""Photos a batch where features are only computed: larger batches need more memory and are no faster on a CPU."""


@dataclass(frozen=True)
class Progress:
    """How a fit continues an earlier one, and what it reports to.

    A fit is stage number `stage` of a training; `former` is the history of the stages before. The process of rank 0
    writes the state of the fit to `checkpoint`, and a fit continues from the state there. `on_epoch` is called with
    each row of the history.
    """

    stage: int = 1
    former: History = field(default_factory=list)
    checkpoint: Checkpoint | None = None
    on_epoch: OnEpoch | None = None
    ranks: Ranks = SINGLE


FROM_SCRATCH = Progress()
"""A fit that starts at its first step and reports to nothing."""


def fit(
    photos: LabelledPhotos,
    network: EmbeddingNetwork,
    settings: TrainingSettings,
    device: str = "cpu",
    progress: Progress = FROM_SCRATCH,
) -> History:
    """Fit `network`, in place, to photos of classes numbered from 0; return the history.

    Afterwards the network is on `device`, in evaluation mode. The same photos, settings and device give the same
    weights, also when a fit continues from a checkpoint. Raises InputError for a photo that cannot be read, a
    checkpoint that does not fit or cannot be written, and a loss that is not finite (naming step, learning rate and
    files).
    """
    run = _Run(photos.class_ids, network.to(device).eval(), settings, torch.device(device), progress)
    loader = PhotoLoader(photos, settings)
    if settings.trainable == "projection":
        views = [_pooled(run, functools.partial(loader.augmented, view)) for view in range(settings.views)]
        return _fit_projection(run, np.stack(views), loader.files_of)
    epochs, ranks = settings.epochs + settings.final_epochs, progress.ranks
    plan = BatchPlan(loader.buckets, epochs, settings.batch_size, settings.accumulation, settings.seed)
    decoding, computing = loading_threads(run.device, ranks)
    pin = run.device.type == "cuda"
    data = TrainingData(
        plan, run.class_ids, lambda start: loader.batches(plan, start, ranks, decoding, pin=pin), loader.files_of
    )
    with torch_threads(computing):
        return _run_loop(run, data, lambda: _pooled(run, loader.plain)[None], ranks)


def fit_projection(
    views: NDArray[np.float32],
    class_ids: NDArray[np.integer],
    network: EmbeddingNetwork,
    settings: TrainingSettings,
    device: str = "cpu",
    progress: Progress = FROM_SCRATCH,
) -> History:
    """Fit the projection of `network`, in place, to pooled features, as `fit` does with a frozen backbone.

    `views` are the features float32 (views, photos, channels) of several views of the photos; epochs take the views
    in turn. Returns and raises what `fit` does.
    """
    classes = np.asarray(class_ids, dtype=np.int64)
    check_classes(classes)
    settings = replace(settings, trainable="projection")
    run = _Run(classes, network.to(device).eval(), settings, torch.device(device), progress)
    return _fit_projection(run, views, lambda positions: f"rows {positions[:MOST_NAMED].tolist()}")


@dataclass(frozen=True, eq=False)
class _Run:
    """What every part of a fit uses."""

    class_ids: NDArray[np.int64]
    network: EmbeddingNetwork
    settings: TrainingSettings
    device: torch.device
    progress: Progress


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    """Let torch use deterministic algorithms inside the block, where it has them."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


def _fit_projection(run: _Run, views: NDArray[np.float32], files_of: Callable[[NDArray[np.int64]], str]) -> History:
    """Fit the projection to `views`, pooled features (views, photos, channels).

    This takes seconds, so each of several processes computes all of it.
    """
    features, settings = torch.from_numpy(views), run.settings
    one_bucket = np.zeros(len(run.class_ids), np.int64)
    plan = BatchPlan(one_bucket, settings.epochs, settings.batch_size, settings.accumulation, settings.seed)

    def load(start: int) -> Iterator[tuple[PlannedBatch, torch.Tensor]]:
        for batch in plan.from_step(start):
            yield batch, features[batch.epoch % len(views), torch.from_numpy(batch.positions)]

    with torch_threads(1 if run.device.type == "cpu" else torch.get_num_threads()):
        return _run_loop(run, TrainingData(plan, run.class_ids, load, files_of), lambda: views, SINGLE)


def _run_loop(
    run: _Run, data: TrainingData, start_features: Callable[[], NDArray[np.float32]], ranks: Ranks
) -> History:
    """Run the training loop, from the checkpoint of this stage if there is one; return the history.

    `start_features` returns the pooled features (views, photos, channels) that a whitened start is computed from; a
    later stage starts with the projection of the stage before. `ranks` are the processes that share each batch.
    """
    progress, settings = run.progress, run.settings
    state = progress.checkpoint.load() if progress.checkpoint else None
    if state and state["stage"] != progress.stage:
        state = None
    with _deterministic(), TrainableParameters(run.network, settings) as trainable:
        classifier = _classifier(run)
        if settings.projection_start == "whitened" and progress.stage == 1 and not state:
            _start_whitened(run, classifier, start_features())
        curve = Curve(progress.former, progress.on_epoch)
        loop = Loop(trainable, classifier, data, settings, curve, device=run.device, ranks=ranks)

        def save(step: int) -> None:
            if progress.checkpoint and progress.ranks.rank == 0:
                progress.checkpoint.save({"stage": progress.stage, **loop.state(step)})

        return loop.run(loop.restore(state) if state else 0, save)


def _start_whitened(run: _Run, classifier: Classifier, views: NDArray[np.float32]) -> None:
    """Set the projection to the whitening of pooled features, and each class to the mean of its photos.

    `views` are features (views, photos, channels). The projection is scaled so that projected photos have length 1 on
    average; learning rates then have the same effect for every backbone.
    """
    linear = run.network.linear
    if linear is None:
        raise InputError("A network without projection cannot start whitened; set embedding_dim above 0.")
    features = views.reshape(-1, views.shape[2])
    class_ids = np.tile(run.class_ids, len(views))
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
    """Return pooled features (photos, channels) of one view of every photo, by the network's present weights.

    Each of several processes computes the features of its slice of the photos.
    """
    ranks, photos = run.progress.ranks, len(run.class_ids)
    own = ranks.slice_of(np.arange(photos))
    features = features_of(
        len(own),
        lambda number: views_of(int(own[number])),
        run.network.pooled,
        batch_size=_FEATURE_BATCH,
        device=run.device,
        threads=max(1, default_threads() // ranks.on_host),
    )
    features = features.reshape(len(own), run.network.channels)
    return ranks.gather(torch.from_numpy(features).to(run.device), photos).cpu().numpy()


def _classifier(run: _Run) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(run.settings.seed, CLASSIFIER, run.progress.stage))
        classifier = build_classifier(run.network.dimensions, np.bincount(run.class_ids), run.settings)
    return classifier.to(run.device)
