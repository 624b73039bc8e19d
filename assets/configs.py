"""Settings dataclasses at Dagster's edge: the same fields, defaults, ranges and descriptions in the Launchpad."""

import functools
from typing import Annotated, Any

import dagster as dg
import pydantic

from landmark_dag.settings.definition import Definition, Range, Settings, definitions
from landmark_dag.settings.evaluation import BootstrapSettings, ComparisonSettings
from landmark_dag.settings.home import active_profile, home_folder, read_home_settings
from landmark_dag.settings.reranking import (
    DiffusionSettings,
    ExpansionSettings,
    ReciprocalSettings,
    SoftSettings,
    TraversalSettings,
)
from landmark_dag.settings.retrieval import EnsembleSettings, TrainNeighbourSettings
from landmark_dag.settings.training import DistributedSettings, TuningSettings


def config_of(defaults: Settings) -> Any:
    """Return a `dg.Config` class with the fields of the settings dataclass instance `defaults`.

    Its values are the fields' defaults; descriptions and ranges are those of the fields' definitions, and a value that
    they do not allow is refused with their sentence. `settings()` gives the dataclass back. Dagster knows no tuples:
    they are lists here.
    """
    kind = type(defaults)
    fields: dict[str, Any] = {
        name: _field(definition, getattr(defaults, name), f"{kind.section}.{name}")
        for name, definition in definitions(kind).items()
    }

    def settings(self: dg.Config) -> Settings:
        return kind(**{name: getattr(self, name) for name in fields})

    model = pydantic.create_model(f"{kind.__name__}Config", __base__=dg.Config, __doc__=kind.__doc__, **fields)
    model.settings = settings  # type: ignore[attr-defined]
    return model


def _field(definition: Definition, default: Any, key: str) -> tuple[Any, Any]:
    """Return the annotation and the field of a setting for pydantic."""
    annotation: Any = definition.kind
    bounds = definition.range or Range()
    limits: dict[str, Any] = {"ge": bounds.at_least, "gt": bounds.above, "le": bounds.at_most, "lt": bounds.below}
    if definition.element:
        annotation, default, limits = list.__class_getitem__(definition.element), list(default), {}
    checked = pydantic.BeforeValidator(functools.partial(definition.checked, key=key))
    return Annotated[annotation, checked], pydantic.Field(default, description=definition.help, **limits)


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


class DistributedConfig(config_of(DistributedSettings())):
    """On how many processes and hosts training runs."""


class EnsembleConfig(config_of(EnsembleSettings())):
    """Further trained models beside the one of this home; the same for train, index and query embeddings."""


class EmbeddingConfig(config_of(_PROFILE.embedding)):
    """How a photo becomes an embedding."""

    ensemble: EnsembleConfig = EnsembleConfig()


class BootstrapEmbeddingConfig(config_of(_PROFILE.bootstrap_embedding)):
    """How a photo becomes an embedding before training."""


class NeighbourConfig(config_of(_PROFILE.neighbours)):
    """How long a query's list is."""


class VoteConfig(config_of(_PROFILE.votes)):
    """Soft voting over the nearest train photos."""


class TrainNeighbourConfig(config_of(TrainNeighbourSettings())):
    """How many of a photo's nearest train photos are stored."""


class SoftConfig(config_of(SoftSettings())):
    """The soft variants of sort-step and insert-step."""


class InsertConfig(config_of(_PROFILE.insert)):
    """The insert-step, or a soft variant in its place."""

    soft: SoftConfig = SoftConfig()


class BootstrapIntervalConfig(config_of(BootstrapSettings())):
    """Intervals over queries."""


class ExpansionConfig(config_of(ExpansionSettings())):
    """Query expansion and database augmentation."""


class DiffusionConfig(config_of(DiffusionSettings())):
    """Diffusion on the mutual kNN graph."""


class TraversalConfig(config_of(TraversalSettings())):
    """Explore-exploit graph traversal."""


class ReciprocalConfig(config_of(ReciprocalSettings())):
    """k-reciprocal re-ranking."""


class ComparisonConfig(dg.Config):
    """Re-ranking and its rivals, side by side on one graph."""

    candidates: int = pydantic.Field(
        default=ComparisonSettings().candidates,
        description="nearest index photos that soft variants and k-reciprocal re-rank",
    )
    votes: VoteConfig = VoteConfig()
    insert: InsertConfig = InsertConfig()
    expansion: ExpansionConfig = ExpansionConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    traversal: TraversalConfig = TraversalConfig()
    reciprocal: ReciprocalConfig = ReciprocalConfig()
    bootstrap: BootstrapIntervalConfig = BootstrapIntervalConfig()

    def settings(self) -> ComparisonSettings:
        """Return the settings dataclass."""
        return ComparisonSettings(
            self.candidates,
            self.votes.settings(),
            self.insert.settings(),
            self.insert.soft.settings(),
            self.expansion.settings(),
            self.diffusion.settings(),
            self.traversal.settings(),
            self.reciprocal.settings(),
            self.bootstrap.settings(),
        )


class ScoringConfig(config_of(_PROFILE.recognition)):
    """The landmark and score that a query is given."""


class RecognitionConfig(dg.Config):
    """The landmark and score that a query is given, and how train photos are verified for it."""

    scoring: ScoringConfig = ScoringConfig()
    features: LocalFeatureConfig = LocalFeatureConfig()
    verification: VerificationConfig = VerificationConfig()


class LocalFeaturesConfig(dg.Config):
    """Which local features, and the network that the deep ones are read from."""

    features: LocalFeatureConfig = LocalFeatureConfig()
    network: NetworkConfig = NetworkConfig()


class BootstrapConfig(dg.Config):
    """The network before training, and how it embeds photos."""

    network: NetworkConfig = NetworkConfig()
    embedding: BootstrapEmbeddingConfig = BootstrapEmbeddingConfig()


class ModelConfig(dg.Config):
    """The network, its training, and where that runs."""

    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    distributed: DistributedConfig = DistributedConfig()


class TuningConfig(config_of(TuningSettings())):
    """How trials of other settings are scored."""


class TrialConfig(dg.Config):
    """What trials change, and how they are scored."""

    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    tuning: TuningConfig = TuningConfig()


class DataCheckConfig(config_of(read_home_settings(home_folder()).soundness)):
    """From where on checks warn or fail."""
