"""Pairs a second of spatial verification, beside SciPy with scikit-image, OpenCV, and a product with OpenCV.

    python -m benchmarks.verify_pairs [--rounds 5] [--device cuda] [--growth [--largest 1000000]]

Each photo has 1,000 features of 40 numbers. 236 of them have a counterpart in the pair's other photo, and 0 to 300 of
these follow one affine map, with 2 pixels of noise. A way is right where it finds 30 inliers or more exactly in pairs
with 30 or more planted. Each way runs on one thread, in turn, and is timed in processor seconds, which other programs
do not lengthen. Needs `scikit-image` (dependency group `bench`). --growth prints seconds and memory of ever more pairs.

Floors on paper, for one such pair on a large GPU (H200: 790 TFLOP/s, 4.3 TB/s; an H100 has a quarter less bandwidth):
the product, 1000 x 1000 x 44 x 2 = 88 MFLOP, takes 0.1 to 0.3 us on tensor cores. Matching is not fused into it, so
the 4 MB of similarities are written once and read twice: 12 MB, 2.8 us, the largest part. 4,096 samples with some 60
elementwise steps of 12 bytes are 2.9 MB, 0.7 us. Few samples survive their own check where orientations are known, and
features are 0.1 MB. Together about 4 us: 250,000 pairs a second at best, 3 to 4 million with fused matching.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks.measuring import Run, in_own_process, in_turn, measured
from landmark_dag.matching.features import LocalFeatures, PhotoFeatures, gather, quantised_descriptors
from landmark_dag.matching.mutual_matches import SimilarityBuffer, has_integer_product
from landmark_dag.matching.verification import verify_pairs
from landmark_dag.settings.matching import VerificationSettings

PLANTED = (0, 15, 25, 30, 35, 45, 60, 100, 300)
PAIRS_EACH = 20
CLASSIC, CLASSIC_PAIRS_EACH = "SciPy cKDTree + scikit-image ransac", 4
MATCHED, FEATURES, DIMENSIONS, SIDE = 236, 1000, 40, 1000
RESIDUAL, TRIALS = 20.0, 1000
SETTINGS = VerificationSettings(residual=RESIDUAL)

Photo = tuple[NDArray[np.float32], NDArray[np.float32]]
Verify = Callable[[Photo, Photo], int]
"""Returns the inliers of a pair of photos."""


def planted_pair(generator: np.random.Generator, true: int) -> tuple[Photo, Photo]:
    """Return two photos, (keypoints, descriptors) each, of which `true` matches follow one affine map."""
    matched = max(MATCHED, true)
    first = generator.uniform(0, SIDE, (FEATURES, 2))
    second = generator.uniform(0, SIDE, (FEATURES, 2))
    angle, stretch = generator.uniform(-0.5, 0.5), generator.uniform(0.7, 1.3, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (first[:true] - SIDE / 2) @ (turn * stretch).T + SIDE / 2
    second[:true] = moved + generator.normal(0, 2, (true, 2))
    descriptors = generator.normal(size=(2, FEATURES, DIMENSIONS))
    descriptors[1, :matched] = descriptors[0, :matched] + 0.4 * generator.normal(size=(matched, DIMENSIONS))
    descriptors /= np.linalg.norm(descriptors, axis=2, keepdims=True)
    shuffled = generator.permutation(FEATURES)
    return (
        (first.astype(np.float32), descriptors[0].astype(np.float32)),
        (second[shuffled].astype(np.float32), descriptors[1, shuffled].astype(np.float32)),
    )


def classic(first: Photo, second: Photo) -> int:
    """Return the inliers as the paper's code does: a KD-tree of descriptors within 0.8, then scikit-image's RANSAC."""
    from skimage.measure import ransac
    from skimage.transform import AffineTransform

    distance, nearest = cKDTree(first[1]).query(second[1], distance_upper_bound=0.8)
    found = np.isfinite(distance)
    if found.sum() < 3:
        return 0
    _, inliers = ransac(
        (second[0][found], first[0][nearest[found]]),
        AffineTransform,
        min_samples=3,
        residual_threshold=RESIDUAL,
        max_trials=TRIALS,
        rng=114514,
    )
    return 0 if inliers is None else int(inliers.sum())


def opencv(method: int) -> Verify:
    """Return OpenCV's brute-force mutual matcher with `estimateAffine2D` by `method`."""
    matcher = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True)

    def inliers(first: Photo, second: Photo) -> int:
        matches = [match for match in matcher.match(first[1], second[1]) if match.distance < 0.8]
        rows, columns = [match.queryIdx for match in matches], [match.trainIdx for match in matches]
        return opencv_inliers(first[0][rows], second[0][columns], method)

    return inliers


def product_with_opencv(first: Photo, second: Photo) -> int:
    """Return the inliers by a matrix product for mutual matching, then OpenCV's USAC_MAGSAC."""
    similarity = (torch.from_numpy(first[1]) @ torch.from_numpy(second[1]).T).numpy()
    nearest = similarity.argmax(axis=1)
    mutual = similarity.argmax(axis=0)[nearest] == np.arange(FEATURES)
    rows = np.flatnonzero(mutual & (similarity[np.arange(FEATURES), nearest] > 1 - 0.8**2 / 2))
    return opencv_inliers(first[0][rows], second[0][nearest[rows]], cv2.USAC_MAGSAC)


def opencv_inliers(source: NDArray[np.float32], target: NDArray[np.float32], method: int) -> int:
    """Return the inliers of OpenCV's `estimateAffine2D` among matches (n, 2)."""
    if len(source) < 3:
        return 0
    _, inliers = cv2.estimateAffine2D(
        source, target, method=method, ransacReprojThreshold=RESIDUAL, maxIters=TRIALS, confidence=0.999
    )
    return 0 if inliers is None else int(inliers.sum())


def as_features(photos: list[Photo]) -> LocalFeatures:
    """Return photos as the verifier reads them, with unknown orientations."""
    parts = [
        PhotoFeatures(points, np.zeros_like(points), quantised_descriptors(vectors, "planted"))
        for points, vectors in photos
    ]
    return gather([f"{number:09}" for number in range(len(photos))], parts)


def compare(rounds: int, device: str) -> None:
    """Print the speed of every way, and how often it is right."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    generator = np.random.default_rng(20200615)
    truth = np.repeat(PLANTED, PAIRS_EACH)
    pairs = [planted_pair(generator, int(true)) for true in truth]
    every = np.arange(len(truth))
    some = every.reshape(-1, PAIRS_EACH)[:, :CLASSIC_PAIRS_EACH].ravel()
    features = as_features([photo for pair in pairs for photo in pair])
    positions = np.arange(2 * len(pairs)).reshape(-1, 2)

    def one_by_one(verify: Verify, rows: NDArray) -> NDArray:
        return np.array([verify(*pairs[row]) for row in rows])

    ways = {
        CLASSIC: partial(one_by_one, classic, some),
        "OpenCV BFMatcher + RANSAC": partial(one_by_one, opencv(cv2.RANSAC), every),
        "OpenCV BFMatcher + USAC_MAGSAC": partial(one_by_one, opencv(cv2.USAC_MAGSAC), every),
        "matrix product + USAC_MAGSAC": partial(one_by_one, product_with_opencv, every),
        "proposed": lambda: verify_pairs(features, positions, SETTINGS)[0],
    }
    inliers = {name: way() for name, way in ways.items()}
    seconds = {
        name: median(run.processor_seconds for run in runs) / len(inliers[name])
        for name, runs in in_turn(ways, rounds).items()
    }
    print(f"{'one thread, medians of ' + str(rounds):36}{'pairs/s':>9}{'ratio':>8}{'right':>8}  outside 25..35")
    for name, found in inliers.items():
        planted = truth[some if name == CLASSIC else every]
        right = (found >= 30) == (planted >= 30)
        clear = right[(planted < 25) | (planted > 35)]
        print(
            f"{name:36}{1 / seconds[name]:>9.1f}{seconds[CLASSIC] / seconds[name]:>8.1f}"
            f"{100 * right.mean():>7.1f}%{100 * clear.mean():>8.1f}%"
        )
    print_floor(features, positions, seconds["proposed"], rounds)
    if torch.device(device).type == "cuda":
        print_accelerator(features, positions, device, rounds)


def print_floor(features: LocalFeatures, positions: NDArray, proposed: float, rounds: int) -> None:
    """Print the share of the `proposed` seconds a pair that the product of the descriptors alone takes."""
    photos = [np.array(features.photo(position).descriptors) for position in range(len(features.image_ids))]
    buffer, out = SimilarityBuffer(), torch.empty(FEATURES, FEATURES)
    floats = [torch.from_numpy(photo).float() for photo in photos]
    products = {
        "8-bit integers" if has_integer_product() else "floats of 8-bit integers": lambda a, b: buffer.product(
            photos[a], photos[b]
        ),
        "float32": lambda a, b: torch.mm(floats[a], floats[b].T, out=out),
    }

    def multiply(product: Callable[[int, int], object]) -> None:
        for a, b in positions.tolist():
            product(a, b)

    for name, product in products.items():
        runs = [measured(partial(multiply, product)) for _ in range(rounds + 1)]
        floor = median(run.processor_seconds for run in runs[1:]) / len(positions)
        share = 100 * floor / proposed
        print(f"the product alone, {name}: {1 / floor:.0f} pairs/s; the proposed way runs at {share:.0f}% of it")


def print_accelerator(features: LocalFeatures, positions: NDArray, device: str, rounds: int) -> None:
    """Print the pairs a second on `device`, every photo with every other, and whether it agrees with the CPU."""
    count = len(features.image_ids)
    pairs = np.stack(np.triu_indices(count, 1), axis=1)
    settings = VerificationSettings(residual=RESIDUAL, pairs_per_batch=256)
    expected = verify_pairs(features, positions, settings)
    agree = all(
        np.array_equal(*arrays)
        for arrays in zip(expected, verify_pairs(features, positions, settings, device), strict=True)
    )
    runs = [measured(lambda: verify_pairs(features, pairs, settings, device), device) for _ in range(rounds)]
    rate = len(pairs) / median(run.seconds for run in runs)
    print(f"{torch.cuda.get_device_name()}: {rate:,.0f} pairs/s; same bits as on the CPU: {agree}")
    print(
        f"on paper the 12 MB of similarities alone allow 280,000 (3.35 TB/s) to 360,000 (4.3 TB/s): {rate / 280e3:.0%}"
    )


def grow(count: int, device: str) -> Run:
    """Verify `count` pairs of small photos, 100 features each."""
    torch.set_num_threads(2)
    generator = np.random.default_rng(3)
    photos: list[Photo] = [
        (generator.uniform(0, 400, (100, 2)).astype(np.float32), generator.normal(size=(100, 40)).astype(np.float32))
        for _ in range(1500)
    ]
    pairs = np.stack(np.triu_indices(len(photos), 1), axis=1)[:count].astype(np.int32)
    features = as_features(photos)
    verify_pairs(features, pairs[:10], SETTINGS, device)
    run = measured(lambda: verify_pairs(features, pairs, SETTINGS, device))
    return replace(run, result=None)


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--growth", is_flag=True, help="seconds and memory of ever more pairs, each in a new process")
@click.option("--largest", default=100_000, show_default=True, help="most pairs of --growth")
def main(rounds: int, device: str, growth: bool, largest: int) -> None:
    """Print the pairs a second of every way, its ratio to the classic one, and how often it is right."""
    if not growth:
        compare(rounds, device)
        return
    for count in (10_000, 30_000, 100_000, 300_000, 1_000_000):
        if count <= largest:
            run = in_own_process(grow, count, device)
            each, extra = 1e6 * run.seconds / count, run.extra_bytes / 2**20
            print(
                f"{count:>9,} pairs: {run.seconds:8.1f} s, {each:6.0f} us a pair, {extra:6.0f} MB more",
                flush=True,
            )


if __name__ == "__main__":
    main()
