"""Cleaning: which train photos show the landmark of their label, by geometric verification."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.configs import (
    PROFILE,
    BootstrapConfig,
    CandidateConfig,
    CleanedDatasetConfig,
    LocalFeaturesConfig,
    VerificationConfig,
)
from assets.metadata import Metadata, picture_metadata, table_metadata
from assets.steps import GPU, OWNERS, Upstream, deps, every, every_shard, materialize_stored, on_retry, same
from landmark_dag.matching.feature_kinds import KINDS, ExtractionInputs, extract_features
from landmark_dag.orchestration.executors import backfill_policy
from landmark_dag.orchestration.partitions import SHARDS
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.storage.hashing import fingerprint
from landmark_dag.storage.parquet_tables import write_table
from landmark_dag.storage.schemas import (
    CLEANED_DATASET,
    CLEANING_GRID,
    DESCRIPTOR_WHITENING,
    EMBEDDINGS,
    LABELS,
    LOCAL_FEATURES,
    MANIFEST,
    MATCH_CANDIDATES,
    VERIFIED_MATCHES,
)
from resources.accelerator import Accelerator
from resources.photo_source import PhotoSourceResource
from resources.store import Store

if TYPE_CHECKING:
    from landmark_dag.matching.descriptor_whitening import DescriptorWhitening
    from landmark_dag.training.network import EmbeddingNetwork

_COMMON: dict[str, Any] = {"group_name": "cleaning", "owners": OWNERS}
_SHARDED: dict[str, Any] = {
    **_COMMON,
    "partitions_def": SHARDS["train"],
    "backfill_policy": backfill_policy(),
}

_ON_FEATURES: Mapping[str, Any] = GPU if KINDS[PROFILE.local_features.kind].on_accelerator else {}
"""What a step of local features asks for: the accelerator, if the profile's kind computes on it."""

_DESCRIPTOR_WHITENING = [every("train/photos", "train")]


@dg.asset(
    deps=deps(_DESCRIPTOR_WHITENING),
    kinds={"pytorch", "parquet"},
    code_version="1",
    metadata=table_metadata(DESCRIPTOR_WHITENING),
    **_COMMON,
    **_ON_FEATURES,
)
def descriptor_whitening(
    context: dg.AssetExecutionContext, config: LocalFeaturesConfig, store: Store, accelerator: Accelerator
) -> dg.MaterializeResult:
    """The whitening of local descriptors, fitted to train photos; empty for local features that need none."""
    settings, network = config.features.settings(), config.network.settings()
    fit_whitening = KINDS[settings.kind].fit_whitening

    def compute(shard: str, path: Path, version: str) -> Metadata:
        table = DESCRIPTOR_WHITENING.empty()
        if fit_whitening:
            from landmark_dag.cleaning.whitening_tables import whitening_table
            from landmark_dag.photos.manifest import locations_of

            photos = locations_of(store.read_shards("train/photos", MANIFEST, every_shard(context, "train")))
            table = whitening_table(fit_whitening(photos, settings, _extraction_inputs(network, store, accelerator)))
        write_table(path, DESCRIPTOR_WHITENING, table, version)
        return {"dagster/row_count": table.height}

    return materialize_stored(
        context,
        store,
        compute,
        inputs=_DESCRIPTOR_WHITENING if fit_whitening else [],
        settings=[settings, network] if fit_whitening else [],
    )


_LOCAL_FEATURES = [same("train/photos"), Upstream("descriptor_whitening")]


@dg.asset(
    key=["train", "local_features"],
    deps=deps(_LOCAL_FEATURES),
    kinds={"opencv", "arrow"},
    code_version="2",
    metadata=table_metadata(LOCAL_FEATURES),
    **_SHARDED,
    **_ON_FEATURES,
)
def train_local_features(
    context: dg.AssetExecutionContext, config: LocalFeaturesConfig, store: Store, accelerator: Accelerator
) -> dg.MaterializeResult:
    """Keypoints and descriptors of every train photo."""
    from landmark_dag.matching.feature_files import write_local_features
    from landmark_dag.photos.manifest import locations_of

    settings, network = on_retry(context, config.features.settings()), config.network.settings()
    kind = KINDS[settings.kind]

    def compute(shard: str, path: Path, version: str) -> Metadata:
        photos = locations_of(store.read("train/photos", MANIFEST, shard))
        extractor = kind.extractor(settings, _extraction_inputs(network, store, accelerator))
        count = write_local_features(path, extract_features(photos, extractor), version)
        return {"dagster/row_count": count, "bytes": path.stat().st_size, "kind": settings.kind}

    return materialize_stored(
        context,
        store,
        compute,
        inputs=_LOCAL_FEATURES if kind.fit_whitening else _LOCAL_FEATURES[:1],
        settings=[settings, network] if kind.fit_whitening else [settings],
    )


def _extraction_inputs(settings: NetworkSettings, store: Store, accelerator: Accelerator) -> ExtractionInputs:
    """Return what a kind of local features may ask for."""

    def network() -> "EmbeddingNetwork":
        from landmark_dag.training.network import build_network

        return build_network(settings, seed=0)

    def whitening() -> "DescriptorWhitening":
        from landmark_dag.cleaning.whitening_tables import whitening_of

        return whitening_of(store.read("descriptor_whitening", DESCRIPTOR_WHITENING))

    return ExtractionInputs(accelerator.torch_device, network, whitening)


_BOOTSTRAP_EMBEDDINGS = [same("train/photos")]


@dg.asset(
    key=["train", "bootstrap_embeddings"],
    deps=deps(_BOOTSTRAP_EMBEDDINGS),
    kinds={"pytorch", "arrow"},
    code_version="1",
    metadata=table_metadata(EMBEDDINGS),
    **_SHARDED,
    **GPU,
)
def train_bootstrap_embeddings(
    context: dg.AssetExecutionContext, config: BootstrapConfig, store: Store, accelerator: Accelerator
) -> dg.MaterializeResult:
    """Embeddings by the network before it is trained, used only to pick the pairs to verify."""
    from landmark_dag.photos.manifest import locations_of
    from landmark_dag.retrieval.embedding import embed_photos
    from landmark_dag.storage.embeddings import write_embeddings
    from landmark_dag.training.artifact import bootstrap_model

    network, embedding = config.network.settings(), on_retry(context, config.embedding.settings())

    def compute(shard: str, path: Path, version: str) -> Metadata:
        model = bootstrap_model(network)
        locations = locations_of(store.read("train/photos", MANIFEST, shard))
        embeddings = embed_photos(locations, model, embedding, accelerator.torch_device())
        write_embeddings(path, embeddings, version)
        return {"dagster/row_count": len(embeddings.image_ids), "model": embeddings.model}

    return materialize_stored(context, store, compute, inputs=_BOOTSTRAP_EMBEDDINGS, settings=[network, embedding])


_MATCH_CANDIDATES = [Upstream("train/labels"), every("train/bootstrap_embeddings", "train")]


@dg.asset(
    deps=deps(_MATCH_CANDIDATES),
    kinds={"numpy", "parquet"},
    code_version="1",
    metadata=table_metadata(MATCH_CANDIDATES),
    **_COMMON,
)
def match_candidates(context: dg.AssetExecutionContext, config: CandidateConfig, store: Store) -> dg.MaterializeResult:
    """Pairs of photos with the same label, near enough to be worth verifying."""
    from landmark_dag.cleaning.match_tables import candidate_table

    settings = config.settings()

    def compute(shard: str, path: Path, version: str) -> Metadata:
        embeddings = store.read_embeddings("train/bootstrap_embeddings", every_shard(context, "train"))
        labels = store.read("train/labels", LABELS)
        candidates = candidate_table(labels, embeddings.image_ids, embeddings.vectors, settings)
        write_table(path, MATCH_CANDIDATES, candidates, version)
        return {"dagster/row_count": candidates.height}

    return materialize_stored(context, store, compute, inputs=_MATCH_CANDIDATES, settings=[settings])


_VERIFIED_MATCHES = [
    same("train/photos"),
    Upstream("match_candidates"),
    every("train/local_features", "train"),
]


@dg.asset(
    deps=deps(_VERIFIED_MATCHES),
    kinds={"pytorch", "parquet"},
    code_version="1",
    metadata=table_metadata(VERIFIED_MATCHES),
    **_SHARDED,
    **GPU,
)
def verified_matches(
    context: dg.AssetExecutionContext, config: VerificationConfig, store: Store, accelerator: Accelerator
) -> dg.MaterializeResult:
    """Inliers of every candidate pair whose photo a is in this shard, under the best affine map."""
    from landmark_dag.cleaning.match_tables import verified_table
    from landmark_dag.matching.feature_files import read_local_features

    settings = config.settings()

    def compute(shard: str, path: Path, version: str) -> Metadata:
        features = [read_local_features(store.path("train/local_features", s)) for s in every_shard(context, "train")]
        candidates = store.read("match_candidates", MATCH_CANDIDATES)
        first = store.read("train/photos", MANIFEST, shard)["image_id"]
        of_shard = candidates.filter(candidates["image_a"].is_in(first.implode()))
        matches = verified_table(of_shard, features, settings, accelerator.torch_device())
        write_table(path, VERIFIED_MATCHES, matches, version)
        return {"dagster/row_count": matches.height, "inliers": int(matches["inliers"].sum())}

    return materialize_stored(context, store, compute, inputs=_VERIFIED_MATCHES, settings=[settings])


_CLEANED_DATASET = [Upstream("train/labels"), every("verified_matches", "train")]


@dg.asset(
    deps=deps(_CLEANED_DATASET),
    kinds={"polars", "parquet"},
    code_version="1",
    metadata=table_metadata(CLEANED_DATASET),
    **_COMMON,
)
def cleaned_dataset(
    context: dg.AssetExecutionContext,
    config: CleanedDatasetConfig,
    store: Store,
    photo_source: PhotoSourceResource,
) -> dg.MaterializeResult:
    """The train photos that stay: those verified against enough photos of the same landmark."""
    from landmark_dag.cleaning.keep_rule import clean, cleaning_grid
    from landmark_dag.cleaning.published import published_dataset
    from landmark_dag.reports.plots import grid_heat_map, kept_by_landmark

    rule = config.rule.settings()
    published = photo_source.published_clean() if config.published else None

    def compute(shard: str, path: Path, version: str) -> Metadata:
        labels = store.read("train/labels", LABELS)
        pictures = {}
        if published:
            cleaned = published_dataset(labels, published)
        else:
            matches = store.read_shards("verified_matches", VERIFIED_MATCHES, every_shard(context, "train"))
            cleaned = clean(labels, matches, rule)
            grid = cleaning_grid(labels, matches, rule)
            store.write("cleaning_grid", CLEANING_GRID, grid, version)
            pictures["photos kept by other rules"] = picture_metadata(grid_heat_map(grid, "photos"))
            pictures["landmarks kept by other rules"] = picture_metadata(grid_heat_map(grid, "landmarks"))
        write_table(path, CLEANED_DATASET, cleaned, version)
        return {
            **pictures,
            "kept by landmark": picture_metadata(kept_by_landmark(labels, cleaned)),
            "dagster/row_count": cleaned.height,
            "photos before": labels.height,
            "landmarks": cleaned["landmark_id"].n_unique(),
            "landmarks before": labels["landmark_id"].n_unique(),
        }

    return materialize_stored(
        context,
        store,
        compute,
        inputs=_CLEANED_DATASET[:1] if published else _CLEANED_DATASET,
        settings=[] if published else [rule],
        source=lambda shard: fingerprint(published.read_bytes()) if published else "",
    )
