"""Spatial verification, side by side: the classic way, OpenCV, a matrix product with OpenCV, and ours.

    python -m benchmarks.verify_pairs [--rounds 5] [--device cuda] [--growth [--largest 1000000]]

Pairs of photos of 1,000 features of 40 numbers, of which 236 have a like in the other photo; 0 to 300 of these
lie where one affine map says, with 2 pixels of noise. A way is right where it says `30 inliers or more` as
planted. Each way runs on one thread, one after the other in each round, and is timed in processor seconds,
which other work on the machine does not lengthen. Needs `scikit-image` beside the project's own packages.

Floors on paper, a pair of such photos on a large GPU (H200: 790 TFLOP/s, 4.3 TB/s; H100 less by a quarter in
bandwidth): the product, 1000 x 1000 x 44 x 2 = 88 MFLOP, takes 0.1 to 0.3 us on tensor cores; matching is
fused by nobody here, so the 4 MB of similarities are written once and read twice: 12 MB, 2.8 us, the largest
part; 4,096 samples with some 60 elementwise steps of 12 bytes, 2.9 MB, 0.7 us; the samples that survive their
own check, few where orientations are known, and 0.1 MB of features. Together about 4 us: 250,000 pairs a second at
best, 3 to 4 million with matching fused into the product.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from landmark_dag.matching.features import LocalFeatures, PhotoFeatures, gather, quantised_descriptors
from landmark_dag.matching.mutual_matches import SimilarityBuffer, has_integer_product
from landmark_dag.matching.verification import verify_pairs
from landmark_dag.settings.matching import VerificationSettings

PLANTED = (0, 15, 25, 30, 35, 45, 60, 100, 300)
PAIRS_EACH = 20
CLASSIC_PAIRS_EACH = 4
MATCHED, FEATURES, DIMENSIONS, SIDE = 236, 1000, 40, 1000
RESIDUAL, TRIALS = 20.0, 1000
SETTINGS = VerificationSettings(residual=RESIDUAL)

Photo = tuple[NDArray[np.float32], NDArray[np.float32]]
Way = Callable[[Photo, Photo], int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--largest", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pairs:
        grow(arguments.pairs, arguments.device)
    elif arguments.growth:
        for count in (10_000, 30_000, 100_000, 300_000, 1_000_000):
            if count <= arguments.largest:
                options = ["--pairs", str(count), "--device", arguments.device]
                subprocess.run([sys.executable, "-m", "benchmarks.verify_pairs", *options], check=True)
    else:
        compare(arguments.rounds, arguments.device)


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
    """The paper's code: a KD-tree of descriptors within 0.8, then scikit-image's RANSAC."""
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


def opencv(method: int) -> Way:
    """Return OpenCV's brute-force mutual matcher with `estimateAffine2D` by `method`."""
    matcher = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True)

    def inliers(first: Photo, second: Photo) -> int:
        matches = [match for match in matcher.match(first[1], second[1]) if match.distance < 0.8]
        rows, columns = [match.queryIdx for match in matches], [match.trainIdx for match in matches]
        return opencv_inliers(first[0][rows], second[0][columns], method)

    return inliers


def product_with_opencv(first: Photo, second: Photo) -> int:
    """A matrix product for mutual matching, then OpenCV's USAC_MAGSAC."""
    similarity = (torch.from_numpy(first[1]) @ torch.from_numpy(second[1]).T).numpy()
    nearest = similarity.argmax(axis=1)
    mutual = similarity.argmax(axis=0)[nearest] == np.arange(FEATURES)
    rows = np.flatnonzero(mutual & (similarity[np.arange(FEATURES), nearest] > 1 - 0.8**2 / 2))
    return opencv_inliers(first[0][rows], second[0][nearest[rows]], cv2.USAC_MAGSAC)


def opencv_inliers(source: NDArray[np.float32], target: NDArray[np.float32], method: int) -> int:
    if len(source) < 3:
        return 0
    _, inliers = cv2.estimateAffine2D(
        source, target, method=method, ransacReprojThreshold=RESIDUAL, maxIters=TRIALS, confidence=0.999
    )
    return 0 if inliers is None else int(inliers.sum())


def as_features(photos: list[Photo]) -> LocalFeatures:
    """Return photos as the verifier reads them, of unknown orientation."""
    parts = [
        PhotoFeatures(points, np.zeros_like(points), quantised_descriptors(vectors, "planted"))
        for points, vectors in photos
    ]
    return gather([f"{number:09}" for number in range(len(photos))], parts)


def compare(rounds: int, device: str) -> None:
    """Print speed and rightness of every way."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    generator = np.random.default_rng(20200615)
    truth = np.repeat(PLANTED, PAIRS_EACH)
    pairs = [planted_pair(generator, int(true)) for true in truth]
    some = np.arange(len(truth)).reshape(-1, PAIRS_EACH)[:, :CLASSIC_PAIRS_EACH].ravel()
    every = np.arange(len(truth))
    features = as_features([photo for pair in pairs for photo in pair])
    positions = np.arange(2 * len(pairs)).reshape(-1, 2)

    def one_by_one(way: Way) -> Callable[[NDArray], NDArray]:
        return lambda rows: np.array([way(*pairs[row]) for row in rows])

    ways = {
        "SciPy cKDTree + scikit-image ransac": (one_by_one(classic), some),
        "OpenCV BFMatcher + RANSAC": (one_by_one(opencv(cv2.RANSAC)), every),
        "OpenCV BFMatcher + USAC_MAGSAC": (one_by_one(opencv(cv2.USAC_MAGSAC)), every),
        "matrix product + USAC_MAGSAC": (one_by_one(product_with_opencv), every),
        "ours": (lambda rows: verify_pairs(features, positions[rows], SETTINGS)[0], every),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    inliers = {name: way(rows) for name, (way, rows) in ways.items()}
    for _ in range(rounds):
        for name, (way, rows) in ways.items():
            start = time.process_time()
            way(rows)
            seconds[name].append((time.process_time() - start) / len(rows))
    reference = statistics.median(seconds["SciPy cKDTree + scikit-image ransac"])
    print(f"{'one thread, medians of ' + str(rounds):36}{'pairs/s':>9}{'ratio':>8}{'right':>8}  outside 25..35")
    for name, (_, rows) in ways.items():
        median = statistics.median(seconds[name])
        right = (inliers[name] >= 30) == (truth[rows] >= 30)
        clear = right[(truth[rows] < 25) | (truth[rows] > 35)]
        print(
            f"{name:36}{1 / median:>9.1f}{reference / median:>8.1f}{100 * right.mean():>7.1f}%"
            f"{100 * clear.mean():>8.1f}%"
        )
    print_floor(features, positions, statistics.median(seconds["ours"]), rounds)
    if torch.device(device).type == "cuda":
        print_accelerator(features, positions, device, rounds)


def print_floor(features: LocalFeatures, positions: NDArray, ours: float, rounds: int) -> None:
    """Print what part of our time the bare product of the descriptors would take."""
    photos = [np.array(features.photo(position).descriptors) for position in range(len(features.image_ids))]
    buffer, out = SimilarityBuffer(), torch.empty(FEATURES, FEATURES)
    floats = [torch.from_numpy(photo).float() for photo in photos]
    products = {
        "8-bit integers" if has_integer_product() else "floats of 8-bit integers": lambda a, b: buffer.product(
            photos[a], photos[b]
        ),
        "float32": lambda a, b: torch.mm(floats[a], floats[b].T, out=out),
    }
    for name, product in products.items():
        taken = []
        for _ in range(rounds + 1):
            start = time.process_time()
            for a, b in positions.tolist():
                product(a, b)
            taken.append((time.process_time() - start) / len(positions))
        floor = statistics.median(taken[1:])
        print(f"the product alone, {name}: {1 / floor:.0f} pairs/s; ours runs at {100 * floor / ours:.0f}% of it")


def print_accelerator(features: LocalFeatures, positions: NDArray, device: str, rounds: int) -> None:
    """Print pairs a second on `device`: every photo of the set with every other, and that both ways agree."""
    count = len(features.image_ids)
    pairs = np.stack(np.triu_indices(count, 1), axis=1)
    settings = VerificationSettings(residual=RESIDUAL, pairs_per_batch=256)
    expected = verify_pairs(features, positions, settings)
    agree = all(
        np.array_equal(*arrays)
        for arrays in zip(expected, verify_pairs(features, positions, settings, device), strict=True)
    )
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        verify_pairs(features, pairs, settings, device)
        taken.append(time.perf_counter() - start)
    rate = len(pairs) / statistics.median(taken)
    print(f"{torch.cuda.get_device_name()}: {rate:,.0f} pairs/s; same to the bit as the processor's: {agree}")
    print(f"paper: the 12 MB of similarities alone allow 280,000 (3.35 TB/s) to 360,000 (4.3 TB/s): {rate / 280e3:.0%}")


def grow(count: int, device: str) -> None:
    """Print seconds and peak memory of `count` pairs of small photos: 100 features each."""
    torch.set_num_threads(2)
    generator = np.random.default_rng(3)
    photos: list[Photo] = [
        (generator.uniform(0, 400, (100, 2)).astype(np.float32), generator.normal(size=(100, 40)).astype(np.float32))
        for _ in range(1500)
    ]
    pairs = np.stack(np.triu_indices(len(photos), 1), axis=1)[:count].astype(np.int32)
    features = as_features(photos)
    verify_pairs(features, pairs[:10], SETTINGS, device)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    verify_pairs(features, pairs, SETTINGS, device)
    seconds = time.perf_counter() - start
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{count:>9,} pairs: {seconds:8.1f} s, {1e6 * seconds / count:6.0f} us a pair, {more:6.0f} MB more memory")


if __name__ == "__main__":
    main()
