"""What the ways of searching share: the shortlist each makes, and rows of float16 for compiled code."""

import contextlib
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from llvmlite import binding, ir
from numba import njit, types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from landmark_dag.photos.loading import torch_threads

Vectors = NDArray[np.float16] | NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Shortlist:
    """Index rows that may be among each query's nearest, and a bound on all others.

    Of `positions` int32 (q, c) the first `counts` int64 (q,) of each row count, ascending. No other index row has
    a similarity above `cut` + `error`, both float64 (q,); the cut is -inf where there is no other row.
    """

    positions: NDArray[np.int32]
    counts: NDArray[np.int64]
    cut: NDArray[np.float64]
    error: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Lengths:
    """The length of each query, float64 (q,), and that of the longest index vector."""

    queries: NDArray[np.float64]
    longest: float

    @property
    def products(self) -> NDArray[np.float64]:
        """Return the most that an inner product of each query may be."""
        return self.queries * self.longest


class Workers:
    """As many threads as torch uses; within each of them torch uses one."""

    def __init__(self) -> None:
        """Begin without threads; `with` starts and ends them."""
        self._threads = torch.get_num_threads()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Workers":
        self._stack.enter_context(torch_threads(1))
        # Without this, OpenMP starts helpers for each thread, and the others wait for them.
        pool = ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,))
        self._pool = self._stack.enter_context(pool)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def each(self, count: int, function: Callable[..., None], *arguments: object, parts: int = 1) -> None:
        """Call `function(first, last, *arguments)` on even parts of range(count), `parts` for each thread."""
        bounds = np.linspace(0, count, parts * self._threads + 1).astype(int).tolist()
        calls = [self._pool.submit(function, *part, *arguments) for part in itertools.pairwise(bounds)]
        for call in calls:
            call.result()


def numbers(vectors: Vectors) -> NDArray[np.uint16] | NDArray[np.float32]:
    """Return `vectors` as `number` takes them: Numba knows float32, but float16 only by its bits."""
    return vectors.view(np.uint16) if vectors.dtype == np.float16 else vectors.astype(np.float32, copy=False)


def number(value: np.uint16 | np.float32) -> float:
    """Return the number that the bits of a finite float16, or a float32, represent."""
    return float(value.view(np.float16) if isinstance(value, np.uint16) else value)


@overload(number)
def _compile_number(value):  # type: ignore[no-untyped-def]
    if not isinstance(value, types.Integer):
        return lambda value: value
    if binding.get_host_cpu_features().get("f16c"):
        return lambda value: _half(value)  # type: ignore[call-arg]
    return lambda value: number_of_bits(value)


@njit(cache=True)
def number_of_bits(bits):  # type: ignore[no-untyped-def]
    """Convert the bits of a float16 by moving them, for processors without an instruction for it."""
    # In a float32's places they are the number times 2^-112, subnormal ones included.
    sign = (np.uint32(bits) & np.uint32(0x8000)) << np.uint32(16)
    rest = (np.uint32(bits) & np.uint32(0x7FFF)) << np.uint32(13)
    return np.uint32(sign | rest).view(np.float32) * np.float32(2.0**112)


@intrinsic
def _half(typing: Any, bits: Any) -> Any:
    """Convert the bits of a float16 by the processor's own instruction, many at once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate
