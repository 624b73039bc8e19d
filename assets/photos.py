"""Photos: the manifests of train, index and query photos, and the labels of train."""

from collections.abc import Iterable
from pathlib import Path

import dagster as dg
import polars as pl

from assets.configs import DataCheckConfig
from assets.steps import OWNERS, Metadata, every_shard, materialize_stored, plain_text, table_metadata
from landmark_dag.orchestration.executors import backfill_policy
from landmark_dag.orchestration.partitions import SHARDS
from landmark_dag.photos.source import SPLITS
from landmark_dag.storage.hashing import content_version
from landmark_dag.storage.parquet_tables import write_table
from landmark_dag.storage.schemas import LABELS, MANIFEST, UNREADABLE
from resources.photo_source import PhotoSourceResource
from resources.store import Store

_PURPOSE = {"train": "labelled with a landmark", "index": "to be searched", "query": "to search with"}


def _photos(split: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=[split, "photos"],
        partitions_def=SHARDS[split],
        backfill_policy=backfill_policy(),
        group_name="photos",
        kinds={"parquet"},
        owners=OWNERS,
        code_version="1",
        description=f"Photos {_PURPOSE[split]}: where the bytes of each lie, its size and its fingerprint.",
        metadata=table_metadata(MANIFEST),
    )
    def photos(
        context: dg.AssetExecutionContext, photo_source: PhotoSourceResource, store: Store
    ) -> dg.MaterializeResult:
        from landmark_dag.photos.manifest import build_manifest, manifest_changes

        source = photo_source.source()
        built: dict[str, tuple[pl.DataFrame, pl.DataFrame]] = {}
        listings: dict[str, str] = {}

        def build(shard: str) -> tuple[pl.DataFrame, pl.DataFrame]:
            """Make the manifest of a listing that stood still: fetching changes it, and so may whoever copies."""
            while (listing := source.version(split, shard)) != listings.get(shard):
                listings[shard], locations = listing, source.locations(split, shard)
            built[shard] = build_manifest(locations)
            return built[shard]

        def contents(shard: str) -> str:
            """Return the version of the shard's manifest, made anew only if the source lists other files."""
            listed = store.version(store.path(f"{split}/unreadable", shard))
            if store.stored(f"{split}/photos", [shard]) and listed == source.version(split, shard):
                return content_version(store.read(f"{split}/photos", MANIFEST, shard))
            return content_version(build(shard)[0])

        def compute(shard: str, path: Path, version: str) -> Metadata:
            manifest, unreadable = built.get(shard) or build(shard)
            before = store.read(f"{split}/photos", MANIFEST, shard) if path.exists() else MANIFEST.empty()
            changes = manifest_changes(before, manifest)
            write_table(path, MANIFEST, manifest, version)
            return {
                "dagster/row_count": manifest.height,
                "bytes": int(manifest["size"].sum()),
                "added": len(changes.added),
                "removed": len(changes.removed),
                "replaced": len(changes.replaced),
                "unreadable": unreadable.height,
                "unreadable photos": dg.MetadataValue.md(_bullets(unreadable.head(20).iter_rows(named=True))),
            }

        result = materialize_stored(context, store, compute, source=contents)
        # Written last: until then, a step that was cut short reads the shard's files again.
        for shard, (_, unreadable) in built.items():
            store.write(f"{split}/unreadable", UNREADABLE, unreadable, listings[shard], shard)
        return result

    return photos


def _bullets(unreadable: Iterable[dict[str, str]]) -> str:
    return "\n".join(f"- {plain_text(row['image_id'])}: {plain_text(row['reason'])}" for row in unreadable) or "none"


train_photos, index_photos, query_photos = (_photos(split) for split in SPLITS)


def _readable(split: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=[split, "photos"],
        name="readable",
        description=(
            f"Warns, and then fails, when too many {split} photos are unreadable. Look at the reasons in the asset's "
            "metadata and bring the files anew. The shares are in the check's config."
        ),
    )
    def readable(context: dg.AssetCheckExecutionContext, config: DataCheckConfig, store: Store) -> dg.AssetCheckResult:
        shards = store.stored(f"{split}/photos", every_shard(context, split))
        unreadable = store.read_shards(f"{split}/unreadable", UNREADABLE, shards).height
        total = unreadable + store.read_shards(f"{split}/photos", MANIFEST, shards).height
        share = unreadable / max(total, 1)
        failed = share > config.unreadable_failure
        return dg.AssetCheckResult(
            passed=share <= config.unreadable_warning,
            severity=dg.AssetCheckSeverity.ERROR if failed else dg.AssetCheckSeverity.WARN,
            metadata={"unreadable": unreadable, "photos": total, "share": share},
        )

    return readable


train_readable, index_readable, query_readable = (_readable(split) for split in SPLITS)


@dg.asset(
    key=["train", "labels"],
    group_name="photos",
    kinds={"parquet"},
    owners=OWNERS,
    code_version="1",
    metadata=table_metadata(LABELS),
)
def train_labels(
    context: dg.AssetExecutionContext, photo_source: PhotoSourceResource, store: Store
) -> dg.MaterializeResult:
    """The landmark that each train photo is labelled with, right or wrong."""
    labels = photo_source.source().labels()

    def compute(shard: str, path: Path, version: str) -> Metadata:
        write_table(path, LABELS, labels, version)
        return {"dagster/row_count": labels.height, "landmarks": labels["landmark_id"].n_unique()}

    return materialize_stored(context, store, compute, source=lambda shard: content_version(labels))
