"""Exact kNN by each backend beside faiss IndexFlatIP and beside the matrix product alone, interleaved in one process.

    python -m benchmarks.knn [--queries N] [--index N] [--k K] [--repeats R] [--device cuda]

Clustered unit vectors of 512 dimensions, stored as float16. `faiss` searches a prepared float32 index; ours begin
with the stored vectors. On a GPU faiss runs only where faiss-gpu is installed. Each way is followed by its ratio to
faiss, each of ours by the share of its time that the product alone takes, and by the memory that it took at most beside
what was there. The last line tells what storing float16 changes: how many of the float32 vectors' neighbours are
missing, beyond ties within 1e-3.

A CPU of 2013 (AVX2 alone) is emulated on an Intel CPU by the environment variables MKL_ENABLE_INSTRUCTIONS=AVX2
OPENBLAS_CORETYPE=Haswell FAISS_OPT_LEVEL=avx2 ONEDNN_MAX_CPU_ISA=AVX2 NUMBA_CPU_NAME=haswell.

Floors on paper at GLDv2's sizes, d = 512: 117,577 x 761,757 is 9.2e13 floating-point operations, 879,334 x 1,580,470
1.4e15. A GPU of 790 TFLOP/s (float16, sums in float32) takes 0.12 s and 1.8 s for them; but scores written once and
read once by the selection, 8 bytes each, are 0.7 TB and 11 TB: 0.17 s and 2.6 s at 4.3 TB/s.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import click
import numpy as np
import torch

from benchmarks.gldv2 import clustered_vectors
from landmark_dag.matching.mutual_matches import integer_steps
from landmark_dag.retrieval.knn.exact import Backend, nearest
from landmark_dag.retrieval.knn.shortlist import Workers

DIMENSIONS = 512
TILES_ON_CPU = {torch.int8: (256, 512), torch.float32: (1024, 512)}
TILE_ON_GPU = 8192, 65536
FLOATS, INTEGERS, HALVES = "float32 product alone", "8-bit product alone", "float16 product alone"
PRODUCTS = {"integer": INTEGERS, "float": FLOATS, "faiss": FLOATS, "torch": HALVES}
Way = Callable[[], object]


def product_alone(queries: torch.Tensor, index: torch.Tensor) -> None:
    """All inner products, tile by tile into one buffer of each thread, and nothing else."""
    if queries.device.type == "cpu":
        with Workers() as workers:
            workers.each(len(queries), product_of_rows, queries, index)
    else:
        product_of_rows(0, len(queries), queries, index)


def product_of_rows(first: int, last: int, queries: torch.Tensor, index: torch.Tensor) -> None:
    """All inner products of some queries."""
    rows, columns = TILES_ON_CPU[queries.dtype] if queries.device.type == "cpu" else TILE_ON_GPU
    kind = torch.int32 if queries.dtype == torch.int8 else torch.float32
    tile = torch.empty(rows * columns, dtype=kind, device=queries.device)
    for q in range(first, last, rows):
        some = queries[q : min(q + rows, last)]
        for x in range(0, len(index), columns):
            part = index[x : x + columns].T
            out = tile[: len(some) * part.shape[1]].view(len(some), -1)
            if kind == torch.int32:
                torch._int_mm(some, part, out=out)
            elif queries.dtype == torch.float32:
                torch.mm(some, part, out=out)
            else:
                torch.mm(some, part, out_dtype=torch.float32, out=out)


def ways_of(x: np.ndarray, y: np.ndarray, k: int, device: str) -> dict[str, Way]:
    """Return what is timed, by name; a way returns its neighbours, a product nothing."""
    ways: dict[str, Way] = {}
    if device == "cpu":
        floats = [torch.from_numpy(vectors.astype(np.float32)) for vectors in (x, y)]
        ways[FLOATS] = lambda: product_alone(*floats)
        backends: list[Backend] = ["float", "faiss"]
        if all(integer_steps()):
            codes = [(40 * vectors).round().to(torch.int8) for vectors in floats]
            ways[INTEGERS] = lambda: product_alone(*codes)
            backends.append("integer")
    else:
        halves = [torch.from_numpy(vectors).to(device) for vectors in (x, y)]
        ways[HALVES] = lambda: product_alone(*halves)
        backends = ["torch"]
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


@dataclass
class Measured:
    """Seconds of each run of a way, the most bytes it took on the device beside those before, and what it found."""

    seconds: list[float] = field(default_factory=list)
    bytes: int = 0
    found: object = None


def interleaved(ways: dict[str, Way], repeats: int, device: str) -> dict[str, Measured]:
    """Run every way in turn, `repeats` times."""
    measured = {name: Measured() for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            before = bytes_in_use(device, peak=False)
            start = time.perf_counter()
            measured[name].found = way()
            if device != "cpu":
                torch.cuda.synchronize()
            measured[name].seconds.append(time.perf_counter() - start)
            measured[name].bytes = max(measured[name].bytes, bytes_in_use(device, peak=True) - before)
    return measured


def bytes_in_use(device: str, *, peak: bool) -> int:
    """Return the bytes in use, or the most since the last call that was not for the peak; on a CPU Linux tells them."""
    if device != "cpu":
        if not peak:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()
    if not peak:
        Path("/proc/self/clear_refs").write_text("5")
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(status["VmHWM" if peak else "VmRSS"].split()[0])


def print_measured(measured: dict[str, Measured], work: float) -> None:
    """Print a line for each way; `work` is in operations."""
    for name, way in measured.items():
        middle = median(way.seconds)
        line = f"{name:22} {' '.join(f'{v:.2f}' for v in sorted(way.seconds))} s, {1e-9 * work / middle:.0f} GOP/s"
        if "faiss" in measured:
            line += f", {median(measured['faiss'].seconds) / middle:.2f} x faiss"
        product = PRODUCTS.get(name.removeprefix("ours, "))
        if product:
            line += f", product alone {100 * median(measured[product].seconds) / middle:.0f} %"
        print(f"{line}, {way.bytes / 1e6:.0f} MB")


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
    measured = interleaved(ways, repeats, device)
    print(f"{queries} x {index} x {DIMENSIONS}, k={k}, {threads} threads, {device}")
    print_measured(measured, 2 * queries * index * DIMENSIONS)
    answers = {name: way.found for name, way in measured.items() if way.found is not None}
    last = np.sort(next(reversed(answers.values())), axis=1)
    for name, answer in answers.items():
        print(f"{name:22} has {100 * np.mean(np.sort(answer, axis=1) == last):.4f} % of the last way's neighbours")
    print_storage(min(storage_queries, queries), index, k, device)


if __name__ == "__main__":
    main()
