"""Exact kNN beside faiss IndexFlatIP and beside the matrix product alone, interleaved in one process.

Run: python -m benchmarks.knn [--queries N] [--index N] [--k K] [--repeats R]
"""

import time
from collections.abc import Callable
from statistics import median

import click
import faiss
import numpy as np
import torch

from benchmarks.glv2 import clustered_vectors
from landmark_dag.retrieval.knn import nearest

DIMENSIONS = 512


def product_alone(queries: np.ndarray, index: np.ndarray) -> None:
    """All inner products in float32, tile by tile into one buffer, and nothing else."""
    tile = torch.empty(1024, 4096)
    x, y = torch.from_numpy(queries).float(), torch.from_numpy(index).float()
    for start in range(0, len(y), 4096):
        part = y[start : start + 4096].T
        for first in range(0, len(x), 1024):
            some = x[first : first + 1024]
            torch.mm(some, part, out=tile.view(-1)[: len(some) * part.shape[1]].view(len(some), -1))


def by_faiss(queries: np.ndarray, index: np.ndarray, k: int) -> np.ndarray:
    flat = faiss.IndexFlatIP(index.shape[1])
    flat.add(index.astype(np.float32))
    return flat.search(queries.astype(np.float32), k)[1]


@click.command()
@click.option("--queries", default=8192, show_default=True)
@click.option("--index", default=100_000, show_default=True)
@click.option("--k", default=100, show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--threads", default=2, show_default=True)
def main(queries: int, index: int, k: int, repeats: int, threads: int) -> None:
    """Print seconds and floating-point rates, and how far faiss is from the exact answer."""
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    x, y = clustered_vectors(queries, DIMENSIONS, index // 20, 1), clustered_vectors(index, DIMENSIONS, index // 20, 2)
    ways: dict[str, Callable[[], object]] = {
        "product alone": lambda: product_alone(x, y),
        "faiss": lambda: by_faiss(x, y, k),
        "ours": lambda: nearest(x, y, k)[1],
    }
    nearest(x[:64], y[: 4 * k], k)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found = {}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            found[name] = way()
            seconds[name].append(time.perf_counter() - start)
    print(f"{queries} x {index} x {DIMENSIONS}, k={k}, {threads} threads")
    work = 2e-9 * queries * index * DIMENSIONS
    for name, values in seconds.items():
        rate = work / median(values)
        ratio = median(seconds["faiss"]) / median(values)
        print(f"{name:14} {' '.join(f'{v:.2f}' for v in sorted(values))} s, {rate:.0f} GFLOP/s, {ratio:.2f} x faiss")
    agreement = np.mean(np.sort(found["faiss"], axis=1) == np.sort(found["ours"], axis=1))
    print(f"rows of the answer that faiss has too: {100 * agreement:.4f} %")


if __name__ == "__main__":
    main()
