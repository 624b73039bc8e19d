"""Training: the network, fitted to the cleaned dataset in processes of its own."""

import os
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError  # Dagster has no public name for it

from assets.configs import ModelConfig
from assets.metadata import Metadata, picture_metadata
from assets.steps import GPU, OWNERS, Upstream, deps, every, every_shard, materialize_stored
from landmark_dag.errors import InputError
from landmark_dag.settings.training import DistributedSettings
from landmark_dag.storage.schemas import CLEANED_DATASET, LABELS, MANIFEST
from landmark_dag.training.launcher import PARENT_VARIABLE, launch_command
from resources.accelerator import Accelerator
from resources.store import Store

if TYPE_CHECKING:
    from landmark_dag.training.job_spec import TrainingJobSpec

# Dagster warns of a part of Pipes that Dagster itself calls.
warnings.filterwarnings("ignore", message="Function `PipesMessageReader", category=dg.PreviewWarning)

_CURVES = ("loss", "accuracy", "learning_rate")
_TRAINED_MODEL = [Upstream("cleaned_dataset"), Upstream("train/labels"), every("train/photos", "train")]


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
    from landmark_dag.reports.plots import training_curve
    from landmark_dag.training.job_spec import TrainingJobSpec
    from landmark_dag.training.photo_tables import cleaned_photos, labelled_photos

    network, training = config.network.settings(), config.training.settings()

    def compute(shard: str, path: Path, version: str) -> Metadata:
        manifest = store.read_shards("train/photos", MANIFEST, every_shard(context, "train"))
        photos, landmarks = cleaned_photos(manifest, store.read("cleaned_dataset", CLEANED_DATASET))
        two_stages = training.first_stage_epochs > 0
        first = labelled_photos(manifest, store.read("train/labels", LABELS)) if two_stages else None
        folder = Path(store.root).absolute() / "models" / version
        checkpoint = folder.with_suffix(".checkpoint")
        device = accelerator.torch_device()
        job = TrainingJobSpec(folder, checkpoint, network, training, device, photos, landmarks, first)
        result = _trained(context, job, config.distributed.settings())
        store.write_record(path, version, {"folder": f"models/{version}"})
        checkpoint.unlink(missing_ok=True)
        history = result["history"]
        curves = {f"{value} curve": picture_metadata(training_curve(history, value)) for value in _CURVES if history}
        return {"model": result["fingerprint"], "photos": len(photos.locations), **dict(*history[-1:]), **curves}

    return materialize_stored(context, store, compute, inputs=_TRAINED_MODEL, settings=[network, training])


def _trained(
    context: dg.AssetExecutionContext, job: "TrainingJobSpec", settings: DistributedSettings
) -> dict[str, Any]:
    """Train in separate processes, which report to this run; return fingerprint and history.

    Raises InputError with the sentence of the process that failed. The checkpoint keeps the training's state.
    """
    import torch

    from landmark_dag.training.job_spec import read_error, write_job_spec

    folder = job.model_folder.with_suffix(".job")
    write_job_spec(folder, job)
    gpus = torch.cuda.device_count() if job.device == "cuda" else 0
    command = launch_command(folder, settings, gpus)
    context.log.info(" ".join(command))
    try:
        environment = {PARENT_VARIABLE: str(os.getpid())}
        run = dg.PipesSubprocessClient().run(context=context, command=command, env=environment)
    except DagsterPipesExecutionError as error:
        sentence = read_error(folder) or (
            f"Training ended without an error message ({error}); the output of its processes is in the step's stderr "
            f"and under {folder}. Materialize again to continue from the last checkpoint."
        )
        raise InputError(sentence) from None
    shutil.rmtree(folder)
    return dict(run.get_custom_messages()[-1])
