"""Seconds of sort-step + insert-step at the size of Google Landmarks v2, beside a loop over the queries in NumPy.

    python -m benchmarks.rerank [--queries N] [--files]

The loop ranks 200 queries, and its time is scaled to all. With --files the command `landmark-dag rerank` is timed too,
from CSV to CSV and from Parquet to Parquet.
"""

import tempfile
from pathlib import Path
from statistics import median

import click
import numpy as np
import polars as pl

from benchmarks.gldv2 import INDEX, LANDMARKS, QUERIES, distinct, image_ids, zipf_landmarks
from benchmarks.measuring import LANDMARK_DAG, in_turn, measured_process
from landmark_dag.retrieval.reranking.insert import QueryVotes, SortedLists, group_by_landmark, insert_step
from landmark_dag.retrieval.reranking.sort import sort_step
from landmark_dag.settings.reranking import InsertSettings
from landmark_dag.storage.user_tables import write_table_file

NEIGHBOURS = 100
BASELINE_QUERIES = 200


def make_case(queries: int) -> dict[str, np.ndarray]:
    """Return votes and lists; half of each list shows the query's landmark, as far as there are such photos."""
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


def proposed(case: dict[str, np.ndarray]) -> np.ndarray:
    """Return the re-ranked lists by the project's functions."""
    queries, length = case["positions"].shape
    offsets = np.arange(queries + 1, dtype=np.int64) * length
    positions = case["positions"].ravel()
    order, same = sort_step(offsets, positions, case["query_landmarks"], case["index_landmarks"])
    groups = group_by_landmark(case["index_landmarks"], case["index_confidence"])
    lists = SortedLists(offsets, positions[order], same)
    queries_votes = QueryVotes(case["query_landmarks"], case["query_confidence"])
    return insert_step(lists, queries_votes, groups, InsertSettings())[1].reshape(queries, length)


def baseline(case: dict[str, np.ndarray], queries: int) -> np.ndarray:
    """Return the first `queries` lists, re-ranked one by one in NumPy; each insert-step scans the whole index."""
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
    """Print what the command takes from files to file, for CSV and Parquet, with ids of 16 characters."""
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
            seconds, processor = measured_process([*LANDMARK_DAG, "rerank", "--json", *files])
            print(f"landmark-dag rerank, {extension} to {extension}: {seconds:.1f} s, {processor:.1f} processor s")


@click.command()
@click.option("--queries", default=QUERIES, show_default=True)
@click.option("--files", is_flag=True, help="also time the command from files to file")
def main(queries: int, files: bool) -> None:
    """Print the seconds of both ways and their ratio, and check that they agree."""
    case = make_case(queries)
    looped = min(BASELINE_QUERIES, queries)
    print(f"{queries} queries x {NEIGHBOURS}, {INDEX} index photos, {LANDMARKS} landmarks")
    proposed(case)
    runs = in_turn({"proposed": lambda: proposed(case), "baseline": lambda: baseline(case, looped)}, rounds=3)
    np.testing.assert_array_equal(runs["proposed"][0].result[:looped], runs["baseline"][0].result)
    seconds = sorted(run.seconds for run in runs["proposed"])
    scaled = sorted(run.seconds / looped * queries for run in runs["baseline"])
    processor = min(run.processor_seconds for run in runs["proposed"])
    memory = max(run.extra_bytes for run in runs["proposed"]) / 2**30
    print(
        f"proposed: {' '.join(f'{s:.3f}' for s in seconds)} s, {processor:.3f} s of processor time, "
        f"{memory:.2f} GiB beyond the inputs"
    )
    print(f"baseline: {' '.join(f'{s:.1f}' for s in scaled)} s, from {looped} queries")
    print(f"ratio of medians: {median(scaled) / median(seconds):.0f}")
    if files:
        from_files(case)


if __name__ == "__main__":
    main()
