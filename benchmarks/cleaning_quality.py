"""How well cleaning tells right labels from wrong ones: what each cell of the keep rule keeps.

    python -m benchmarks.cleaning_quality PHOTOS [--residual 8] [--hypotheses 4096]
        [--deep --backbone mobilenetv2_100 --weights FILE --dimensions 128 --device cuda]

PHOTOS is a folder of photos (train/<landmark>/*.jpg) with a train_noise.csv whose column `id` names the photos
of a wrong label. All pairs of one label are verified; the file of wrong labels only scores the result.
"""

import argparse
import csv
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from landmark_dag.cleaning.keep_rule import clean
from landmark_dag.matching.deep_features import extract_deep_shard, fit_whitening
from landmark_dag.matching.local_features import JoinedFeatures, extract_shard
from landmark_dag.matching.verification import verify_pairs
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.cleaning import KeepRule
from landmark_dag.settings.matching import LocalFeatureSettings, VerificationSettings
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.storage.schemas import LABELS
from landmark_dag.training.network import build_network

MIN_INLIERS = (4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 40, 50)
MIN_VERIFIED = (1, 2, 3, 4, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--residual", type=float, default=VerificationSettings.residual)
    parser.add_argument("--hypotheses", type=int, default=VerificationSettings.hypotheses)
    parser.add_argument("--deep", action="store_true", help="deep local features in place of RootSIFT")
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--weights", default="hub")
    parser.add_argument("--dimensions", type=int, default=LocalFeatureSettings.dimensions)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    labels = read_labels(arguments.photos)
    with (arguments.photos / "train_noise.csv").open(newline="") as file:
        wrong = {row["id"] for row in csv.DictReader(file)}
    start = time.perf_counter()
    features = extract(located(arguments.photos, labels), arguments)
    extracted = time.perf_counter()
    settings = VerificationSettings(residual=arguments.residual, hypotheses=arguments.hypotheses)
    matches = verify(features, labels, settings, arguments.device)
    seconds = time.perf_counter() - extracted
    print(f"{labels.height} photos, {len(wrong)} of a wrong label; features in {extracted - start:.1f} s")
    print(f"{matches.height} pairs of one label verified in {seconds:.1f} s: {matches.height / seconds:.0f} a second")
    print("\nright photos kept, percent / wrong photos kept")
    print("min_inliers" + "".join(f"{f'x {count}':>12}" for count in MIN_VERIFIED))
    for min_inliers in MIN_INLIERS:
        cells = (kept(labels, matches, wrong, KeepRule(min_inliers, count)) for count in MIN_VERIFIED)
        print(f"{min_inliers:>11}" + "".join(f"{right:>7.1f} /{mistakes:>3}" for right, mistakes in cells))


def read_labels(photos: Path) -> pl.DataFrame:
    """Return the labels (schemas.LABELS) of the train photos: the names of their folders."""
    files = sorted((photos / "train").glob("*/*.jpg"))
    names = sorted({file.parent.name for file in files})
    rows = [(file.stem, names.index(file.parent.name), file.parent.name) for file in files]
    return pl.DataFrame(rows, schema=LABELS.schema, orient="row")


def located(photos: Path, labels: pl.DataFrame) -> list[PhotoLocation]:
    """Return where the photos of `labels` lie, in its order."""
    files = [photos / "train" / landmark / f"{image_id}.jpg" for image_id, _, landmark in labels.iter_rows()]
    return [PhotoLocation(file.stem, str(file), 0, file.stat().st_size) for file in files]


def extract(photos: list[PhotoLocation], arguments: argparse.Namespace) -> JoinedFeatures:
    """Return the local features of `photos`."""
    if not arguments.deep:
        return JoinedFeatures(list(extract_shard(photos, LocalFeatureSettings())))
    settings = LocalFeatureSettings(kind="deep", dimensions=arguments.dimensions)
    network = build_network(NetworkSettings(backbone=arguments.backbone, weights=arguments.weights), seed=0)
    whitening = fit_whitening(photos, network, settings, arguments.device)
    return JoinedFeatures(list(extract_deep_shard(photos, network, whitening, settings, arguments.device)))


def verify(features: JoinedFeatures, labels: pl.DataFrame, settings: VerificationSettings, device: str) -> pl.DataFrame:
    """Return the inliers of every pair of photos of one label."""
    pairs = np.array(list(pairs_of_one_label(labels)), np.int32)
    inliers, _ = verify_pairs(features, pairs, settings, device)
    return pl.DataFrame(
        {
            "image_a": labels["image_id"].gather(pairs[:, 0]),
            "image_b": labels["image_id"].gather(pairs[:, 1]),
            "landmark_id": labels["landmark_id"].gather(pairs[:, 0]),
            "inliers": inliers,
        }
    )


def pairs_of_one_label(labels: pl.DataFrame) -> Iterator[tuple[int, int]]:
    """Yield the rows of `labels` that stand for photos of one landmark, two by two."""
    landmark: NDArray[np.int64] = labels["landmark_id"].to_numpy()
    for label in np.unique(landmark):
        yield from itertools.combinations(np.flatnonzero(landmark == label).tolist(), 2)


def kept(labels: pl.DataFrame, matches: pl.DataFrame, wrong: set[str], rule: KeepRule) -> tuple[float, int]:
    """Return the percentage of the right photos and the number of the wrong ones that `rule` keeps."""
    ids = set(clean(labels, matches, rule)["image_id"])
    return 100 * len(ids - wrong) / (labels.height - len(wrong)), len(ids & wrong)


if __name__ == "__main__":
    main()
