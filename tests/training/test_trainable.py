"""Which parameters of a network are trained, at which rates, and which statistics stay."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from landmark_dag.errors import InputError
from landmark_dag.settings.training import NetworkSettings, TrainingSettings
from landmark_dag.training.network import EmbeddingNetwork, build_network
from landmark_dag.training.trainable import TrainableParameters

SETTINGS = TrainingSettings(learning_rate=0.1, backbone_share=0.5)


def network(backbone: str = "test_resnet") -> EmbeddingNetwork:
    return build_network(NetworkSettings(backbone=backbone, embedding_dim=4, gem_learned=True), seed=1)


def trainable_names(built: EmbeddingNetwork, trainable: str) -> set[str]:
    with TrainableParameters(built, replace(SETTINGS, trainable=trainable)):
        return {name for name, parameter in built.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("backbone", "stage"),
    [
        ("test_resnet", "backbone.layer4."),
        ("test_vit", "backbone.blocks.5."),
        ("test_efficientnet", "backbone.blocks.4."),
        ("test_convnext", "backbone.stages.3."),
    ],
)
def test_the_last_stage_is_that_of_any_kind_of_backbone(backbone: str, stage: str) -> None:
    built = network(backbone)
    names = trainable_names(built, "last_stage")
    of_backbone = {name for name, _ in built.named_parameters() if name.startswith("backbone.")}
    weights = {name for name in names & of_backbone if built.get_parameter(name).ndim > 1}
    assert any(name.startswith(stage) for name in weights)
    assert names > {name for name, _ in built.named_parameters()} - of_backbone
    earlier = stage[:-2] + str(int(stage[-2]) - 1) + "."
    assert not any(name.startswith((earlier, "backbone.stem", "backbone.patch_embed")) for name in names)


def test_all_trains_everything_and_projection_only_the_projection() -> None:
    built = network()
    assert trainable_names(built, "all") == {name for name, _ in built.named_parameters()}
    assert trainable_names(built, "projection") == {
        name for name, _ in built.named_parameters() if name.startswith("projection.")
    }
    assert all(parameter.requires_grad for parameter in built.parameters())


def test_the_backbone_has_its_share_of_the_learning_rate() -> None:
    built = network()
    head, backbone = TrainableParameters(built, SETTINGS).parameter_groups()
    assert (head["lr"], backbone["lr"]) == (0.1, 0.05)
    assert len(head["params"]) + len(backbone["params"]) == len(list(built.parameters()))


def training_norms(built: EmbeddingNetwork, settings: TrainingSettings, frozen: bool) -> set[str]:
    with TrainableParameters(built, settings) as trainable:
        trainable.train(frozen_batch_norm=frozen)
        return {
            name.split(".")[0]
            for name, module in built.named_modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
        }


def test_batch_norm_is_frozen_in_the_backbone_by_the_setting_and_everywhere_in_the_final_epochs() -> None:
    built = network()
    assert training_norms(built, SETTINGS, False) == {"backbone", "projection"}
    assert training_norms(built, replace(SETTINGS, frozen_batch_norm=True), False) == {"projection"}
    assert training_norms(built, SETTINGS, True) == set()
    assert not any(module.training for module in built.modules())


def test_statistics_of_frozen_stages_do_not_change() -> None:
    built = network()
    before = {name: value.clone() for name, value in built.named_buffers()}
    with TrainableParameters(built, replace(SETTINGS, trainable="last_stage")) as trainable:
        trainable.train(frozen_batch_norm=False)
        built(torch.from_numpy(np.random.default_rng(1).integers(0, 255, (4, 3, 64, 64), dtype=np.uint8)))
    changed = {name for name, value in built.named_buffers() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith(("backbone.layer4.", "projection.")) for name in changed)


def test_a_backbone_whose_stages_are_unknown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    built = network()
    monkeypatch.delattr(type(built.backbone), "group_matcher")
    with pytest.raises(InputError, match="does not know the stages"):
        TrainableParameters(built, replace(SETTINGS, trainable="last_stage"))
