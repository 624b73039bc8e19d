"""Photos: the manifests of train, index and query photos, and the labels of the train photos."""

from pathlib import Path

import dagster as dg
import polars as pl

from assets.configs import DataCheckConfig
from assets.metadata import Metadata, rows_metadata, table_metadata
from assets.steps import OWNERS, every_shard, materialize_stored
from landmark_dag.orchestration.executors import backfill_policy
from landmark_dag.orchestration.partitions import SHARDS
from landmark_dag.photos.source import SPLITS
from landmark_dag.storage.hashing import content_version
from landmark_dag.storage.parquet_tables import write_table
from landmark_dag.storage.schemas import LABELS, MANIFEST, UNREADABLE
from resources.photo_source import PhotoSourceResource
from resources.store import Store

_SHOWN = 20
"""Unreadable photos that the UI shows at most."""

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
        description=f"Photos {_PURPOSE[split]}: file, offset, size and fingerprint of the bytes of each.",
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
            """Build the shard's manifest from a listing that did not change while it was read.

            A fetched file changes the listing, and so does a photo that is just being copied.
            """
            while (listing := source.version(split, shard)) != listings.get(shard):
                listings[shard], locations = listing, source.locations(split, shard)
            built[shard] = build_manifest(locations)
            return built[shard]

        def contents(shard: str) -> str:
            """Return the version of the shard's manifest; build it only if the source lists other files than before."""
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
                "unreadable photos": rows_metadata(unreadable.select("image_id", "reason").head(_SHOWN)),
            }

        result = materialize_stored(context, store, compute, source=contents)
        # Written last, so that the next run of a step that was cut short reads the shard's files again.
        for shard, (_, unreadable) in built.items():
            store.write(f"{split}/unreadable", UNREADABLE, unreadable, listings[shard], shard)
        return result

    return photos


train_photos, index_photos, query_photos = (_photos(split) for split in SPLITS)


def _readable(split: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=[split, "photos"],
        name="readable",
        description=(
            f"Warns, and beyond a second share fails, when too many {split} photos are unreadable. Look at the reasons "
            "in the asset's metadata, and replace the files. The two shares are in the check's config."
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
    """The landmark that each train photo is labelled with; some labels are wrong."""
    labels = photo_source.source().labels()

    def compute(shard: str, path: Path, version: str) -> Metadata:
        write_table(path, LABELS, labels, version)
        return {"dagster/row_count": labels.height, "landmarks": labels["landmark_id"].n_unique()}

    return materialize_stored(context, store, compute, source=lambda shard: content_version(labels))
