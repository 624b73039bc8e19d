"""The network: a timm backbone, pooling, a projection to the embedding; and its first weights."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import load_state_dict
from torch import nn
from torch.nn import functional

from landmark_dag.errors import InputError
from landmark_dag.settings.training import NetworkSettings

HUB = "hub"
"""The value of NetworkSettings.weights for timm's pretrained weights, which are downloaded."""


class GeM(nn.Module):
    """Generalised-mean pooling (Radenovic et al., Fine-tuning CNN image retrieval, 2018, eq. 3).

    The power is fixed, or, if `learned`, trained with the rest of the network.
    """

    def __init__(self, power: float, learned: bool = False) -> None:
        super().__init__()
        self.power: nn.Parameter | float = nn.Parameter(torch.tensor(power)) if learned else power

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pool non-negative features (b, positions, channels) to (b, channels), float32."""
        return features.float().clamp(min=1e-6).pow(self.power).mean(dim=1).pow(1 / self.power)


class MeanPooling(nn.Module):
    """The mean over all positions."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pool features (b, positions, channels) to (b, channels), float32."""
        return features.float().mean(dim=1)


class MaxPooling(nn.Module):
    """The largest value over all positions (Tolias et al., Particular object retrieval with MAC, ICLR 2016)."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pool features (b, positions, channels) to (b, channels), float32."""
        return features.float().amax(dim=1)


class ClassToken(nn.Module):
    """A transformer's own summary of the photo (Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021)."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the first of tokens (b, tokens, channels), (b, channels), float32."""
        return tokens[:, 0].float()


_SMALLEST_IN_BFLOAT16 = 64
"""Pixels of the shorter side below which the backbone runs in float32.

On CPUs with AMX a bfloat16 convolution of stride 2 over a map 2 positions wide reads uninitialised memory (oneDNN,
seen with torch 2.15), and sometimes returns NaN. From 64 pixels on no map before a stride of 2 is so narrow.
"""


class EmbeddingNetwork(nn.Module):
    """Photos to raw features: backbone, pooling, projection.

    The backbone runs in bfloat16 where the device is fast at it; pooling and projection in float32.
    `channels` is the number of pooled features; photo sides must be multiples of `size_multiple` pixels.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        backbone: Any,
        pooling: nn.Module,
        projection: nn.Module,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        normalise_pooled: bool,
    ) -> None:
        super().__init__()
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.channels = int(backbone.num_features)
        self.size_multiple = _size_multiple(backbone)
        self.skipped_tokens = 0 if isinstance(pooling, ClassToken) else _prefix_tokens(backbone)
        self.pooling = pooling
        self.projection = projection
        self.normalise_pooled = normalise_pooled
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(std).view(1, 3, 1, 1))

    @property
    def dimensions(self) -> int:
        """Dimensions of the embedding."""
        linear = self.linear
        return self.channels if linear is None else linear.out_features

    @property
    def linear(self) -> nn.Linear | None:
        """The projection's linear layer, None where the network has no projection."""
        return next((layer for layer in self.projection.children() if isinstance(layer, nn.Linear)), None)

    def pooled(self, photos: torch.Tensor) -> torch.Tensor:
        """Return the pooled features (b, channels), float32, of photos (b, 3, h, w), RGB from 0 to 255."""
        large = min(photos.shape[-2:]) >= _SMALLEST_IN_BFLOAT16
        with torch.autocast(photos.device.type, torch.bfloat16, enabled=large and fast_in_bfloat16(photos.device)):
            features = self.backbone.forward_features(self.pixels(photos))
        return self.pool(features)

    def map_level(self, coarsest: int) -> int:
        """Return the number of the deepest intermediate map with at most `coarsest` pixels a position.

        Raises InputError for a backbone without such a map.
        """
        reductions = [level["reduction"] for level in getattr(self.backbone, "feature_info", None) or []]
        fine = [number for number, reduction in enumerate(reductions) if reduction <= coarsest]
        if not fine or not hasattr(self.backbone, "forward_intermediates"):
            raise InputError(
                f"The backbone {type(self.backbone).__name__} has no intermediate map of {coarsest} pixels a "
                "position or finer; choose another one, or RootSIFT."
            )
        return fine[-1]

    def intermediate_map(self, photos: torch.Tensor, level: int) -> torch.Tensor:
        """Return the backbone's map `level` (b, c, h, w), float32, of photos as in `pooled`."""
        with torch.autocast(photos.device.type, torch.bfloat16, enabled=fast_in_bfloat16(photos.device)):
            (found,) = self.backbone.forward_intermediates(
                self.pixels(photos), indices=[level], output_fmt="NCHW", stop_early=True, intermediates_only=True
            )
        return found.float()

    def pixels(self, photos: torch.Tensor) -> torch.Tensor:
        """Return the backbone's input for photos as in `pooled`: float32, normalised as in its own training."""
        return (photos.to(torch.float32, memory_format=torch.channels_last) - self.mean) / self.std

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """Return the pooled features (b, channels) of the backbone's map or tokens."""
        pooled = self.pooling(self._by_position(features))
        return functional.normalize(pooled) if self.normalise_pooled else pooled

    def _by_position(self, features: torch.Tensor) -> torch.Tensor:
        """Return a CNN's map (b, c, h, w) or (b, h, w, c), or a transformer's tokens, as (b, positions, c)."""
        if features.ndim == 3:
            return features[:, self.skipped_tokens :]
        if features.shape[1] == self.channels:
            features = features.permute(0, 2, 3, 1)
        return features.flatten(1, 2)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Return raw features (b, dimensions), float32, not normalised; photos as in `pooled`."""
        return self.projection(self.pooled(photos))


def build_network(settings: NetworkSettings, seed: int) -> EmbeddingNetwork:
    """Build the network with its first weights: the backbone's as the settings say, the rest from `seed`.

    The network is in evaluation mode, on the CPU. Raises InputError for a backbone that timm does not know or that
    lacks the class token to pool, for a dropout out of its range, and for a weights file that is missing or does not
    fit the backbone.
    """
    if not timm.is_model(settings.backbone):
        raise InputError(f"timm has no model {settings.backbone!r}; `timm.list_models()` lists the names of backbones.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = _create_backbone(settings)
        projection = _create_projection(int(backbone.num_features), settings)
    if settings.weights and settings.weights != HUB:
        _load_backbone(backbone, Path(settings.weights), settings.backbone)
    config = backbone.pretrained_cfg
    network = EmbeddingNetwork(
        backbone,
        _create_pooling(backbone, settings),
        projection,
        mean=config["mean"],
        std=config["std"],
        normalise_pooled=settings.normalise_pooled,
    )
    return network.eval()


def fast_in_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _create_backbone(settings: NetworkSettings) -> Any:
    """Create the timm model without classifier, for photos of any size if the model allows it."""
    create = functools.partial(
        timm.create_model, settings.backbone, pretrained=settings.weights == HUB, num_classes=0, global_pool=""
    )
    try:
        return create(dynamic_img_size=True)
    except TypeError:  # only some transformers have this argument
        return create()


def _size_multiple(backbone: Any) -> int:
    """Return the side of a transformer's patches; 1 for other backbones."""
    patch = getattr(getattr(backbone, "patch_embed", None), "patch_size", 1)
    return int(max(patch) if isinstance(patch, tuple) else patch)


def _prefix_tokens(backbone: Any) -> int:
    """Return the number of tokens before those of the positions; some backbones have None for 0."""
    return int(getattr(backbone, "num_prefix_tokens", 0) or 0)


def _create_pooling(backbone: Any, settings: NetworkSettings) -> nn.Module:
    if settings.pooling == "token":
        if not _prefix_tokens(backbone) or getattr(backbone, "cls_token", None) is None:
            raise InputError(f"The backbone {settings.backbone} has no class token; set pooling to gem, mean or max.")
        return ClassToken()
    if settings.pooling == "gem":
        return GeM(settings.gem_power, settings.gem_learned)
    return MeanPooling() if settings.pooling == "mean" else MaxPooling()


def _create_projection(channels: int, settings: NetworkSettings) -> nn.Sequential:
    if not settings.embedding_dim:
        return nn.Sequential()
    linear = nn.Linear(channels, settings.embedding_dim)
    nn.init.xavier_normal_(linear.weight)
    nn.init.zeros_(linear.bias)
    before = [nn.Dropout(settings.dropout)] if settings.dropout else []
    after = [nn.BatchNorm1d(settings.embedding_dim)] if settings.batch_norm else []
    return nn.Sequential(*before, linear, *after)


def _load_backbone(backbone: Any, path: Path, name: str) -> None:
    """Load a weights file into the backbone; InputError names the file and the first tensor that differs."""
    try:
        weights = load_state_dict(str(path))
    except Exception as error:  # pickle, safetensors and zip raise different kinds
        reason = "there is no such file" if not path.exists() else " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as network weights: {reason}.") from error
    classifier = backbone.pretrained_cfg.get("classifier") or ()
    prefixes = tuple(f"{layer}." for layer in ([classifier] if isinstance(classifier, str) else classifier))
    weights = {key: value for key, value in weights.items() if not (prefixes and key.startswith(prefixes))}
    problem = _first_mismatch(weights, backbone.state_dict())
    if problem:
        raise InputError(f"{path} does not hold weights of the backbone {name}: {problem}.")
    backbone.load_state_dict(weights)


def _first_mismatch(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> str:
    """Return what is wrong with the first tensor, in the order of `expected`, that does not fit; '' if all fit."""
    for key, value in expected.items():
        if key not in found:
            if not key.endswith("num_batches_tracked"):
                return f"it has no tensor {key} of shape {tuple(value.shape)}"
        elif found[key].shape != value.shape:
            return f"{key} has shape {tuple(found[key].shape)}, not {tuple(value.shape)}"
    unknown = next((key for key in found if key not in expected), None)
    return f"it has a tensor {unknown} that the backbone lacks" if unknown else ""
