"""Tables of nearest neighbours from embeddings: the kNN graph of queries, and the train photos nearest to a photo."""

import itertools
import json
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.retrieval.knn.approximate import ApproximateIndex
from landmark_dag.retrieval.knn.exact import ExactIndex, Vectors
from landmark_dag.retrieval.reranking.database_augmentation import database_augmentation
from landmark_dag.retrieval.reranking.query_expansion import alpha_query_expansion
from landmark_dag.settings.retrieval import NeighbourSettings, TrainNeighbourSettings
from landmark_dag.storage.embeddings import Embeddings, check_same_model, concatenate
from landmark_dag.storage.ragged_lists import list_of_rows
from landmark_dag.storage.schemas import NEIGHBOURS, TRAIN_NEIGHBOURS


class NeighbourSearch:
    """Index photos prepared once, as the settings say, to be searched with several tables of queries."""

    def __init__(self, index: Embeddings, settings: NeighbourSettings, device: str = "cpu") -> None:
        """Sort the index photos by id; augment them and build an approximate index if the settings ask for it.

        Raises InputError when there are too few index photos for an approximate index.
        """
        index = _by_id(index)
        self._settings = settings
        self._device = device
        vectors = index.vectors
        if settings.expansion in ("index", "both"):
            itself = np.arange(len(vectors), dtype=np.int32)
            similarity, positions = self._exact(vectors).nearest(vectors, settings.expanded_by, itself)
            vectors = database_augmentation(vectors, positions, similarity, settings.alpha).astype(np.float16)
        self._index = Embeddings(index.image_ids, vectors, index.model)
        self._searched = self._exact(vectors)
        approximate = None if settings.search == "exact" else ApproximateIndex(vectors, settings.search)
        self._approximate = approximate

    def __len__(self) -> int:
        """Return the number of index photos."""
        return len(self._index.image_ids)

    def table(self, queries: Embeddings) -> pl.DataFrame:
        """Return every query's nearest index photos (schemas.NEIGHBOURS), by query id, then rank.

        Ties of similarity go by index id ascending. Ids are unique only within a split: an index photo with the
        query's id is another photo and may be its neighbour. With fewer index photos than `settings.neighbours`, a
        list holds all of them. Similarities are those of the vectors searched: with expansion, of the expanded ones.
        Raises InputError for embeddings of another model, and for an empty index.
        """
        check_same_model(queries, self._index)
        queries = _by_id(queries)
        similarity, positions = self._found(self._expanded(queries.vectors))
        found = positions >= 0
        lengths = found.sum(axis=1)
        frame = pl.DataFrame(
            {
                "query_id": pl.Series(queries.image_ids, dtype=pl.String).gather(list_of_rows(lengths)),
                "rank": np.broadcast_to(np.arange(1, positions.shape[1] + 1), positions.shape)[found],
                "index_id": pl.Series(self._index.image_ids, dtype=pl.String).gather(positions[found]),
                "similarity": similarity[found],
            }
        )
        return NEIGHBOURS.conform(frame, "the kNN graph")

    def recall(self, queries: Embeddings) -> float:
        """Return the share, 0 to 1, of the exact neighbours of `queries` that the search finds."""
        vectors = self._expanded(queries.vectors)
        _, exact = self._searched.nearest(vectors, self._settings.neighbours)
        _, found = self._found(vectors)
        hits = [np.isin(wanted, row).sum() for wanted, row in zip(exact, found, strict=True)]
        return float(np.sum(hits) / max(exact.size, 1))

    def _expanded(self, queries: Vectors) -> Vectors:
        """Return `queries`, expanded if the settings ask for it."""
        settings = self._settings
        if settings.expansion not in ("queries", "both"):
            return queries
        similarity, positions = self._searched.nearest(queries, settings.expanded_by)
        count = settings.expanded_by
        expanded = alpha_query_expansion(queries, self._index.vectors, positions, similarity, settings.alpha, count)
        return expanded.astype(np.float16)

    def _found(self, queries: Vectors) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        settings = self._settings
        if self._approximate:
            return self._approximate.nearest(queries, settings.neighbours, settings.effort)
        return self._searched.nearest(queries, settings.neighbours)

    def _exact(self, vectors: Vectors) -> ExactIndex:
        return ExactIndex(vectors, device=self._device, backend=self._settings.backend)


def neighbour_table(
    queries: Embeddings, index: Embeddings, settings: NeighbourSettings, device: str = "cpu"
) -> pl.DataFrame:
    """Return `NeighbourSearch.table` for one table of queries."""
    return NeighbourSearch(index, settings, device).table(queries)


class TrainNeighbourSearch:
    """The train photos of the cleaned dataset, prepared once to be searched with several tables of photos."""

    def __init__(
        self, train: Embeddings, cleaned: pl.DataFrame, settings: TrainNeighbourSettings, device: str = "cpu"
    ) -> None:
        """Sort the photos of `cleaned` (schemas.CLEANED_DATASET) by id and take their vectors from `train`.

        Raises InputError for a cleaned photo without embedding, and for an empty cleaned dataset.
        """
        if cleaned.is_empty():
            raise InputError(
                "No train photo is left to vote: the cleaned dataset is empty; loosen min_inliers or min_verified."
            )
        self._settings = settings
        known = pl.DataFrame({"image_id": train.image_ids}, schema={"image_id": pl.String}).with_row_index("row")
        train_neighbours = (
            cleaned.select("image_id", "landmark_id").join(known, on="image_id", how="left").sort("image_id")
        )
        missing = train_neighbours.filter(pl.col("row").is_null())
        if len(missing):
            raise InputError(
                f"Photo {missing['image_id'][0]} of the cleaned dataset has no embedding; embed all train photos."
            )
        rows = train_neighbours["row"].to_numpy()
        in_place = np.array_equal(rows, np.arange(len(train.image_ids)))
        vectors = train.vectors if in_place else train.vectors[rows]
        self._train = Embeddings([train.image_ids[row] for row in rows], vectors, train.model)
        self._searched = ExactIndex(vectors, device=device)
        self._train_neighbours = train_neighbours.select("image_id", "landmark_id")

    def table(self, photos: Embeddings) -> pl.DataFrame:
        """Return the nearest train photos (schemas.TRAIN_NEIGHBOURS, by image id, then rank) of each of `photos`.

        Ties of similarity go by train id ascending. If there are fewer than `settings.count` train photos, all are
        returned. Raises InputError for embeddings of another model.
        """
        check_same_model(photos, self._train)
        photos = _by_id(photos)
        similarity, positions = self._searched.nearest(photos.vectors, self._settings.count)
        count, length = positions.shape
        frame = pl.DataFrame(
            {
                "image_id": pl.Series(photos.image_ids, dtype=pl.String).gather(np.repeat(np.arange(count), length)),
                "rank": np.tile(np.arange(1, length + 1), count),
                "train_id": self._train_neighbours["image_id"].gather(positions.ravel()),
                "landmark_id": self._train_neighbours["landmark_id"].gather(positions.ravel()),
                "similarity": similarity.ravel(),
            }
        )
        return TRAIN_NEIGHBOURS.conform(frame, "the nearest train photos")


def train_neighbour_table(
    photos: Embeddings, train: Embeddings, cleaned: pl.DataFrame, settings: TrainNeighbourSettings, device: str = "cpu"
) -> pl.DataFrame:
    """Return `TrainNeighbourSearch.table` for one table of photos."""
    return TrainNeighbourSearch(train, cleaned, settings, device).table(photos)


def merged_shards(notes: Mapping[str, str], origin: str, versions: Mapping[str, str]) -> list[str]:
    """Return the index shards whose neighbours a stored graph holds; none when the graph must be recomputed.

    `notes` are the graph's `growth_notes`; `origin` and `versions` are their present values. A graph is recomputed if
    its queries or settings differ, or if one of its index shards changed or was removed.
    """
    merged: dict[str, str] = json.loads(notes.get("merged", "{}"))
    unchanged = all(versions.get(shard) == version for shard, version in merged.items())
    return list(merged) if unchanged and notes.get("origin") == origin else []


def growth_notes(origin: str, versions: Mapping[str, str]) -> dict[str, str]:
    """Return the notes that a stored graph needs to grow: its queries and settings, and its index shards."""
    return {"origin": origin, "merged": json.dumps(dict(versions))}


def grown_graph(former: pl.DataFrame, search: NeighbourSearch, queries: Embeddings, count: int) -> pl.DataFrame:
    """Return the `count` nearest of each query (schemas.NEIGHBOURS) among old and new index photos.

    `former` holds the `count` nearest old photos; `search` holds only new photos. The result equals, row for row, the
    graph of all photos searched together.
    """
    if not len(search):
        return former
    both = pl.concat([former, search.table(queries)])
    both = both.sort(["query_id", "similarity", "index_id"], descending=[False, True, False])
    rank = pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("query_id").alias("rank")
    return NEIGHBOURS.conform(both.with_columns(rank).filter(pl.col("rank") <= count), "the kNN graph")


def _by_id(embeddings: Embeddings) -> Embeddings:
    """Return `embeddings` sorted by image id; the same object if they already are."""
    if all(before < after for before, after in itertools.pairwise(embeddings.image_ids)):
        return embeddings
    return concatenate([embeddings])
