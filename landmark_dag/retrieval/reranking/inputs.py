"""What ways to re-rank read of the photos: votes, train neighbours, vectors and the kNN graph of the index."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from landmark_dag.retrieval.reranking.graph import Neighbours
from landmark_dag.retrieval.reranking.positions import positions_of
from landmark_dag.settings.reranking import SoftSettings
from landmark_dag.storage.embeddings import Embeddings, check_same_model
from landmark_dag.storage.ragged_lists import list_of_rows
from landmark_dag.storage.schemas import NEIGHBOURS

Pair = tuple[pl.DataFrame, pl.DataFrame]
"""A table of the queries, and the same of the index photos."""

Positions = NDArray[np.int32]

VotesOf = Callable[[pl.DataFrame, SoftSettings], pl.DataFrame]
"""Makes votes, several rows a photo, of train neighbours."""


@dataclass(frozen=True, eq=False)
class PhotoVectors:
    """The embeddings of queries and index photos, both by id, and searches among them."""

    queries: Embeddings
    index: Embeddings
    device: str = "cpu"
    _graphs: dict[str, Neighbours] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Raise InputError for embeddings of two models."""
        check_same_model(self.queries, self.index)

    @property
    def index_ids(self) -> pl.Series:
        """The ids of the index photos, by position."""
        return pl.Series(self.index.image_ids, dtype=pl.String)

    @property
    def query_ids(self) -> pl.Series:
        """The ids of the queries, by row."""
        return pl.Series(self.queries.image_ids, dtype=pl.String)

    def search(self, vectors: NDArray, count: int) -> Neighbours:
        """Return the `count` nearest index photos of each vector."""
        from landmark_dag.retrieval.knn.exact import nearest  # imports torch, which votes alone do not need

        return Neighbours(*nearest(vectors, self.index.vectors, count, device=self.device))

    def search_around(self, positions: Positions, count: int) -> Neighbours:
        """Return the `count` nearest other index photos of those at `positions`."""
        from landmark_dag.retrieval.knn.exact import nearest

        vectors = self.index.vectors[positions]
        return Neighbours(*nearest(vectors, self.index.vectors, count, exclude=positions, device=self.device))

    def index_graph(self, count: int) -> Neighbours:
        """Return the `count` nearest other index photos of every index photo; the longest graph found is kept."""
        kept = self._graphs.get("index")
        if kept is None or kept.positions.shape[1] < min(count, len(self.index.image_ids) - 1):
            every = np.arange(len(self.index.image_ids), dtype=np.int32)
            kept = self._graphs["index"] = self.search_around(every, count)
        return kept.first(count)

    def neighbours(self, lists: pl.DataFrame) -> Neighbours:
        """Return lists (schemas.NEIGHBOURS, by query id, then rank, of all queries) as arrays, one row a query."""
        lengths = np.zeros(len(self.queries.image_ids), dtype=np.int64)
        runs = lists["query_id"].rle().struct.unnest()
        rows = positions_of(runs["value"], self.query_ids)
        lengths[rows] = runs["len"].to_numpy()
        shape = len(lengths), int(lengths.max(initial=0))
        similarity, positions = np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int32)
        row = rows[list_of_rows(runs["len"].to_numpy())]
        column = lists["rank"].to_numpy() - 1
        positions[row, column] = positions_of(lists["index_id"], self.index_ids)
        similarity[row, column] = lists["similarity"].fill_null(0).to_numpy()
        return Neighbours(similarity, positions)

    def lists(self, positions: Positions, similarity: NDArray[np.float32] | None = None) -> pl.DataFrame:
        """Return lists of positions (q, k), -1 for none, as schemas.NEIGHBOURS; similarity is null if not given."""
        filled = positions >= 0
        rows, columns = np.nonzero(filled)
        return pl.DataFrame(
            {
                "query_id": self.query_ids.gather(rows),
                "rank": (columns + 1).astype(np.int32),
                "index_id": self.index_ids.gather(positions[filled]),
                "similarity": None if similarity is None else similarity[filled],
            },
            schema=NEIGHBOURS.schema,
        )


class RerankingInput:
    """What is known of the photos; a method reads what the table of methods says that it needs."""

    def __init__(
        self,
        *,
        votes: Pair | None = None,
        train_neighbours: Pair | None = None,
        vectors: PhotoVectors | None = None,
        kept: dict[VotesOf, pl.DataFrame] | None = None,
    ) -> None:
        """Take schemas.VOTES and TRAIN_NEIGHBOURS of queries and index photos, and the vectors, where there are any.

        Inputs of other queries with the same index and settings may share `kept`, which `votes_by` fills.
        """
        self._votes, self._train_neighbours, self._vectors = votes, train_neighbours, vectors
        self._kept = {} if kept is None else kept

    @property
    def votes(self) -> Pair:
        """The votes (schemas.VOTES) of queries and of index photos."""
        assert self._votes is not None, "this method needs votes"
        return self._votes

    @property
    def train_neighbours(self) -> Pair:
        """The nearest train photos (schemas.TRAIN_NEIGHBOURS) of queries and of index photos."""
        assert self._train_neighbours is not None, "this method needs train neighbours"
        return self._train_neighbours

    def votes_by(self, votes_of: VotesOf, settings: SoftSettings) -> Pair:
        """Return what `votes_of` makes of the train neighbours of queries and of index photos; keep the latter."""
        queries, index = self.train_neighbours
        if votes_of not in self._kept:
            self._kept[votes_of] = votes_of(index, settings)
        return votes_of(queries, settings), self._kept[votes_of]

    @property
    def vectors(self) -> PhotoVectors:
        """The embeddings of queries and index photos."""
        assert self._vectors is not None, "this method needs vectors"
        return self._vectors
