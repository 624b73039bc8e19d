"""Approximate nearest neighbours by faiss, for indexes too large for exact search; similarities are still exact."""

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.retrieval.knn.exact import Vectors, rescored

Kind = Literal["hnsw", "ivf", "ivfsq", "ivfpq"]

_HNSW_LINKS = 32
_PHOTOS_A_LIST = 39
"""The fewest photos per list with which faiss trains lists without a warning."""

_NUMBERS_A_CODE = 2
"""How many numbers of a vector ivfpq rounds together, to 4 bits."""

_REFINED = {"ivfsq": 2, "ivfpq": 16}
"""Where the index holds rounded vectors: how many candidates get an exact similarity, as a multiple of k."""


class ApproximateIndex:
    """Index vectors in a graph (hnsw) or in lists (ivf; ivfsq holds them rounded to 8 bits a number, ivfpq to 2).

    hnsw: Malkov and Yashunin, TPAMI 2018; it misses neighbours where photos form dense groups far apart, and the
    recall shows it. ivf: Jegou et al., Product quantization for nearest neighbor search, TPAMI 2011, section 4. Equal
    vectors in equal order give an equal index: one thread builds the graph, and lists are trained from a fixed seed.
    """

    def __init__(self, vectors: Vectors, kind: Kind) -> None:
        """Index `vectors` (n, d), which are kept for exact similarities.

        Raises InputError when there are too few to train the lists, and for an odd number of dimensions with ivfpq.
        """
        import faiss

        self._vectors = vectors
        self._kind = kind
        count, dimensions = vectors.shape
        lists = 1 << max(0, int(np.log2(4 * np.sqrt(max(count, 1)))))
        if kind != "hnsw" and count < _PHOTOS_A_LIST * lists:
            raise InputError(f"{count} index photos are too few for the approximate search {kind}; use exact.")
        if kind == "ivfpq" and dimensions % _NUMBERS_A_CODE:
            raise InputError(f"The approximate search ivfpq rounds pairs of numbers; {dimensions} dimensions are odd.")
        names = {
            "hnsw": f"HNSW{_HNSW_LINKS},Flat",
            "ivf": f"IVF{lists},Flat",
            "ivfsq": f"IVF{lists},SQ8",
            "ivfpq": f"IVF{lists},PQ{dimensions // _NUMBERS_A_CODE}x4fs",
        }
        self._index = faiss.index_factory(dimensions, names[kind], faiss.METRIC_INNER_PRODUCT)
        rows = np.ascontiguousarray(vectors, np.float32)
        with _one_thread():
            self._index.train(rows)
            self._index.add(rows)

    def nearest(self, queries: Vectors, k: int, effort: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Return similarity and position, as `exact.nearest` does, of the k nearest rows that the index finds.

        `effort` is the number of lists searched, or the number of candidates that hnsw keeps.
        """
        import faiss

        wanted = min(len(self._vectors), k * _REFINED.get(self._kind, 1))
        if self._kind == "hnsw":
            parameters: Any = faiss.SearchParametersHNSW(efSearch=max(effort, wanted))  # type: ignore[attr-defined]
        else:
            parameters = faiss.SearchParametersIVF(nprobe=effort)  # type: ignore[call-arg]
        rows = np.ascontiguousarray(queries, np.float32)
        _, found = self._index.search(rows, wanted, params=parameters)
        return rescored(queries, self._vectors, found, min(k, wanted))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Run faiss in one thread: the index that it builds depends on the order of its work."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
