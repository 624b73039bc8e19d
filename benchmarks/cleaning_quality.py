"""How well cleaning separates right labels from wrong ones, for many keep rules.

    python -m benchmarks.cleaning_quality PHOTOS [--residual 8] [--hypotheses 4096]
        [--backbone mobilenetv2_100 --weights FILE --dimensions 128 --device cuda]

PHOTOS is a folder (train/<landmark>/*.jpg) with a file train_noise.csv whose column `id` lists the photos with a wrong
label. All pairs of photos of one label are verified; the list of wrong labels only scores the result. With --backbone
photos are matched by deep local features of that timm model, else by RootSIFT.
"""

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.measuring import measured
from landmark_dag.cleaning.keep_rule import clean
from landmark_dag.matching.deep_features import fit_whitening, photos_deep_features
from landmark_dag.matching.features import LocalFeatures, gather
from landmark_dag.matching.rootsift import photos_rootsift
from landmark_dag.matching.verification import verify_pairs
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.cleaning import KeepRule
from landmark_dag.settings.matching import LocalFeatureSettings, VerificationSettings
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.storage.schemas import LABELS
from landmark_dag.training.network import build_network

MIN_INLIERS = (4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 40, 50)
MIN_VERIFIED = (1, 2, 3, 4, 5)


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


def rootsift_features(photos: list[PhotoLocation]) -> LocalFeatures:
    """Return the RootSIFT features of `photos`."""
    return gather([photo.image_id for photo in photos], photos_rootsift(photos, LocalFeatureSettings()))


def deep_features(
    photos: list[PhotoLocation], network_settings: NetworkSettings, dimensions: int, device: str
) -> LocalFeatures:
    """Return the deep local features of `photos`, whitened on the same photos."""
    settings = LocalFeatureSettings(kind="deep", dimensions=dimensions)
    network = build_network(network_settings, seed=0)
    whitening = fit_whitening(photos, network, settings, device)
    features = photos_deep_features(photos, network, whitening, settings, device)
    return gather([photo.image_id for photo in photos], features)


def verify(features: LocalFeatures, labels: pl.DataFrame, settings: VerificationSettings, device: str) -> pl.DataFrame:
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
    """Yield every pair of rows of `labels` with one landmark."""
    landmark: NDArray[np.int64] = labels["landmark_id"].to_numpy()
    for label in np.unique(landmark):
        yield from itertools.combinations(np.flatnonzero(landmark == label).tolist(), 2)


def kept(labels: pl.DataFrame, matches: pl.DataFrame, wrong: set[str], rule: KeepRule) -> tuple[float, int]:
    """Return the percentage of the right photos and the number of the wrong ones that `rule` keeps."""
    ids = set(clean(labels, matches, rule)["image_id"])
    return 100 * len(ids - wrong) / (labels.height - len(wrong)), len(ids & wrong)


@click.command()
@click.argument("photos", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--residual", default=VerificationSettings.residual, show_default=True, help="pixels")
@click.option("--hypotheses", default=VerificationSettings.hypotheses, show_default=True)
@click.option("--backbone", default="", help="timm model of deep local features  [default: RootSIFT]")
@click.option("--weights", default="hub", show_default=True, help="its weights: a file, or `hub`")
@click.option("--dimensions", default=LocalFeatureSettings.dimensions, show_default=True, help="of deep descriptors")
@click.option("--device", default="cpu", show_default=True)
def main(
    photos: Path, residual: float, hypotheses: int, backbone: str, weights: str, dimensions: int, device: str
) -> None:
    """Print the right and the wrong photos that each keep rule keeps."""
    labels = read_labels(photos)
    with (photos / "train_noise.csv").open(newline="") as file:
        wrong = {row["id"] for row in csv.DictReader(file)} & set(labels["image_id"])
    places = located(photos, labels)
    if backbone:
        network = NetworkSettings(backbone=backbone, weights=weights)
        extracted = measured(lambda: deep_features(places, network, dimensions, device))
    else:
        extracted = measured(lambda: rootsift_features(places))
    settings = VerificationSettings(residual=residual, hypotheses=hypotheses)
    verified = measured(lambda: verify(extracted.result, labels, settings, device))
    matches = verified.result
    rate = matches.height / verified.seconds
    print(f"{labels.height} photos, {len(wrong)} with a wrong label; features in {extracted.seconds:.1f} s")
    print(f"{matches.height} pairs of one label verified in {verified.seconds:.1f} s: {rate:.0f} a second")
    print("\nright photos kept, percent / wrong photos kept")
    print("min_inliers" + "".join(f"{f'x {count}':>12}" for count in MIN_VERIFIED))
    for min_inliers in MIN_INLIERS:
        cells = (kept(labels, matches, wrong, KeepRule(min_inliers, count)) for count in MIN_VERIFIED)
        print(f"{min_inliers:>11}" + "".join(f"{right:>7.1f} /{mistakes:>3}" for right, mistakes in cells))


if __name__ == "__main__":
    main()
