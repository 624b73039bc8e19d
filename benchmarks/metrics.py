"""Seconds of mAP@100 at the size of Google Landmarks v2, from arrays and from CSV files, beside a loop with sets.

python -m benchmarks.metrics [--judged N]
"""

import tempfile
from pathlib import Path
from statistics import median

import click
import numpy as np
import polars as pl

from benchmarks.gldv2 import INDEX, QUERIES, distinct, image_ids
from benchmarks.measuring import measured
from landmark_dag.evaluation.ground_truth import read_retrieval_ground_truth
from landmark_dag.evaluation.retrieval_metrics import LIMIT, average_precision, average_precisions, first_hits
from landmark_dag.evaluation.submission import read_ranking

RELEVANT = 26


def baseline(lists: list[list[int]], truth: list[set[int]]) -> float:
    """Return the mean average precision of the official loop over queries and ranks."""
    total = 0.0
    for listed, right in zip(lists, truth, strict=True):
        found: set[int] = set()
        for rank, position in enumerate(listed, start=1):
            if position in right and position not in found:
                found.add(position)
                total += len(found) / rank / min(len(right), LIMIT)
    return total / len(lists)


def write_files(folder: Path, positions: np.ndarray, relevant: np.ndarray) -> tuple[Path, Path]:
    """Write a ranking of every query and a solution of the first ones as CSV files; return both paths."""
    query_ids, index_ids = image_ids(len(positions), 1), image_ids(INDEX, 2)
    ranking, solution = folder / "ranking.csv", folder / "solution.csv"
    joined = index_ids.gather(positions.ravel()).reshape(positions.shape).arr.join(" ")
    pl.DataFrame({"id": query_ids, "images": joined}).write_csv(ranking)
    right = index_ids.gather(relevant.ravel()).reshape(relevant.shape).arr.join(" ")
    images = pl.concat([right, pl.repeat("None", len(positions) - len(relevant), eager=True)])
    usage = pl.repeat("Public", len(positions), eager=True).alias("Usage")
    pl.DataFrame({"id": query_ids, "images": images, "Usage": usage}).write_csv(solution)
    return ranking, solution


def from_files(ranking: Path, solution: Path) -> float:
    """Return the mean average precision, percent, of a ranking's file."""
    truth = read_retrieval_ground_truth(solution)
    return average_precisions(read_ranking(ranking), truth)["average_precision"].mean()


@click.command()
@click.option("--judged", default=QUERIES, show_default=True, help="queries with ground truth")
def main(judged: int) -> None:
    """Print the seconds of each way and check that all agree."""
    generator = np.random.default_rng(3)
    relevant = np.sort(generator.integers(0, INDEX - RELEVANT, (judged, RELEVANT)), axis=1) + np.arange(RELEVANT)
    positions = generator.integers(0, INDEX, (QUERIES, LIMIT)).astype(np.int32)
    hits = generator.random((judged, RELEVANT)) < 0.4
    for query in range(judged):
        chosen = relevant[query, hits[query]]
        positions[query, generator.permutation(LIMIT)[: len(chosen)]] = chosen
    for row in positions:
        distinct(row, generator)
    offsets = np.arange(judged + 1) * LIMIT
    right_offsets = np.arange(judged + 1) * RELEVANT
    arrays = offsets, positions[:judged].ravel(), right_offsets, relevant.ravel().astype(np.int32)
    counts = np.full(judged, RELEVANT)
    runs = [measured(lambda: average_precision(offsets, first_hits(*arrays), counts).mean()) for _ in range(4)]
    lists, truth = positions[:judged].tolist(), [set(row) for row in relevant.tolist()]
    loop = measured(lambda: baseline(lists, truth))
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), positions, relevant)
        read = measured(lambda: from_files(*files))
    print(f"{QUERIES} queries x {LIMIT}, {judged} judged with {RELEVANT} relevant photos each")
    warm = median(run.seconds for run in runs[1:])
    print(f"proposed, from arrays:    {warm:.2f} s (first call, loading compiled code: {runs[0].seconds:.2f} s)")
    print(f"baseline, loop with sets: {loop.seconds:.2f} s")
    print(f"proposed, from CSV files: {read.seconds:.1f} s ({read.processor_seconds:.1f} s of processor time)")
    np.testing.assert_allclose([loop.result, read.result / 100], runs[0].result, rtol=1e-9)


if __name__ == "__main__":
    main()
