"""Exact kNN by each backend beside faiss IndexFlatIP and beside the matrix product alone, interleaved in one process.

    python -m benchmarks.knn [--queries N] [--index N] [--k K] [--repeats R] [--device cuda]

Clustered unit vectors of 512 dimensions, stored as float16. `faiss` searches a prepared float32 index; ours begin
with the stored vectors. On a GPU faiss runs only where faiss-gpu is installed. The last lines tell what storing
float16 changes: how many of the float32 vectors' neighbours are missing, beyond ties within 1e-3.

Floors on paper at GLDv2's sizes, d = 512: 117,577 x 761,757 is 9.2e13 floating-point operations, 879,334 x 1,580,470
1.4e15. A GPU of 790 TFLOP/s (float16, sums in float32) takes 0.12 s and 1.8 s for them; but scores written once and
read once by the selection, 8 bytes each, are 0.7 TB and 11 TB: 0.17 s and 2.6 s at 4.3 TB/s.
"""

import time
from collections.abc import Callable
from statistics import median

import click
import numpy as np
import torch

from benchmarks.glv2 import clustered_vectors
from landmark_dag.cleaning.matching import has_integer_product
from landmark_dag.retrieval.knn import Backend, nearest

DIMENSIONS = 512
TILE_QUERIES, TILE_INDEX = 1024, 4096
Way = Callable[[], object]


def product_alone(queries: torch.Tensor, index: torch.Tensor) -> None:
    """All inner products, tile by tile into one buffer, and nothing else."""
    whole = queries.dtype == torch.int8
    tile = torch.empty(TILE_QUERIES * TILE_INDEX, dtype=torch.int32 if whole else torch.float32, device=queries.device)
    multiply = torch._int_mm if whole else torch.mm
    for start in range(0, len(index), TILE_INDEX):
        part = index[start : start + TILE_INDEX].T
        for first in range(0, len(queries), TILE_QUERIES):
            some = queries[first : first + TILE_QUERIES]
            multiply(some, part, out=tile[: len(some) * part.shape[1]].view(len(some), -1))


def ways_of(x: np.ndarray, y: np.ndarray, k: int, device: str) -> dict[str, Way]:
    """Return what is timed, by name; a way returns its neighbours, a product nothing."""
    queries, index = (torch.from_numpy(vectors.astype(np.float32)).to(device) for vectors in (x, y))
    ways: dict[str, Way] = {"float32 product alone": lambda: product_alone(queries, index)}
    backends: list[Backend] = ["torch"]
    if device == "cpu":
        backends = ["integer", "faiss"] if has_integer_product() else ["faiss"]
    if has_integer_product() and device == "cpu":
        codes = [(127 * vectors).round().to(torch.int8) for vectors in (queries, index)]
        ways["8-bit product alone"] = lambda: product_alone(*codes)
    flat = prepared_faiss(y.astype(np.float32), device)
    if flat is not None:
        rows = x.astype(np.float32)
        ways["faiss"] = lambda: flat.search(rows, k)[1]
    for backend in backends:
        ways[f"ours, {backend}"] = lambda backend=backend: nearest(x, y, k, device=device, backend=backend)[1]
    return ways


def prepared_faiss(index: np.ndarray, device: str) -> object | None:
    """Return faiss's flat index of the vectors on `device`; None where faiss is not installed for it."""
    try:
        import faiss
    except ImportError:
        return None
    flat = faiss.IndexFlatIP(index.shape[1])
    if device != "cpu":
        if not faiss.get_num_gpus():
            return None
        options = faiss.GpuClonerOptions()
        options.useFloat16 = True
        flat = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, flat, options)
    flat.add(index)
    return flat


def interleaved(ways: dict[str, Way], repeats: int, device: str) -> tuple[dict[str, list[float]], dict[str, object]]:
    """Return the seconds of each way, and what each found."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found = {}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            found[name] = way()
            if device != "cpu":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    return seconds, found


def print_storage(queries: int, index: int, k: int, device: str) -> None:
    """Print how the neighbours of float16 vectors differ from those of the float32 vectors they were made of."""
    generator = np.random.default_rng(3)
    exact = [clustered_vectors(count, DIMENSIONS, index // 20, seed) for count, seed in ((queries, 1), (index, 2))]
    exact = [rows + 1e-4 * generator.normal(size=rows.shape).astype(np.float32) for rows in exact]
    exact = [(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32) for rows in exact]
    stored = [rows.astype(np.float16) for rows in exact]
    best, wanted = nearest(*exact, k, device=device)
    _, found = nearest(*stored, k, device=device)
    missing, beyond = 0, 0
    for row in range(queries):
        lost = ~np.isin(wanted[row], found[row])
        missing += int(lost.sum())
        beyond += int((best[row][lost] > best[row][-1] + 1e-3).sum())
    print(f"float16 storage: {missing} of {wanted.size} neighbours differ, {beyond} beyond ties within 1e-3")


@click.command()
@click.option("--queries", default=16384, show_default=True)
@click.option("--index", default=100_000, show_default=True)
@click.option("--k", default=100, show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--storage-queries", default=1000, show_default=True)
def main(queries: int, index: int, k: int, repeats: int, threads: int, device: str, storage_queries: int) -> None:
    """Print seconds, rates, ratios to faiss, and whether the answers agree."""
    torch.set_num_threads(threads)
    x, y = clustered_vectors(queries, DIMENSIONS, index // 20, 1), clustered_vectors(index, DIMENSIONS, index // 20, 2)
    ways = ways_of(x, y, k, device)
    nearest(x[:64], y[: 4 * k], k, device=device)
    seconds, found = interleaved(ways, repeats, device)
    print(f"{queries} x {index} x {DIMENSIONS}, k={k}, {threads} threads, {device}")
    work = 2e-9 * queries * index * DIMENSIONS
    for name, values in seconds.items():
        ratio = f", {median(seconds['faiss']) / median(values):.2f} x faiss" if "faiss" in seconds else ""
        print(f"{name:22} {' '.join(f'{v:.2f}' for v in sorted(values))} s, {work / median(values):.0f} GFLOP/s{ratio}")
    answers = {name: answer for name, answer in found.items() if answer is not None}
    last = np.sort(next(reversed(answers.values())), axis=1)
    for name, answer in answers.items():
        print(f"{name:22} has {100 * np.mean(np.sort(answer, axis=1) == last):.4f} % of the last way's neighbours")
    print_storage(min(storage_queries, queries), index, k, device)


if __name__ == "__main__":
    main()
