"""The trainable parameters of a network, their learning rates, and which batch norms keep their statistics."""

from typing import Any

from timm.models import group_parameters
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from landmark_dag.errors import InputError
from landmark_dag.settings.training import TrainingSettings
from landmark_dag.training.network import EmbeddingNetwork


class TrainableParameters:
    """The parameters of `network` that a training changes; a context manager that freezes all others."""

    def __init__(self, network: EmbeddingNetwork, settings: TrainingSettings) -> None:
        self.network = network
        self._settings = settings
        head = [*network.pooling.parameters(), *network.projection.parameters()]
        if settings.trainable == "projection":
            self.module: nn.Module = network.projection
            self._head, self._backbone = list(network.projection.parameters()), []
        else:
            self.module = network
            self._head, self._backbone = head, _backbone_parameters(network.backbone, settings)
        self._trainable = {id(parameter) for parameter in [*self._head, *self._backbone]}
        self._before: dict[nn.Parameter, bool] = {}

    def __enter__(self) -> "TrainableParameters":
        """Freeze all other parameters: they get no gradient."""
        self._before = {parameter: parameter.requires_grad for parameter in self.network.parameters()}
        for parameter in self._before:
            parameter.requires_grad_(id(parameter) in self._trainable)
        return self

    def __exit__(self, *_: object) -> None:
        """Undo the freezing, and put the network in evaluation mode."""
        for parameter, required in self._before.items():
            parameter.requires_grad_(required)
        self.network.eval()

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the parameter groups of an optimizer, those after the backbone first, with their learning rates."""
        rate = self._settings.learning_rate
        groups = [
            {"params": self._head, "lr": rate},
            {"params": self._backbone, "lr": self._settings.backbone_share * rate},
        ]
        return [group for group in groups if group["params"]]

    def train(self, *, frozen_batch_norm: bool) -> None:
        """Put trainable layers in training mode; frozen layers, and frozen batch norms, in evaluation mode."""
        self.network.eval()
        self.module.train()
        backbone = self.network.backbone
        if self._settings.trainable == "last_stage":
            backbone.eval()
            for module in backbone.modules():
                if any(id(parameter) in self._trainable for parameter in module.parameters(recurse=False)):
                    module.train()
        if frozen_batch_norm:
            _freeze_batch_norm(self.module)
        elif self._settings.frozen_batch_norm:
            _freeze_batch_norm(backbone)


def _freeze_batch_norm(module: nn.Module) -> None:
    """Let every batch norm in `module` use its running statistics, and leave them unchanged."""
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval()


def _backbone_parameters(backbone: Any, settings: TrainingSettings) -> list[nn.Parameter]:
    """Return the backbone's trainable parameters: all, or those of the last stage and after it.

    Stages are timm's coarse groups (the blocks of a transformer). A group without any weight matrix, such as a norm
    after the last stage, belongs to the stage before it.
    """
    parameters = dict(backbone.named_parameters())
    if settings.trainable == "all":
        return list(parameters.values())
    if not hasattr(backbone, "group_matcher"):
        raise InputError("timm does not know the stages of this backbone; set trainable to all or projection.")
    groups = group_parameters(backbone, backbone.group_matcher(coarse=True))
    last = max(group for group, names in groups.items() if any(parameters[name].ndim > 1 for name in names))
    return [parameters[name] for group in sorted(groups) if group >= last for name in groups[group]]
