"""mAP@100 at the size of Google Landmarks v2, from arrays and from CSV files, beside a loop with sets.

Run: python -m benchmarks.metrics [--judged N]
"""

import tempfile
import time
from pathlib import Path
from statistics import median

import click
import numpy as np
import polars as pl

from benchmarks.gldv2 import INDEX, QUERIES, distinct, image_ids
from landmark_dag.evaluation.ground_truth import read_retrieval_ground_truth
from landmark_dag.evaluation.retrieval_metrics import LIMIT, average_precision, average_precisions, first_hits
from landmark_dag.evaluation.submission import read_ranking

RELEVANT = 26


def loop(positions: np.ndarray, relevant: np.ndarray) -> float:
    """The official loop over queries and ranks; its sets are made outside the clock."""
    truth = [set(row) for row in relevant.tolist()]
    start = time.perf_counter()
    total = 0.0
    for listed, right in zip(positions.tolist(), truth, strict=True):
        found: set[int] = set()
        for rank, position in enumerate(listed, start=1):
            if position in right and position not in found:
                found.add(position)
                total += len(found) / rank / min(len(right), LIMIT)
    print(f"loop with sets:      {time.perf_counter() - start:.2f} s")
    return total / len(positions)


@click.command()
@click.option("--judged", default=QUERIES, show_default=True, help="queries with ground truth")
def main(judged: int) -> None:
    """Print seconds and check that all ways agree."""
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
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        value = average_precision(offsets, first_hits(*arrays), np.full(judged, RELEVANT)).mean()
        seconds.append(time.perf_counter() - start)
    print(f"{QUERIES} queries x {LIMIT}, {judged} judged with {RELEVANT} relevant photos each")
    print(f"ours, from arrays:   {median(seconds[1:]):.2f} s (first call, loading compiled code: {seconds[0]:.2f} s)")
    np.testing.assert_allclose(value, loop(positions[:judged], relevant), rtol=1e-9)
    query_ids, index_ids = image_ids(QUERIES, 1), image_ids(INDEX, 2)
    with tempfile.TemporaryDirectory() as folder:
        ranking, solution = Path(folder) / "ranking.csv", Path(folder) / "solution.csv"
        joined = index_ids.gather(positions.ravel()).reshape((QUERIES, LIMIT)).arr.join(" ")
        pl.DataFrame({"id": query_ids, "images": joined}).write_csv(ranking)
        right = index_ids.gather(relevant.ravel()).reshape((judged, RELEVANT)).arr.join(" ")
        images = pl.concat([right, pl.repeat("None", QUERIES - judged, eager=True)])
        usage = pl.repeat("Public", QUERIES, eager=True).alias("Usage")
        pl.DataFrame({"id": query_ids, "images": images, "Usage": usage}).write_csv(solution)
        start, cpu = time.perf_counter(), time.process_time()
        truth = read_retrieval_ground_truth(solution)
        found = average_precisions(read_ranking(ranking), truth)["average_precision"].mean()
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        print(f"ours, from CSV files: {wall:.1f} s ({cpu:.1f} s of processor time)")
    np.testing.assert_allclose(found, 100 * value, rtol=1e-9)


if __name__ == "__main__":
    main()
