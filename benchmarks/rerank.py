"""Sort-step + insert-step at the size of Google Landmarks v2, beside a plain loop over the queries.

Run: python -m benchmarks.rerank [--queries N] [--files]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.gldv2 import INDEX, LANDMARKS, QUERIES, distinct, image_ids, zipf_landmarks
from landmark_dag.retrieval.reranking.insert import QueryVotes, SortedLists, group_by_landmark, insert_step
from landmark_dag.retrieval.reranking.sort import sort_step
from landmark_dag.settings.reranking import InsertSettings
from landmark_dag.storage.user_tables import write_table_file

NEIGHBOURS = 100
PLAIN_QUERIES = 200


def make_case(queries: int) -> dict[str, np.ndarray]:
    """Votes and lists; half of a list shows the query's landmark, as far as there are such photos."""
    generator = np.random.default_rng(7)
    index_landmarks = zipf_landmarks(INDEX, generator)
    query_landmarks = zipf_landmarks(queries, generator)
    positions = generator.integers(0, INDEX, (queries, NEIGHBOURS), dtype=np.int32)
    groups = group_by_landmark(index_landmarks, np.zeros(INDEX, np.float32))
    group = groups.find(query_landmarks)
    for query in range(queries):
        if group[query] >= 0:
            members = groups.members[groups.offsets[group[query]] : groups.offsets[group[query] + 1]]
            chosen = generator.permutation(members[:500])[: NEIGHBOURS // 2]
            positions[query, generator.permutation(NEIGHBOURS)[: len(chosen)]] = chosen
        positions[query] = distinct(positions[query], generator)
    return {
        "positions": positions,
        "query_landmarks": query_landmarks,
        "query_confidence": generator.random(queries, dtype=np.float32),
        "index_landmarks": index_landmarks,
        "index_confidence": generator.random(INDEX, dtype=np.float32),
    }


def ours(case: dict[str, np.ndarray]) -> np.ndarray:
    queries, length = case["positions"].shape
    offsets = np.arange(queries + 1, dtype=np.int64) * length
    positions = case["positions"].ravel()
    order, same = sort_step(offsets, positions, case["query_landmarks"], case["index_landmarks"])
    groups = group_by_landmark(case["index_landmarks"], case["index_confidence"])
    lists = SortedLists(offsets, positions[order], same)
    queries_votes = QueryVotes(case["query_landmarks"], case["query_confidence"])
    return insert_step(lists, queries_votes, groups, InsertSettings())[1].reshape(queries, length)


def plain(case: dict[str, np.ndarray], queries: int) -> np.ndarray:
    """The steps one query at a time in NumPy, each insert-step looking through the whole index."""
    result = np.empty((queries, NEIGHBOURS), np.int32)
    for query in range(queries):
        listed = case["positions"][query]
        same = case["index_landmarks"][listed] == case["query_landmarks"][query]
        confident = case["query_confidence"][query] + case["index_confidence"] > np.float32(0.6)
        found = np.flatnonzero((case["index_landmarks"] == case["query_landmarks"][query]) & confident)
        found = found[~np.isin(found, listed)]
        found = found[np.argsort(-case["index_confidence"][found], kind="stable")]
        result[query] = np.concatenate([listed[same], found, listed[~same]])[:NEIGHBOURS]
    return result


def from_files(case: dict[str, np.ndarray]) -> None:
    """Time the command from files to file, for CSV and Parquet, with ids of 16 characters."""
    queries, length = case["positions"].shape
    query_ids, index_ids = image_ids(queries, 1), image_ids(INDEX, 2)
    frames = {
        "n": pl.DataFrame(
            {
                "query_id": query_ids.gather(np.repeat(np.arange(queries), length)),
                "index_id": index_ids.gather(case["positions"].ravel()),
                "similarity": np.tile(np.linspace(1, 0, length, dtype=np.float32), queries),
            }
        ),
        **{
            split[0]: pl.DataFrame(
                {
                    "image_id": ids,
                    "landmark_id": case[f"{split}_landmarks"],
                    "confidence": case[f"{split}_confidence"],
                }
            )
            for split, ids in (("query", query_ids), ("index", index_ids))
        },
    }
    for extension in ("parquet", "csv"):
        with tempfile.TemporaryDirectory() as folder:
            for name, frame in frames.items():
                write_table_file(Path(folder) / f"{name}.{extension}", frame)
            files = [
                f"--{option}={folder}/{name}.{extension}"
                for option, name in (("neighbours", "n"), ("query-votes", "q"), ("index-votes", "i"), ("out", "o"))
            ]
            start, used = time.perf_counter(), children_seconds()
            command = "from landmark_dag.cli.main import main; main()"
            subprocess.run([sys.executable, "-c", command, "rerank", "--json", *files], check=True)
            print(
                f"landmark-dag rerank, {extension} to {extension}: {time.perf_counter() - start:.1f} s, "
                f"{children_seconds() - used:.1f} s of processor time"
            )


def children_seconds() -> float:
    """Processor time of the processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--files", action="store_true", help="also time the command from files to file")
    arguments = parser.parse_args()
    case = make_case(arguments.queries)
    print(f"{arguments.queries} queries x {NEIGHBOURS}, {INDEX} index photos, {LANDMARKS} landmarks")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours(case)
    seconds, used, plain_seconds = [], [], []
    for _ in range(3):
        start, start_used = time.perf_counter(), time.process_time()
        result = ours(case)
        seconds.append(time.perf_counter() - start)
        used.append(time.process_time() - start_used)
        start = time.perf_counter()
        expected = plain(case, min(PLAIN_QUERIES, arguments.queries))
        plain_seconds.append((time.perf_counter() - start) / len(expected) * arguments.queries)
        np.testing.assert_array_equal(result[: len(expected)], expected)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"ours:  {' '.join(f'{s:.3f}' for s in sorted(seconds))} s, {min(used):.3f} s of processor time, "
        f"peak {peak / 2**20:.2f} GiB ({(peak - before) / 2**20:.2f} above the inputs)"
    )
    print(f"plain: {' '.join(f'{s:.1f}' for s in sorted(plain_seconds))} s, from {len(expected)} queries")
    print(f"ratio of medians: {np.median(plain_seconds) / np.median(seconds):.0f}")
    if arguments.files:
        from_files(case)


if __name__ == "__main__":
    main()
