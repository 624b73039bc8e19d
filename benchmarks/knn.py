"""Exact kNN by each backend, beside faiss IndexFlatIP and the matrix product alone, in turn in one process.

    python -m benchmarks.knn [--queries N] [--index N] [--k K] [--repeats R] [--device cuda]

Vectors are clustered, of unit norm and 512 dimensions, stored as float16. faiss searches a prepared float32 index; the
proposed backends start from the stored vectors. On a GPU faiss runs only where faiss-gpu is installed. Each line has
the ratio to faiss, for a proposed backend the share of its time that the product alone takes, and the most memory it
takes beyond what is there. The last line shows what storing float16 changes: how many neighbours of the float32
vectors are missing, beyond ties within 1e-3.

To emulate a CPU of 2013 (AVX2 alone) on an Intel CPU, set MKL_ENABLE_INSTRUCTIONS=AVX2 OPENBLAS_CORETYPE=Haswell
FAISS_OPT_LEVEL=avx2 ONEDNN_MAX_CPU_ISA=AVX2 NUMBA_CPU_NAME=haswell.

Floors on paper at GLDv2's sizes, d = 512: 117,577 x 761,757 is 9.2e13 floating-point operations, 879,334 x 1,580,470
is 1.4e15. A GPU of 790 TFLOP/s (float16, sums in float32) needs 0.12 s and 1.8 s for them. But scores written once and
read once by the selection, 8 bytes each, are 0.7 TB and 11 TB: 0.17 s and 2.6 s at 4.3 TB/s.
"""

from statistics import median

import click
import numpy as np
import torch

from benchmarks.gldv2 import clustered_vectors
from benchmarks.measuring import Run, Way, in_turn
from landmark_dag.matching.mutual_matches import integer_steps
from landmark_dag.retrieval.knn.exact import Backend, nearest
from landmark_dag.retrieval.knn.shortlist import Workers

DIMENSIONS = 512
TILES_ON_CPU = {torch.int8: (256, 512), torch.float32: (1024, 512)}
TILE_ON_GPU = 8192, 65536
FLOATS, INTEGERS, HALVES = "float32 product alone", "8-bit product alone", "float16 product alone"
PRODUCTS = {"integer": INTEGERS, "float": FLOATS, "faiss": FLOATS, "torch": HALVES}


def product_alone(queries: torch.Tensor, index: torch.Tensor) -> None:
    """Compute all inner products, tile by tile into one buffer of each thread, and nothing else."""
    if queries.device.type == "cpu":
        with Workers() as workers:
            workers.each(len(queries), product_of_rows, queries, index)
    else:
        product_of_rows(0, len(queries), queries, index)


def product_of_rows(first: int, last: int, queries: torch.Tensor, index: torch.Tensor) -> None:
    """Compute all inner products of the queries `first` to `last`."""
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
    """Return what is timed, by name: a search returns its neighbours, a product nothing."""
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
        ways[f"proposed, {backend}"] = lambda backend=backend: nearest(x, y, k, device=device, backend=backend)[1]
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


def print_runs(runs: dict[str, list[Run]], work: float) -> None:
    """Print a line for each way; `work` is in operations."""
    middle = {name: median(run.seconds for run in of_way) for name, of_way in runs.items()}
    for name, of_way in runs.items():
        seconds = " ".join(f"{run.seconds:.2f}" for run in sorted(of_way, key=lambda run: run.seconds))
        line = f"{name:22} {seconds} s, {1e-9 * work / middle[name]:.0f} GOP/s"
        if "faiss" in runs:
            line += f", {middle['faiss'] / middle[name]:.2f} x faiss"
        product = PRODUCTS.get(name.removeprefix("proposed, "))
        if product:
            line += f", product alone {100 * middle[product] / middle[name]:.0f} %"
        print(f"{line}, {max(run.extra_bytes for run in of_way) / 1e6:.0f} MB")


def print_storage(queries: int, index: int, k: int, device: str) -> None:
    """Print how the neighbours of float16 vectors differ from those of the float32 vectors they come from."""
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
    runs = in_turn(ways, repeats, device)
    print(f"{queries} x {index} x {DIMENSIONS}, k={k}, {threads} threads, {device}")
    print_runs(runs, 2 * queries * index * DIMENSIONS)
    answers = {name: of_way[-1].result for name, of_way in runs.items() if of_way[-1].result is not None}
    last = np.sort(next(reversed(answers.values())), axis=1)
    for name, answer in answers.items():
        print(f"{name:22} has {100 * np.mean(np.sort(answer, axis=1) == last):.4f} % of the last way's neighbours")
    print_storage(min(storage_queries, queries), index, k, device)


if __name__ == "__main__":
    main()
