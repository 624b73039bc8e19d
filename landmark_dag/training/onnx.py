"""Export of a trained model to an ONNX file, to embed photos without torch."""

import importlib.util
from pathlib import Path

import torch
from torch import nn

from landmark_dag.errors import InputError
from landmark_dag.storage.atomic import replacing
from landmark_dag.storage.formats import MODEL_KEY
from landmark_dag.training.artifact import load_model
from landmark_dag.training.network import EmbeddingNetwork

INPUT, OUTPUT = "photos", "features"
"""Names of the file's input, uint8 (b, 3, h, w) RGB, and output, float32 (b, dimensions), not normalised."""

_SIDE = 256


class _InFloat32(nn.Module):
    """The network without autocast, because another device may lack bfloat16."""

    def __init__(self, network: EmbeddingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Return raw features of photos, as EmbeddingNetwork does."""
        features = self.network.backbone.forward_features(self.network.pixels(photos))
        return self.network.projection(self.network.pool(features))


def export_onnx(model_folder: Path, out: Path) -> str:
    """Write the model of `save_model` to the file `out`, whole or not at all; return the model's fingerprint.

    The file has the input and output of EmbeddingNetwork, in float32, for any number of photos of any size whose sides
    are multiples of the backbone's patches. Its features are neither averaged over scales nor divided by their length.
    Its metadata hold the fingerprint under MODEL_KEY.

    Raises InputError when the extra `onnx` is not installed, and what load_model raises.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"Exporting needs the package {missing[0]}; install landmark-dag with the extra onnx.")
    model = load_model(model_folder)
    multiple = model.network.size_multiple
    side = -(-_SIDE // multiple) * multiple
    photos = torch.zeros(2, 3, side, side + 2 * multiple, dtype=torch.uint8)
    program = _program(_InFloat32(model.network).eval(), photos)
    program.model.metadata_props[MODEL_KEY] = model.fingerprint
    with replacing(out) as temporary:
        program.save(temporary, external_data=False)
    return model.fingerprint


def _program(network: nn.Module, photos: torch.Tensor) -> torch.onnx.ONNXProgram:
    """Return the network as an ONNX program for any number and size of photos."""
    program = torch.onnx.export(
        network,
        (photos,),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes={INPUT: dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)},
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # the older exporter returns None
    return program
