"""The protocol of ROxford and RParis: easy, medium and hard queries, junk removed, trapezoidal AP, mP@k.

(Radenovic, Iscen, Tolias, Avrithis and Chum, Revisiting Oxford and Paris, CVPR 2018; revisitop,
python/evaluate.py.) It is another function than mAP@100 of Google Landmarks v2 in retrieval_metrics: AP is the area
under precision and recall with the precision at a hit averaged with the one before it, over the whole list, and
photos that are junk for a query leave its list without leaving a gap.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.evaluation.aggregation import grouped_means
from landmark_dag.evaluation.plain_pickle import PlainArray, read_json_or_pickle
from landmark_dag.settings.evaluation import BootstrapSettings

PROTOCOLS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
"""Which photos of a query are positive, and which are junk, under each protocol."""

RANKS = (1, 5, 10)
"""The k of mP@k."""

_KINDS = ("easy", "hard", "junk")


@dataclass(frozen=True, eq=False)
class RevisitedGroundTruth:
    """Names of database photos and of queries, and the photos easy, hard and junk for each query, by position."""

    index_ids: list[str]
    query_ids: list[str]
    photos: Mapping[str, list[NDArray[np.int64]]]


def read_revisited_ground_truth(path: Path) -> RevisitedGroundTruth:
    """Read gnd_roxford5k.pkl, gnd_rparis6k.pkl, or the same content as JSON.

    That is a dictionary of imlist, qimlist and gnd, which holds for every query the positions in imlist of its
    easy, hard and junk photos. A pickle may hold plain values and arrays of numbers alone: nothing in it is run.
    Raises InputError, naming the file, for anything else.
    """
    content = read_json_or_pickle(path)
    try:
        index_ids, query_ids = (_names(content[key]) for key in ("imlist", "qimlist"))
        photos = {kind: [_positions(query[kind]) for query in content["gnd"]] for kind in _KINDS}
    except (KeyError, TypeError, ValueError, IndexError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} is no ground truth of ROxford or RParis: {reason}.") from error
    for kind, lists in photos.items():
        if len(lists) != len(query_ids):
            raise InputError(f"{path} has {len(query_ids)} queries in qimlist but {len(lists)} in gnd.")
        for query_id, some in zip(query_ids, lists, strict=True):
            if len(some) and not 0 <= some.min() <= some.max() < len(index_ids):
                raise InputError(f"{path}: {kind} of query {query_id} names a photo outside imlist.")
    return RevisitedGroundTruth(index_ids, query_ids, photos)


def revisited_metrics(
    ranking: pl.DataFrame, truth: RevisitedGroundTruth, bootstrap: BootstrapSettings | None = None
) -> pl.DataFrame:
    """Return protocol, map, mp_at_1, mp_at_5 and mp_at_10 (percent) with intervals (NAME_low, NAME_high), and queries.

    See `revisited_queries`. A protocol without queries has no row.
    """
    names = {"average_precision": "map"} | {f"precision_at_{rank}": f"mp_at_{rank}" for rank in RANKS}
    per_query = revisited_queries(ranking, truth).rename(names)
    return grouped_means(per_query.select("query_id", "protocol", *names.values()), PROTOCOLS, bootstrap)


def revisited_queries(ranking: pl.DataFrame, truth: RevisitedGroundTruth) -> pl.DataFrame:
    """Return protocol, query_id, average_precision and precision_at_1, _5, _10 (percent) of each query that counts.

    `ranking` has query_id, rank and index_id, in any row order, no photo twice in a list. Photos that are not in the
    database, such as the million distractors, count as wrong. A query without a list scores 0; one without a
    positive photo under a protocol does not count there. A positive that a list leaves out is never found: give
    whole lists for the published numbers. Raises InputError for a query that the ground truth does not know, and
    for a ranking that names no photo of the database.
    """
    lists = _flagged_lists(ranking, truth)
    frames = []
    for protocol, (positive, junk) in PROTOCOLS.items():
        expected = np.array([sum(len(truth.photos[kind][q]) for kind in positive) for q in range(len(truth.query_ids))])
        values = 100 * _scores(*lists, _bits(positive), _bits(junk), expected)[expected > 0]
        query_ids = pl.Series("query_id", truth.query_ids, dtype=pl.String).filter(pl.Series(expected > 0))
        names = ("average_precision", *(f"precision_at_{rank}" for rank in RANKS))
        columns = [pl.Series(name, values[:, column]) for column, name in enumerate(names)]
        frames.append(pl.DataFrame([query_ids, *columns]).select(pl.lit(protocol).alias("protocol"), pl.all()))
    return pl.concat(frames)


def _scores(
    queries: NDArray[np.int64],
    flags: NDArray[np.uint8],
    positive: int,
    junk: int,
    expected: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return AP and the precision at RANKS, from 0 to 1, float64 (queries, 1 + ranks); 0 where nothing is found.

    `queries` (rows,) ascending and `flags` (rows,) are the lists, best first; `expected` (queries,) counts positives.
    Precision at k looks no further than the last positive (revisitop, compute_map).
    """
    is_junk = (flags & junk) > 0
    starts = np.searchsorted(queries, queries)
    removed = np.concatenate([[0], np.cumsum(is_junk)])
    rows = np.flatnonzero(flags & positive)
    query = queries[rows]
    rank = rows - starts[rows] - (removed[rows] - removed[starts[rows]])  # from 0, among what is no junk
    before = np.arange(len(rows)) - np.searchsorted(query, query)
    previous = np.where(rank > 0, before / np.maximum(rank, 1), 1.0)
    steps = (previous + (before + 1) / (rank + 1)) / 2 / expected[query]
    count = len(expected)
    found = np.bincount(query, minlength=count)
    deepest = np.zeros(count, dtype=np.int64)
    np.maximum.at(deepest, query, rank + 1)
    # Of a list that leaves a positive out, the last positive would stand beyond its end.
    last = np.where(found == expected, deepest, np.iinfo(np.int64).max)
    columns = [np.bincount(query, weights=steps, minlength=count).astype(np.float64)]
    for wanted in RANKS:
        depth = np.minimum(last, wanted)
        columns.append(np.bincount(query, weights=1.0 * (rank < depth[query]), minlength=count) / np.maximum(depth, 1))
    return np.stack(columns, axis=1)


def _flagged_lists(ranking: pl.DataFrame, truth: RevisitedGroundTruth) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the query of every row, int64 ascending, and what its photo is to it: a bit for each of _KINDS."""
    queries = pl.DataFrame({"query_id": truth.query_ids}, schema={"query_id": pl.String}).with_row_index("query")
    photos = pl.DataFrame({"index_id": truth.index_ids}, schema={"index_id": pl.String}).with_row_index("photo")
    joined = ranking.join(queries, on="query_id", how="left").join(photos, on="index_id", how="left")
    if len(unknown := joined.filter(pl.col("query").is_null())):
        raise InputError(f"The ground truth does not know query {min(unknown['query_id'])}; leave it out.")
    if len(joined) and joined["photo"].null_count() == len(joined):
        raise InputError(
            f"The ranking lists {joined['index_id'][0]} and other photos, none of which is in the database "
            f"of the ground truth, such as {truth.index_ids[0]}; name them alike."
        )
    joined = joined.sort("query", "rank")
    # The extra last column answers for photos that are not in the database.
    flags = np.zeros((len(queries), len(photos) + 1), dtype=np.uint8)
    for kind in _KINDS:
        for query, some in enumerate(truth.photos[kind]):
            flags[query, some] |= _bits((kind,))
    query_of = joined["query"].cast(pl.Int64).to_numpy()
    return query_of, flags[query_of, joined["photo"].cast(pl.Int64).fill_null(len(photos)).to_numpy()]


def _bits(kinds: tuple[str, ...]) -> int:
    """Return the flags of kinds of photos."""
    return sum(1 << _KINDS.index(kind) for kind in kinds)


def _names(values: Any) -> list[str]:
    """Return a list of distinct texts; raises TypeError or ValueError for anything else."""
    names = list(values)
    if not names or not all(isinstance(name, str) for name in names):
        raise TypeError("imlist and qimlist must be lists of names")
    if len(set(names)) < len(names):
        raise ValueError("a name is listed twice in imlist or qimlist")
    return names


def _positions(values: Any) -> NDArray[np.int64]:
    """Return whole numbers as int64; raises TypeError or ValueError for anything else."""
    array = values.values() if isinstance(values, PlainArray) else np.asarray(values)
    if array.ndim != 1 or (len(array) and array.dtype.kind not in "iu"):
        raise TypeError("easy, hard and junk must be lists of positions")
    return array.astype(np.int64)
