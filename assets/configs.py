"""Settings dataclasses at Dagster's edge: the same fields, defaults, ranges and descriptions in the Launchpad."""

import functools
from typing import Annotated, Any

import dagster as dg
import pydantic

from landmark_dag.settings.definition import Definition, Range, Settings, definitions
from landmark_dag.settings.evaluation import ComparisonSettings
from landmark_dag.settings.home import active_profile


def config_of(defaults: Settings, section: str = "") -> Any:
    """Return a `dg.Config` class with the fields of the settings dataclass instance `defaults`.

    Its values are the fields' defaults. Descriptions and ranges are those of the fields' definitions; a value that
    they do not allow is refused with their sentence, which names `section` (default: the class's). `settings()` gives
    the dataclass back. Dagster knows no tuples: they are lists here.
    """
    kind = type(defaults)
    fields: dict[str, Any] = {
        name: _field(definition, getattr(defaults, name), f"{section or kind.section}.{name}")
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


PROFILE = active_profile()
"""The settings in effect of the home: what every config below opens with."""


class LocalFeatureConfig(config_of(PROFILE.local_features)):
    """Which local features are taken from each train photo."""


class CandidateConfig(config_of(PROFILE.candidates)):
    """Which pairs of photos are verified."""


class VerificationConfig(config_of(PROFILE.verification)):
    """How the matches of two photos are verified."""


class KeepRuleConfig(config_of(PROFILE.keep_rule)):
    """Which train photos stay."""


class CleanedDatasetConfig(config_of(PROFILE.cleaned_dataset)):
    """Which train photos stay."""

    rule: KeepRuleConfig = KeepRuleConfig()


class NetworkConfig(config_of(PROFILE.network)):
    """The network."""


class TrainingConfig(config_of(PROFILE.training)):
    """How the network is fitted."""


class DistributedConfig(config_of(PROFILE.distributed)):
    """On how many processes and hosts training runs."""


class EnsembleConfig(config_of(PROFILE.ensemble)):
    """Further trained models beside the one of this home; the same for train, index and query embeddings."""


class EmbeddingConfig(config_of(PROFILE.embedding)):
    """How a photo becomes an embedding."""

    ensemble: EnsembleConfig = EnsembleConfig()


class BootstrapEmbeddingConfig(config_of(PROFILE.bootstrap_embedding, "bootstrap_embedding")):
    """How a photo becomes an embedding before training."""


class NeighbourConfig(config_of(PROFILE.neighbours)):
    """How long a query's list is."""


class VoteConfig(config_of(PROFILE.votes)):
    """Soft voting over the nearest train photos."""


class TrainNeighbourConfig(config_of(PROFILE.train_neighbours)):
    """How many of a photo's nearest train photos are stored."""


class SoftConfig(config_of(PROFILE.soft)):
    """The soft variants of sort-step and insert-step."""


class InsertConfig(config_of(PROFILE.insert)):
    """The insert-step, or a soft variant in its place."""

    soft: SoftConfig = SoftConfig()


class BootstrapIntervalConfig(config_of(PROFILE.comparison.bootstrap)):
    """Intervals over queries."""


class ExpansionConfig(config_of(PROFILE.comparison.expansion)):
    """Query expansion and database augmentation."""


class DiffusionConfig(config_of(PROFILE.comparison.diffusion)):
    """Diffusion on the mutual kNN graph."""


class TraversalConfig(config_of(PROFILE.comparison.traversal)):
    """Explore-exploit graph traversal."""


class ReciprocalConfig(config_of(PROFILE.comparison.reciprocal)):
    """k-reciprocal re-ranking."""


class ComparisonConfig(dg.Config):
    """The paper's re-ranking and its baselines, side by side on one graph."""

    candidates: int = pydantic.Field(
        default=PROFILE.comparison.candidates,
        description=definitions(ComparisonSettings)["candidates"].help,
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


class ScoringConfig(config_of(PROFILE.recognition)):
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


class TuningConfig(config_of(PROFILE.tuning)):
    """How trials of other settings are scored."""


class TrialConfig(dg.Config):
    """What trials change, and how they are scored."""

    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    tuning: TuningConfig = TuningConfig()


class DataCheckConfig(config_of(PROFILE.checks)):
    """The limits from which checks warn or fail."""
