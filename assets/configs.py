"""Settings dataclasses at Dagster's edge: the same fields, defaults and descriptions in the Launchpad."""

import dataclasses
import typing
from typing import Annotated, Any

import dagster as dg
import pydantic

from landmark_dag.settings import active_profile
from landmark_dag.training.settings import TuningSettings


def config_of(defaults: Any) -> Any:
    """Return a `dg.Config` class with the fields of the settings dataclass instance `defaults`.

    Its values are the fields' defaults, the text in `Annotated[type, text]` is the field's description, and
    `settings()` gives the dataclass back. Dagster knows no tuples: they become lists on the way in.
    """
    kind = type(defaults)
    hints = typing.get_type_hints(kind, include_extras=True)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        annotation, description = hints[field.name], None
        if typing.get_origin(annotation) is Annotated:
            annotation, description = typing.get_args(annotation)[:2]
        default = getattr(defaults, field.name)
        if typing.get_origin(annotation) is tuple:
            annotation, default = list[typing.get_args(annotation)[0]], list(default)
        fields[field.name] = (annotation, pydantic.Field(default=default, description=description))

    def settings(self: dg.Config) -> Any:
        values = {name: getattr(self, name) for name in fields}
        return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})

    model = pydantic.create_model(f"{kind.__name__}Config", __base__=dg.Config, __doc__=kind.__doc__, **fields)
    model.settings = settings  # type: ignore[attr-defined]
    return model


_PROFILE = active_profile()


class LocalFeatureConfig(config_of(_PROFILE.local_features)):
    """Which local features are taken from each train photo."""


class CandidateConfig(config_of(_PROFILE.candidates)):
    """Which pairs of photos are verified."""


class VerificationConfig(config_of(_PROFILE.verification)):
    """How the matches of two photos are verified."""


class KeepRuleConfig(config_of(_PROFILE.keep_rule)):
    """Which train photos stay."""


class CleanedDatasetConfig(dg.Config):
    """Which train photos stay."""

    rule: KeepRuleConfig = KeepRuleConfig()
    published: bool = pydantic.Field(
        default=False, description="take the dataset's published train_clean.csv in place of our own cleaning"
    )


class NetworkConfig(config_of(_PROFILE.network)):
    """The network."""


class TrainingConfig(config_of(_PROFILE.training)):
    """How the network is fitted."""


class EmbeddingConfig(config_of(_PROFILE.embedding)):
    """How a photo becomes an embedding."""


class BootstrapEmbeddingConfig(config_of(_PROFILE.bootstrap_embedding)):
    """How a photo becomes an embedding before training."""


class NeighbourConfig(config_of(_PROFILE.neighbours)):
    """How long a query's list is."""


class VoteConfig(config_of(_PROFILE.votes)):
    """Soft voting over the nearest train photos."""


class InsertConfig(config_of(_PROFILE.insert)):
    """The insert-step."""


class LocalFeaturesConfig(dg.Config):
    """Which local features, and the network that the deep ones are read from."""

    features: LocalFeatureConfig = LocalFeatureConfig()
    network: NetworkConfig = NetworkConfig()


class BootstrapConfig(dg.Config):
    """The network before training, and how it embeds photos."""

    network: NetworkConfig = NetworkConfig()
    embedding: BootstrapEmbeddingConfig = BootstrapEmbeddingConfig()


class ModelConfig(dg.Config):
    """The network and its training."""

    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()


class TuningConfig(config_of(TuningSettings())):
    """How trials of other settings are scored."""


class TrialConfig(dg.Config):
    """What trials change, and how they are scored."""

    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    tuning: TuningConfig = TuningConfig()
