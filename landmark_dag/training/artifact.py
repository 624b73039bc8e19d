"""A trained model on disk: a folder with the weights, the config that rebuilds the network, and the history."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from landmark_dag.errors import InputError
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.storage.atomic import replacing_folder
from landmark_dag.storage.formats import MODEL_FORMAT
from landmark_dag.storage.hashing import fingerprint
from landmark_dag.training.history import History
from landmark_dag.training.network import EmbeddingNetwork, build_network

WEIGHTS_FILE, CONFIG_FILE, HISTORY_FILE = "weights.safetensors", "config.json", "history.json"


@dataclass(frozen=True, eq=False)
class Model:
    """A network ready to embed, and the fingerprint that its embeddings carry."""

    network: EmbeddingNetwork
    settings: NetworkSettings
    fingerprint: str


def bootstrap_model(settings: NetworkSettings, device: str = "cpu") -> Model:
    """Return the network before any training. It has no projection: its pooled features are the embedding.

    Raises what build_network raises.
    """
    bare = replace(settings, embedding_dim=0)
    network = build_network(bare, seed=0)
    fingerprint = _fingerprint(_weights(network), _config(network, bare, {}))
    return Model(network.to(device), bare, fingerprint)


def save_model(
    folder: Path,
    network: EmbeddingNetwork,
    settings: NetworkSettings,
    class_landmarks: Mapping[int, int],
    history: History,
) -> str:
    """Write the model to `folder`, whole or not at all, over any model there; return its fingerprint.

    `class_landmarks` holds the landmark id of each class that the network was trained on. The fingerprint is a hash of
    weights and config, so equal models have equal fingerprints, wherever and whenever they were trained.
    """
    weights = _weights(network)
    config = _config(network, settings, class_landmarks)
    with replacing_folder(folder) as temporary:
        (temporary / WEIGHTS_FILE).write_bytes(weights)
        (temporary / CONFIG_FILE).write_text(config)
        (temporary / HISTORY_FILE).write_text(json.dumps(history, indent=1))
    return _fingerprint(weights, config)


def load_model(folder: Path, device: str = "cpu") -> Model:
    """Load a model of `save_model`; only its folder is needed.

    Raises InputError, naming the file, when it is missing, of another format, or does not fit.
    """
    try:
        weights = (folder / WEIGHTS_FILE).read_bytes()
        text = (folder / CONFIG_FILE).read_text()
        config = json.loads(text)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no trained model: {error}; train it again.") from error
    if not isinstance(config, dict) or config.get("format") != MODEL_FORMAT:
        raise InputError(
            f"{folder / CONFIG_FILE} is not a model of format {MODEL_FORMAT}; delete the folder and train it again."
        )
    try:
        settings = NetworkSettings(**config["network"])
        network = build_network(settings, seed=0)
        network.load_state_dict(safetensors.torch.load(weights))
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise InputError(f"The model in {folder} does not fit its config: {error}; train it again.") from error
    return Model(network.to(device), settings, _fingerprint(weights, text))


def _weights(network: EmbeddingNetwork) -> bytes:
    """Return the network's parameters and buffers as safetensors, on the CPU."""
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    return safetensors.torch.save(state)


def _config(network: EmbeddingNetwork, settings: NetworkSettings, class_landmarks: Mapping[int, int]) -> str:
    """Return the JSON that rebuilds the network; the place of its first weights is left out."""
    config: dict[str, Any] = {
        "format": MODEL_FORMAT,
        "network": asdict(replace(settings, weights="")),
        "dimensions": network.dimensions,
        "class_landmarks": {str(key): int(value) for key, value in sorted(class_landmarks.items())},
        "timm": version("timm"),
        "torch": torch.__version__,
    }
    return json.dumps(config, indent=1)


def _fingerprint(weights: bytes, config: str) -> str:
    return fingerprint(weights, config.encode())
