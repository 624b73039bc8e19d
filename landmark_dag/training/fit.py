"""Fitting the network to labelled photos: what is fed to the loop, and where the weights start."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from landmark_dag.errors import InputError
from landmark_dag.photos.loading import Views, default_threads, prepared_ahead, torch_threads
from landmark_dag.photos.resizing import decoded, photo_sizes, resized
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.training import AUGMENTATIONS, TrainingSettings
from landmark_dag.training.augmentation import augmented
from landmark_dag.training.batches import BatchPlan, PlannedBatch, aspect_buckets
from landmark_dag.training.checkpoint import Checkpoint
from landmark_dag.training.distributed import SINGLE, Ranks
from landmark_dag.training.history import Curve, History, OnEpoch
from landmark_dag.training.inference import features_of
from landmark_dag.training.loop import Feed, Loop
from landmark_dag.training.losses import Classifier
from landmark_dag.training.network import EmbeddingNetwork
from landmark_dag.training.seeds import AUGMENTATION, CLASSIFIER, generator, torch_seed
from landmark_dag.training.trainable import TrainableParameters
from landmark_dag.training.whitening import whitening

_FEATURE_BATCH = 8
"""Photos a batch where features are only read off: more need more memory and are no faster on a CPU."""

_NAMED_FILES = 5
"""Files that an error names at most."""


@dataclass(frozen=True, eq=False)
class LabelledPhotos:
    """Photos to train on: where they lie, width and height upright (n, 2), and classes int64 (n,), from 0."""

    locations: Sequence[PhotoLocation]
    sizes: NDArray[np.int32]
    class_ids: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Raise InputError unless there is one size and class a photo, and at least two classes without gaps."""
        if not len(self.locations) == len(self.sizes) == len(self.class_ids):
            raise InputError(
                f"There are {len(self.locations)} photos, {len(self.sizes)} sizes and {len(self.class_ids)} class "
                "ids; give one for each."
            )
        _check_classes(self.class_ids)


@dataclass(frozen=True)
class Progress:
    """How a fit goes on from an earlier one, and whom it tells.

    A fit is the stage numbered `stage` of a training; `former` is the history of the stages before. `checkpoint` is
    where its state is kept, by the process of rank 0, and taken up again.
    """

    stage: int = 1
    former: History = field(default_factory=list)
    checkpoint: Checkpoint | None = None
    on_epoch: OnEpoch | None = None
    ranks: Ranks = SINGLE


ALONE = Progress()
"""A fit that goes on from none and tells nobody."""


def fit(
    photos: LabelledPhotos,
    network: EmbeddingNetwork,
    settings: TrainingSettings,
    device: str = "cpu",
    progress: Progress = ALONE,
) -> History:
    """Fit `network`, in place, to photos of classes numbered from 0; return the history.

    The network is left on `device` in evaluation mode. The same photos, settings and device give the same
    weights, also where a fit goes on from a checkpoint. Raises InputError for a photo that cannot be read, a
    checkpoint that does not fit or cannot be written, and a loss that is not finite (naming step, learning rate and
    files).
    """
    run = _Run(photos.class_ids, network.to(device).eval(), settings, torch.device(device), progress)
    photo_set = _PhotoSet(photos, settings)
    if settings.trainable == "projection":
        views = [_pooled(run, functools.partial(photo_set.augmented, view)) for view in range(settings.views)]
        return _fit_projection(run, np.stack(views), photo_set.files_of)
    epochs = settings.epochs + settings.final_epochs
    plan = BatchPlan(photo_set.buckets, epochs, settings.batch_size, settings.accumulation, settings.seed)
    decoding, computing = _threads(run.device, progress.ranks)
    with torch_threads(computing):
        return _looped(
            run,
            plan,
            lambda start: photo_set.batches(plan, start, progress.ranks, decoding, pin=run.device.type == "cuda"),
            lambda: _pooled(run, photo_set.plain)[None],
            photo_set.files_of,
            progress.ranks,
        )


def fit_projection(
    views: NDArray[np.float32],
    class_ids: NDArray[np.integer],
    network: EmbeddingNetwork,
    settings: TrainingSettings,
    device: str = "cpu",
    progress: Progress = ALONE,
) -> History:
    """Fit the projection of `network`, in place, to pooled features, as `fit` does with a frozen backbone.

    `views` are the features (views, photos, channels) of several views of the photos, taken in turn epoch by
    epoch. Returns and raises what `fit` does.
    """
    classes = np.asarray(class_ids, dtype=np.int64)
    _check_classes(classes)
    settings = replace(settings, trainable="projection")
    run = _Run(classes, network.to(device).eval(), settings, torch.device(device), progress)
    return _fit_projection(run, views, lambda positions: f"rows {positions[:_NAMED_FILES].tolist()}")


@dataclass(frozen=True, eq=False)
class _Run:
    """What every part of one fit needs."""

    class_ids: NDArray[np.int64]
    network: EmbeddingNetwork
    settings: TrainingSettings
    device: torch.device
    progress: Progress


class _PhotoSet:
    """The photos as the network is shown them."""

    def __init__(self, photos: LabelledPhotos, settings: TrainingSettings) -> None:
        self.buckets = aspect_buckets(photos.sizes)
        self._photos = photos.locations
        self._settings = settings
        self._sizes = photo_sizes(settings.square_size, settings.long_side)
        self._final_sizes = photo_sizes(settings.final_square_size, settings.final_long_side)

    def plain(self, position: int) -> Views:
        """Return a photo as it is embedded at scale 1."""
        return [resized(self._decoded(position, self._sizes), self._sizes[self.buckets[position]])]

    def augmented(self, epoch: int, position: int) -> Views:
        """Return a photo as it is seen in one epoch, or in one of its augmented views."""
        settings = self._settings
        sizes = self._sizes if epoch < settings.epochs or not settings.final_epochs else self._final_sizes
        photo = self._decoded(position, sizes)
        draws = generator(settings.seed, AUGMENTATION, epoch, position)
        return [augmented(photo, sizes[self.buckets[position]], AUGMENTATIONS[settings.augmentation], draws)]

    def batches(
        self, plan: BatchPlan, start: int, ranks: Ranks, threads: int, *, pin: bool
    ) -> Iterator[tuple[PlannedBatch, torch.Tensor]]:
        """Yield the batches of `plan` from step `start` on, with this process's slice decoded ahead.

        A slice is a uint8 tensor (b, 3, h, w), in pinned memory if `pin`.
        """

        def prepare(batch: PlannedBatch) -> tuple[PlannedBatch, torch.Tensor]:
            mine = ranks.mine(batch.positions)
            taken = mine if len(mine) else batch.positions[:1]  # of which none is given, where photos are too few
            photos = torch.stack([self.augmented(batch.epoch, int(position))[0] for position in taken])[: len(mine)]
            return batch, photos.pin_memory() if pin else photos

        return prepared_ahead(plan.from_step(start), prepare, threads=threads, ahead=threads + 1)

    def files_of(self, positions: NDArray[np.int64]) -> str:
        """Name the files, such as TARs, that the photos at `positions` lie in."""
        files = sorted({self._photos[position].path for position in positions})
        more = f" and {len(files) - _NAMED_FILES} more files" if len(files) > _NAMED_FILES else ""
        return ", ".join(files[:_NAMED_FILES]) + more

    def _decoded(self, position: int, sizes: Sequence[tuple[int, int]]) -> NDArray[np.uint8]:
        return decoded(self._photos[position], max(map(max, sizes)))


def _check_classes(class_ids: NDArray[np.int64]) -> None:
    """Raise InputError unless class ids number at least two landmarks from 0."""
    found = np.unique(class_ids)
    if len(found) < 2:
        raise InputError(
            f"The photos to train on show {len(found)} landmarks; training needs at least 2. "
            "Loosen the keep rule or add photos."
        )
    if found[0] != 0 or found[-1] != len(found) - 1:
        raise InputError(f"Class ids must be 0 to {len(found) - 1} without gaps; found up to {found[-1]}.")


def _threads(device: torch.device, ranks: Ranks) -> tuple[int, int]:
    """Return how many threads decode photos, and with how many torch computes, in each process of this host.

    On a CPU the network is the work: it has every core, and decoding takes a share of them now and then.
    """
    cores = max(1, default_threads() // ranks.on_host)
    return (cores, torch.get_num_threads()) if device.type != "cpu" else (max(1, cores // 4), cores)


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


def _fit_projection(run: _Run, views: NDArray[np.float32], files_of: Callable[[NDArray[np.int64]], str]) -> History:
    """Fit the projection to `views`, pooled features (views, photos, channels).

    It takes seconds: of several processes each computes the whole of it.
    """
    features, settings = torch.from_numpy(views), run.settings
    alike = np.zeros(len(run.class_ids), np.int64)
    plan = BatchPlan(alike, settings.epochs, settings.batch_size, settings.accumulation, settings.seed)

    def feed(start: int) -> Iterator[tuple[PlannedBatch, torch.Tensor]]:
        for batch in plan.from_step(start):
            yield batch, features[batch.epoch % len(views), torch.from_numpy(batch.positions)]

    with torch_threads(1 if run.device.type == "cpu" else torch.get_num_threads()):
        return _looped(run, plan, feed, lambda: views, files_of, SINGLE)


def _looped(
    run: _Run,
    plan: BatchPlan,
    feed: Feed,
    start_features: Callable[[], NDArray[np.float32]],
    files_of: Callable[[NDArray[np.int64]], str],
    ranks: Ranks,
) -> History:
    """Move the weights through the steps of `plan`, from the checkpoint of this stage on where there is one.

    `start_features` returns the pooled features (views, photos, channels) that a whitened start is made of; a later
    stage starts with the projection of the stage before. `ranks` are the processes that share each batch.
    """
    progress, settings = run.progress, run.settings
    state = progress.checkpoint.load() if progress.checkpoint else None
    if state and state["stage"] != progress.stage:
        state = None
    with _deterministic(), TrainableParameters(run.network, settings) as parts:
        classifier = _classifier(run)
        if settings.projection_start == "whitened" and progress.stage == 1 and not state:
            _start_whitened(run, classifier, start_features())
        loop = Loop(
            parts,
            classifier,
            torch.from_numpy(run.class_ids),
            plan,
            settings,
            Curve(progress.former, progress.on_epoch),
            device=run.device,
            ranks=ranks,
            files_of=files_of,
        )

        def save(step: int) -> None:
            if progress.checkpoint and progress.ranks.rank == 0:
                progress.checkpoint.save({"stage": progress.stage, **loop.state(step)})

        return loop.run(feed, loop.restore(state) if state else 0, save)


def _start_whitened(run: _Run, classifier: Classifier, views: NDArray[np.float32]) -> None:
    """Set the projection to the whitening of pooled features, and each class to the mean of its photos.

    `views` are features (views, photos, channels). The projection is scaled so that a projected photo has
    length 1 on average: learning rates then mean the same for every backbone.
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
    """Return pooled features (photos, channels) of one view of every photo, by the network as it is.

    Of several processes each takes its part of the photos.
    """
    ranks, photos = run.progress.ranks, len(run.class_ids)
    mine = ranks.mine(np.arange(photos))
    features = features_of(
        len(mine),
        lambda number: views_of(int(mine[number])),
        run.network.pooled,
        batch_size=_FEATURE_BATCH,
        device=run.device,
        threads=max(1, default_threads() // ranks.on_host),
    )
    features = features.reshape(len(mine), run.network.channels)
    return ranks.gathered(torch.from_numpy(features).to(run.device), photos).cpu().numpy()


def _classifier(run: _Run) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(run.settings.seed, CLASSIFIER, run.progress.stage))
        classifier = Classifier(run.network.dimensions, np.bincount(run.class_ids), run.settings)
    return classifier.to(run.device)
