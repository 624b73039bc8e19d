"""Profiles: every setting of the pipeline, chosen together for one kind of photo set (demo, photos, gldv2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

from landmark_dag.errors import InputError
from landmark_dag.settings.checks import DataCheckSettings
from landmark_dag.settings.cleaning import SMALL_FOLDER_RULE, CandidateSettings, CleanedDatasetSettings, KeepRule
from landmark_dag.settings.definition import AT_LEAST_1, Settings
from landmark_dag.settings.evaluation import ComparisonSettings
from landmark_dag.settings.matching import LocalFeatureSettings, VerificationSettings
from landmark_dag.settings.photos import DatasetSettings
from landmark_dag.settings.reindex import ReindexSettings
from landmark_dag.settings.reranking import InsertSettings, SoftSettings
from landmark_dag.settings.retrieval import (
    EmbeddingSettings,
    EnsembleSettings,
    NeighbourSettings,
    RecognitionSettings,
    TrainNeighbourSettings,
    VoteSettings,
)
from landmark_dag.settings.training import DistributedSettings, NetworkSettings, TrainingSettings, TuningSettings

DEFAULT_PROFILE = "photos"
"""The profile of a home that names none."""


@dataclass(frozen=True)
class Profile(Settings):
    """Every setting of the pipeline by section, chosen together for one kind of photo set.

    The comparison uses the profile's own votes, insert and soft.
    """

    name: Annotated[str, "name of the profile"] = ""
    photos_per_shard: Annotated[int, "photos in a full shard of a folder", AT_LEAST_1] = 10_000
    dataset: DatasetSettings = field(default_factory=DatasetSettings)
    local_features: LocalFeatureSettings = field(default_factory=LocalFeatureSettings)
    bootstrap_embedding: EmbeddingSettings = field(default_factory=lambda: EmbeddingSettings(scales=(1.0,)))
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    verification: VerificationSettings = field(default_factory=VerificationSettings)
    keep_rule: KeepRule = field(default_factory=KeepRule)
    cleaned_dataset: CleanedDatasetSettings = field(default_factory=CleanedDatasetSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    distributed: DistributedSettings = field(default_factory=DistributedSettings)
    tuning: TuningSettings = field(default_factory=TuningSettings)
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    ensemble: EnsembleSettings = field(default_factory=EnsembleSettings)
    neighbours: NeighbourSettings = field(default_factory=NeighbourSettings)
    train_neighbours: TrainNeighbourSettings = field(default_factory=TrainNeighbourSettings)
    votes: VoteSettings = field(default_factory=VoteSettings)
    insert: InsertSettings = field(default_factory=InsertSettings)
    soft: SoftSettings = field(default_factory=SoftSettings)
    recognition: RecognitionSettings = field(default_factory=RecognitionSettings)
    comparison: ComparisonSettings = field(default_factory=ComparisonSettings)
    checks: DataCheckSettings = field(default_factory=DataCheckSettings)
    reindex: ReindexSettings = field(default_factory=ReindexSettings)

    def __post_init__(self) -> None:
        """Check every field, and give the comparison the profile's own votes, insert and soft."""
        super().__post_init__()
        comparison = replace(self.comparison, votes=self.votes, insert=self.insert, soft=self.soft)
        object.__setattr__(self, "comparison", comparison)


PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            name="demo",
            photos_per_shard=300,
            local_features=LocalFeatureSettings(long_side=320),
            bootstrap_embedding=EmbeddingSettings(
                square_size=128, long_side=160, scales=(1.0,), smallest_side=64, batch_size=8
            ),
            network=NetworkSettings(backbone="test_resnet", embedding_dim=128),
            training=TrainingSettings(
                square_size=128,
                long_side=160,
                epochs=30,
                scale=16.0,
                margin=0.2,
                optimizer="adamw",
                learning_rate=3e-3,
                classifier_learning_rate=3e-3,
                weight_decay=0.05,
            ),
            embedding=EmbeddingSettings(square_size=128, long_side=160, smallest_side=64, batch_size=8),
        ),
        Profile(
            name="photos",
            photos_per_shard=500,
            keep_rule=SMALL_FOLDER_RULE,
            bootstrap_embedding=EmbeddingSettings(square_size=288, long_side=320, scales=(1.0,), batch_size=8),
            network=NetworkSettings(
                backbone="mobilenetv2_100",
                weights="hub",
                normalise_pooled=True,
                embedding_dim=256,
                batch_norm=False,
            ),
            training=TrainingSettings(
                trainable="projection",
                projection_start="whitened",
                square_size=288,
                long_side=320,
                epochs=10,
                views=6,
                scale=8.0,
                margin=0.2,
                learning_rate=0.1,
                classifier_learning_rate=0.1,
            ),
            embedding=EmbeddingSettings(square_size=288, long_side=320, batch_size=8),
        ),
        Profile(
            name="gldv2",
            network=NetworkSettings(weights="hub"),
            recognition=RecognitionSettings(distractor_queries=30),
        ),
    )
}


def profile_named(name: str) -> Profile:
    """Return the profile called `name`; raises InputError, listing the names, for any other."""
    if name not in PROFILES:
        raise InputError(f"There is no profile {name!r}; choose one of {', '.join(sorted(PROFILES))}.")
    return PROFILES[name]
