"""A home of synthetic embeddings in the shape of Google Landmarks v2, stored as the assets store real ones."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.gldv2 import INDEX, LANDMARKS, QUERIES, TRAIN, spectrum, zipf_landmarks
from landmark_dag.photos.gldv2 import Gldv2Source
from landmark_dag.photos.source import SPLITS
from landmark_dag.settings.home import HomeSettings
from landmark_dag.settings.photos import Gldv2Settings
from landmark_dag.storage.atomic import replacing
from landmark_dag.storage.embeddings import Embeddings, write_embeddings
from landmark_dag.storage.hashing import digest
from landmark_dag.storage.parquet_tables import write_table
from landmark_dag.storage.schemas import CLEANED_DATASET, LABELS, MANIFEST, VOTES
from resources.store import WHOLE, Store

MODEL = "synthetic"
NOISE = 0.4, 1.4
"""Smallest and largest length of a photo's own part, relative to that of its landmark's centre."""

_IN_DOMAIN = {"train": 1.0, "index": 0.7, "query": 0.5}
_RIGHT_VOTES = 0.6
_ODD = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Rehearsal:
    """Sizes of a rehearsal: a `share` of each of the dataset's counts, in at most `shards` shards a split (0: all)."""

    home: Path
    share: float
    shards: int = 0
    dimensions: int = 512
    seed: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Photos of each split."""
        full = {"train": TRAIN, "index": INDEX, "query": QUERIES}
        return {split: max(10, round(count * self.share)) for split, count in full.items()}

    @property
    def landmarks(self) -> int:
        """Landmarks of the train photos; each has at least two."""
        return max(2, min(round(LANDMARKS * self.share), self.counts["train"] // 2))

    @property
    def folder(self) -> Path:
        """The root of the dataset, which holds its ground truth but no photos."""
        return self.home / f"dataset_{digest([self.share, self.shards, self.dimensions, self.seed])[:8]}"

    def home_settings(self) -> HomeSettings:
        """Return the settings of the home: the profile of the dataset, with fewer shards where `shards` says so."""
        full, values = Gldv2Settings(), {}
        for split in SPLITS if self.shards else ():
            tars = getattr(full, f"{split}_tars")
            values[f"dataset.{split}_tars_per_shard"] = math.ceil(tars / self.shards)
        return HomeSettings(photos=f"file://{self.folder}", profile="gldv2", values=values)

    def photos_of(self, split: str) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """Yield the key of every shard and the numbers of its photos, sorted by image id."""
        settings = self.home_settings()
        keys = Gldv2Source(Gldv2Settings(base_url=settings.photos, **settings.dataset), self.home).shards(split)
        bounds = np.linspace(0, self.counts[split], len(keys) + 1).astype(np.int64)
        for key, first, last in zip(keys, bounds[:-1], bounds[1:], strict=True):
            numbers = np.arange(first, last)
            yield key, numbers[np.argsort(_hashes(split, numbers))]

    def landmarks_of(self, split: str) -> NDArray[np.int64]:
        """Return the landmark of every photo by number; -1 for a photo that shows no landmark of train.

        Few landmarks have many photos (Zipf, exponent 0.65); queries are spread over all alike.
        """
        generator = np.random.default_rng([self.seed, SPLITS.index(split)])
        count = self.counts[split]
        drawn = zipf_landmarks(count, generator, self.landmarks, exponent=0.0 if split == "query" else 0.65)
        if split == "train":
            drawn[: 2 * self.landmarks] = np.repeat(np.arange(self.landmarks), 2)
        drawn[generator.random(count) >= _IN_DOMAIN[split]] = -1
        return generator.permutation(drawn)


def image_ids(split: str, numbers: NDArray[np.int64]) -> list[str]:
    """Return the ids of photos by number: 16 hexadecimal digits, unique over all splits."""
    return [f"{value:016x}" for value in _hashes(split, numbers).tolist()]


def make_home(rehearsal: Rehearsal, drawn_votes: bool = False) -> None:
    """Store what the assets up to the embeddings store, and report it to Dagster; what is stored is kept.

    With `drawn_votes` the votes of index photos are drawn and stored too, so that no search is needed for them.
    """
    truth = rehearsal.folder / "ground_truth"
    store = Store(root=str(rehearsal.home / "store"))
    centres = _centres(rehearsal)
    with dg.DagsterInstance.from_config(str(rehearsal.home / "dagster")) as instance:
        _end_killed_runs(instance)
        maker = _Maker(rehearsal, store, instance)
        for split in SPLITS:
            landmarks, shards = rehearsal.landmarks_of(split), dict(rehearsal.photos_of(split))
            known = set(instance.get_dynamic_partitions(f"{split}_shards"))
            instance.add_dynamic_partitions(f"{split}_shards", [key for key in shards if key not in known])
            for key, numbers in shards.items():
                maker.shard(split, key, numbers, landmarks[numbers], centres)
                if drawn_votes and split == "index":
                    maker.votes(key, numbers, landmarks[numbers])
        maker.whole()
    if not (truth / "recognition_solution_v2.1.csv").exists():
        _write_ground_truth(rehearsal, truth)


@dataclass(frozen=True)
class _Maker:
    """Writes the outputs of one home, each with a version, and reports them as materialized."""

    rehearsal: Rehearsal
    store: Store
    instance: dg.DagsterInstance

    def shard(
        self, split: str, key: str, numbers: NDArray[np.int64], landmarks: NDArray[np.int64], centres: NDArray
    ) -> None:
        """Store the manifest and the embeddings of a shard."""
        ids = image_ids(split, numbers)
        if path := self._missing(f"{split}/photos", key):
            write_table(path, MANIFEST, _manifest(ids, f"{split}/{key}.tar"), self._version(f"{split}/photos", key))
            self._report(f"{split}/photos", key, {"dagster/row_count": len(ids)})
        if path := self._missing(f"{split}/embeddings", key):
            generator = np.random.default_rng([self.rehearsal.seed, SPLITS.index(split), int(numbers.min())])
            vectors = _vectors(landmarks, centres, generator)
            write_embeddings(path, Embeddings(ids, vectors, MODEL), self._version(f"{split}/embeddings", key))
            self._report(f"{split}/embeddings", key, {"dagster/row_count": len(ids), "model": MODEL})

    def votes(self, key: str, numbers: NDArray[np.int64], landmarks: NDArray[np.int64]) -> None:
        """Store votes where there are none: most photos get their own landmark, the others any landmark."""
        if not (path := self.store.path("index/votes", key)).exists():
            generator = np.random.default_rng([self.rehearsal.seed, len(SPLITS) + 1, int(numbers.min())])
            right = (landmarks >= 0) & (generator.random(len(landmarks)) < _RIGHT_VOTES)
            any_landmark = generator.integers(0, self.rehearsal.landmarks, len(landmarks))
            votes = pl.DataFrame(
                {
                    "image_id": image_ids("index", numbers),
                    "landmark_id": np.where(right, landmarks, any_landmark),
                    "confidence": np.where(right, 0.5, 0.2) + 0.2 * generator.random(len(landmarks)),
                }
            )
            write_table(path, VOTES, votes, self._version("index/votes", key))
            self._report("index/votes", key, {"dagster/row_count": votes.height})

    def whole(self) -> None:
        """Store labels, cleaned dataset and the record of a trained model."""
        landmarks = self.rehearsal.landmarks_of("train")
        labels = pl.DataFrame(
            {"image_id": image_ids("train", np.arange(len(landmarks))), "landmark_id": landmarks}
        ).sort("image_id")
        landmark = pl.col("landmark_id")
        for asset, table, frame in (
            ("train/labels", LABELS, labels.with_columns(landmark=pl.format("landmark {}", landmark))),
            ("cleaned_dataset", CLEANED_DATASET, labels.with_columns(class_id=landmark.cast(pl.Int32))),
        ):
            if path := self._missing(asset):
                write_table(path, table, frame, self._version(asset))
                self._report(asset, WHOLE, {"dagster/row_count": frame.height})
        if path := self._missing("trained_model"):
            folder = path.with_name("models") / MODEL
            folder.mkdir(parents=True, exist_ok=True)
            record = {"folder": str(folder.relative_to(path.parent))}
            self.store.write_record(path, self._version("trained_model"), record)
            self._report("trained_model", WHOLE, {"model": MODEL})

    def _version(self, asset: str, shard: str = WHOLE) -> str:
        return digest([self.rehearsal.folder.name, asset, shard])

    def _missing(self, asset: str, shard: str = WHOLE) -> Path | None:
        """Return the path of an output that is not stored yet, else None."""
        path = self.store.path(asset, shard)
        return None if self.store.version(path) == self._version(asset, shard) else path

    def _report(self, asset: str, shard: str, metadata: dict[str, int | str]) -> None:
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(
                asset_key=asset.split("/"),
                partition=shard or None,
                metadata=metadata,
                tags={"dagster/data_version": self._version(asset, shard)},
            )
        )


def _end_killed_runs(instance: dg.DagsterInstance) -> None:
    """Mark the runs of a killed rehearsal as failed, and free the slots that they hold."""
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        instance.report_run_failed(run, "The process of this run was killed.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _hashes(split: str, numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a 64-bit number for every photo, unique over all splits: multiplying by an odd number loses none."""
    return (numbers.astype(np.uint64) + np.uint64(SPLITS.index(split) << 40)) * np.uint64(_ODD)


def _manifest(ids: list[str], path: str) -> pl.DataFrame:
    """Return a manifest of invented photos."""
    frame = pl.DataFrame({"image_id": ids}).with_columns(
        path=pl.lit(path),
        offset=512 * pl.int_range(pl.len(), dtype=pl.Int64),
        size=pl.lit(512, pl.Int64),
        width=pl.lit(800),
        height=pl.lit(600),
        fingerprint=pl.col("image_id") + pl.col("image_id"),
    )
    return MANIFEST.conform(frame, "the manifest")


def _centres(rehearsal: Rehearsal) -> NDArray[np.float32]:
    """Return the centre of every landmark, with a power-law spectrum."""
    generator = np.random.default_rng([rehearsal.seed, len(SPLITS) + 2])
    shape = rehearsal.landmarks, rehearsal.dimensions
    return generator.standard_normal(shape, np.float32) * spectrum(rehearsal.dimensions).astype(np.float32)


def _vectors(landmarks: NDArray[np.int64], centres: NDArray, generator: np.random.Generator) -> NDArray[np.float16]:
    """Return unit vectors around the landmarks' centres; a photo without a landmark gets its own centre."""
    shape = len(landmarks), centres.shape[1]
    deviations = spectrum(shape[1]).astype(np.float32)
    vectors = generator.standard_normal(shape, np.float32)
    vectors *= deviations * generator.uniform(*NOISE, (len(landmarks), 1)).astype(np.float32)
    own = landmarks < 0
    vectors[~own] += centres[landmarks[~own]]
    vectors[own] += generator.standard_normal((own.sum(), shape[1]), np.float32) * deviations
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16)


def _write_ground_truth(rehearsal: Rehearsal, folder: Path) -> None:
    """Write both solutions. Photos of the query's landmark are relevant; retrieval ignores a query that shows none."""
    landmarks, index = rehearsal.landmarks_of("query"), rehearsal.landmarks_of("index")
    public = np.random.default_rng([rehearsal.seed, len(SPLITS)]).random(len(landmarks)) < 1 / 3
    queries = pl.DataFrame(
        {
            "id": image_ids("query", np.arange(len(landmarks))),
            "landmark_id": landmarks,
            "Usage": np.where(public, "Public", "Private"),
        }
    ).sort("id")
    shown = pl.DataFrame({"images": image_ids("index", np.arange(len(index))), "landmark_id": index})
    relevant = shown.filter(pl.col("landmark_id") >= 0).sort("images").group_by("landmark_id").agg("images")
    retrieval = queries.join(relevant, on="landmark_id", how="left", maintain_order="left").select(
        "id",
        pl.col("images").list.join(" ").fill_null("None"),
        Usage=pl.when(pl.col("images").is_null()).then(pl.lit("Ignored")).otherwise("Usage"),
    )
    shows = pl.when(pl.col("landmark_id") >= 0).then(pl.col("landmark_id"))
    recognition = queries.select("id", shows.cast(pl.String).alias("landmarks"), "Usage")
    for name, solution in (("retrieval", retrieval), ("recognition", recognition)):
        with replacing(folder / f"{name}_solution_v2.1.csv") as temporary:
            solution.write_csv(temporary)
