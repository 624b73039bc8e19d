"""Checks of stored tables and embeddings: each function returns one sentence for every problem found.

A sentence names the photo, rank or value at fault. An empty list means that nothing is wrong.
"""

import itertools
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from landmark_dag.settings.checks import DataCheckSettings

_LENGTH_ERROR = 0.01
"""Largest deviation of a float16 embedding's length from 1."""

_BLOCK = 65536


def queries_also_elsewhere(manifests: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return (query_id, split, image_id) of every query whose bytes are also a train or index photo, sorted.

    `manifests` holds a manifest (schemas.MANIFEST) for each split. These queries find themselves: their metrics mean
    nothing.
    """
    queries = manifests["query"].select("fingerprint", query_id="image_id")
    others = [manifests[split].select("fingerprint", "image_id", split=pl.lit(split)) for split in ("train", "index")]
    found = queries.join(pl.concat(others), on="fingerprint")
    return found.select("query_id", "split", "image_id").sort("query_id", "split", "image_id")


def label_problems(labels: pl.DataFrame, manifest: pl.DataFrame) -> list[str]:
    """Compare the labels (schemas.LABELS) with the readable train photos (schemas.MANIFEST)."""
    without = manifest.join(labels, on="image_id", how="anti")["image_id"].sort()
    names = labels.group_by("landmark").agg(pl.col("landmark_id").n_unique())
    shared = names.filter(pl.col("landmark_id") > 1)["landmark"].sort()
    problems = []
    if len(without):
        problems.append(f"{len(without)} train photos have no label, such as {without[0]}.")
    if len(shared):
        problems.append(f"{len(shared)} landmark names belong to several landmark ids, such as {shared[0]!r}.")
    return problems


def embedding_problems(
    image_ids: list[str], vectors: NDArray[np.float16], model: str, manifest: pl.DataFrame, expected_model: str
) -> list[str]:
    """Check that every photo of the shard's manifest has one finite vector of unit length, by `expected_model`.

    `vectors` is (n, d), one row for each of `image_ids`; `manifest` is schemas.MANIFEST.
    """
    problems = []
    expected = set(manifest["image_id"])
    missing, unknown = sorted(expected - set(image_ids)), sorted(set(image_ids) - expected)
    if missing:
        problems.append(f"{len(missing)} photos have no embedding, such as {missing[0]}.")
    if unknown:
        problems.append(f"{len(unknown)} embeddings are of photos that are not in the manifest, such as {unknown[0]}.")
    if len(set(image_ids)) < len(image_ids):
        problems.append(f"{len(image_ids) - len(set(image_ids))} photos have a second embedding.")
    lengths = _lengths(vectors)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _LENGTH_ERROR))
    if len(wrong):
        problems.append(
            f"{len(wrong)} embeddings do not have length 1, such as that of {image_ids[wrong[0]]}, of length "
            f"{lengths[wrong[0]]:.4g}."
        )
    if model != expected_model:
        problems.append(f"The embeddings are by model {model}, the trained model is {expected_model}.")
    return problems


def graph_problems(graph: pl.DataFrame, query_ids: pl.Series, index_ids: pl.Series, neighbours: int) -> list[str]:
    """Check a shard of the kNN graph (schemas.NEIGHBOURS): full lists of known photos, once each, nearest first."""
    length = min(neighbours, len(index_ids))
    problems = _list_problems(graph, query_ids, index_ids)
    short = graph.group_by("query_id").len().filter(pl.col("len") != length).sort("query_id")
    if short.height:
        problems.append(
            f"{short.height} lists do not have {length} photos, such as that of {short['query_id'][0]}, which has "
            f"{short['len'][0]}."
        )
    ordered = graph.sort("query_id", "rank")
    rising = ordered.filter(pl.col("similarity") > pl.col("similarity").shift(1).over("query_id"))
    if rising.height:
        problems.append(f"The list of {rising['query_id'][0]} rises in similarity at rank {rising['rank'][0]}.")
    return problems


def vote_problems(votes: pl.DataFrame, image_ids: pl.Series, landmark_ids: pl.Series) -> list[str]:
    """Check a shard of votes (schemas.VOTES): one for each photo, for a landmark of the cleaned dataset, in -1 to 1."""
    problems = []
    missing = image_ids.filter(~image_ids.is_in(votes["image_id"].implode())).sort()
    if len(missing):
        problems.append(f"{len(missing)} photos have no vote, such as {missing[0]}.")
    strange = votes.filter(~pl.col("landmark_id").is_in(landmark_ids.implode())).sort("image_id")
    if strange.height:
        problems.append(
            f"Photo {strange['image_id'][0]} votes for landmark {strange['landmark_id'][0]}, which is not in the "
            "cleaned dataset."
        )
    outside = votes.filter(~pl.col("confidence").is_between(-1.001, 1.001)).sort("image_id")
    if outside.height:
        problems.append(f"The confidence of {outside['image_id'][0]} is {outside['confidence'][0]}, outside -1 to 1.")
    return problems


def ranking_problems(
    ranking: pl.DataFrame, query_ids: pl.Series, index_ids: pl.Series, limit: int, in_steps: bool
) -> list[str]:
    """Check a shard of a ranking (schemas.RANKING): known photos, once each, at most `limit`.

    If it was made `in_steps` (sort-step and insert-step, not a soft variant), inserted photos come after those of the
    query's landmark and before all others.
    """
    problems = _list_problems(ranking, query_ids, index_ids)
    longest = ranking.group_by("query_id").len().filter(pl.col("len") > limit).sort("query_id")
    if longest.height:
        problems.append(f"The list of {longest['query_id'][0]} has {longest['len'][0]} photos, more than {limit}.")
    place = {"same landmark": 0, "inserted": 1, "retrieved": 2}
    ordered = ranking.sort("query_id", "rank").with_columns(
        place=pl.col("reason").replace_strict(place, default=None, return_dtype=pl.Int8)
    )
    unknown = ordered.filter(pl.col("place").is_null())
    if unknown.height:
        problems.append(f"The list of {unknown['query_id'][0]} has the unknown reason {unknown['reason'][0]!r}.")
    early = ordered.filter(pl.lit(in_steps) & (pl.col("place") < pl.col("place").shift(1).over("query_id")))
    if early.height:
        problems.append(
            f"The list of {early['query_id'][0]} has a photo with the reason {early['reason'][0]!r} after photos that "
            f"must follow it, at rank {early['rank'][0]}."
        )
    return problems


def step_problems(metrics: Mapping[str, float], settings: DataCheckSettings) -> list[str]:
    """Return the steps that lose more mAP@100 (percent) against the step before than the settings allow."""
    return [
        f"mAP@100 falls from {metrics[before]:.1f} ({before}) to {metrics[after]:.1f} ({after})."
        for before, after in itertools.pairwise(metrics)
        if metrics[after] < metrics[before] - settings.step_margin
    ]


def regression_problems(
    metrics: Mapping[str, float], last_good: Mapping[str, float], settings: DataCheckSettings
) -> list[str]:
    """Return the steps that lose more mAP@100 (percent) against the last good run than the settings allow."""
    return [
        f"mAP@100 ({step}) is {value:.1f}; the last good run had {last_good[step]:.1f}."
        for step, value in metrics.items()
        if step in last_good and value < last_good[step] - settings.run_margin
    ]


def _list_problems(lists: pl.DataFrame, query_ids: pl.Series, index_ids: pl.Series) -> list[str]:
    """Check that every query has a list, of known index photos once each, ranked from 1 without gaps."""
    problems = []
    missing = query_ids.filter(~query_ids.is_in(lists["query_id"].implode())).sort()
    if len(missing):
        problems.append(f"{len(missing)} queries have no list, such as {missing[0]}.")
    unknown = lists.filter(~pl.col("index_id").is_in(index_ids.implode())).sort("query_id", "rank")
    if unknown.height:
        problems.append(
            f"The list of {unknown['query_id'][0]} has {unknown['index_id'][0]}, which is not an index photo."
        )
    twice = lists.filter(pl.struct("query_id", "index_id").is_duplicated()).sort("query_id", "rank")
    if twice.height:
        problems.append(f"The list of {twice['query_id'][0]} has {twice['index_id'][0]} more than once.")
    gaps = lists.group_by("query_id").agg(pl.col("rank").sort().diff().ne(1).any() | pl.col("rank").min().ne(1))
    gaps = gaps.filter(pl.col("rank")).sort("query_id")
    if gaps.height:
        problems.append(f"The ranks of {gaps['query_id'][0]} do not count from 1 without gaps.")
    return problems


def _lengths(vectors: NDArray[np.float16]) -> NDArray[np.float32]:
    lengths = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        lengths[start : start + _BLOCK] = np.linalg.norm(vectors[start : start + _BLOCK].astype(np.float32), axis=1)
    return lengths
