"""Training: the network fitted to the cleaned dataset."""

from pathlib import Path

import dagster as dg

from assets.configs import ModelConfig
from assets.steps import GPU, OWNERS, Metadata, Upstream, deps, every, every_shard, materialize_stored, picture_metadata
from landmark_dag.tables import CLEANED_DATASET, MANIFEST
from resources.accelerator import Accelerator
from resources.store import Store

_CURVES = ("loss", "accuracy", "learning_rate")
_TRAINED_MODEL = [Upstream("cleaned_dataset"), every("train/photos", "train")]


@dg.asset(
    deps=deps(_TRAINED_MODEL),
    group_name="training",
    kinds={"pytorch", "safetensors"},
    owners=OWNERS,
    code_version="2",
    **GPU,
)
def trained_model(
    context: dg.AssetExecutionContext, config: ModelConfig, store: Store, accelerator: Accelerator
) -> dg.MaterializeResult:
    """The network that embeds photos: weights, configuration, history and curves."""
    from landmark_dag.evaluation.pictures import training_curve
    from landmark_dag.training.photo_tables import cleaned_photos
    from landmark_dag.training.train import TrainingJob, train

    network, training = config.network.settings(), config.training.settings()

    def compute(shard: str, path: Path, version: str) -> Metadata:
        manifest = store.read_shards("train/photos", MANIFEST, every_shard(context, "train"))
        cleaned = store.read("cleaned_dataset", CLEANED_DATASET)
        folder = Path(store.root) / "models" / version
        checkpoint = folder.with_suffix(".checkpoint")
        photos, landmarks = cleaned_photos(manifest, cleaned)
        job = TrainingJob(folder, checkpoint, network, training, accelerator.torch_device(), photos, landmarks)
        fingerprint, history = train(job, on_epoch=context.log.info)
        store.write_record(path, version, {"folder": str(folder.relative_to(store.root))})
        checkpoint.unlink(missing_ok=True)
        curves = {f"{value} curve": picture_metadata(training_curve(history, value)) for value in _CURVES}
        return {"model": fingerprint, "photos": cleaned.height, **history[-1], **curves}

    return materialize_stored(context, store, compute, inputs=_TRAINED_MODEL, settings=[network, training])
