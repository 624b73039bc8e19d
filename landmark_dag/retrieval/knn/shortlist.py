"""What all backends share: shortlists, lengths, threads, and float16 numbers in compiled code."""

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

    In each row of `positions` int32 (q, c), ascending, only the first `counts` int64 (q,) are valid. No other index
    row has a similarity above `cut` + `error`, both float64 (q,); the cut is -inf where there is no other row.
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
        """The largest possible inner product of each query, float64 (q,)."""
        return self.queries * self.longest


class Workers:
    """As many threads as torch uses; in each of them torch uses one."""

    def __init__(self) -> None:
        """Start no thread yet; `with` starts and ends them."""
        self._threads = torch.get_num_threads()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Workers":
        self._stack.enter_context(torch_threads(1))
        # Each thread has its own setting. Without it OpenMP starts helper threads, and the other threads wait for them.
        pool = ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,))
        self._pool = self._stack.enter_context(pool)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def each(self, count: int, function: Callable[..., None], *arguments: object, parts: int = 1) -> None:
        """Call `function(first, last, *arguments)` on equal parts of range(count), `parts` for each thread."""
        bounds = np.linspace(0, count, parts * self._threads + 1).astype(int).tolist()
        calls = [self._pool.submit(function, *part, *arguments) for part in itertools.pairwise(bounds)]
        for call in calls:
            call.result()


def numbers(vectors: Vectors) -> NDArray[np.uint16] | NDArray[np.float32]:
    """Return `vectors` as `number` reads them: numba has no float16, so these are passed as their bits."""
    return vectors.view(np.uint16) if vectors.dtype == np.float16 else vectors.astype(np.float32, copy=False)


def number(value: np.uint16 | np.float32) -> float:
    """Return the value of a float32, or of a finite float16 given by its bits."""
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
    """Convert the bits of a float16 by shifting them, for processors without an instruction for it."""
    # Shifted to their places in a float32, they are the number times 2^-112, for subnormal numbers too.
    sign = (np.uint32(bits) & np.uint32(0x8000)) << np.uint32(16)
    rest = (np.uint32(bits) & np.uint32(0x7FFF)) << np.uint32(13)
    return np.uint32(sign | rest).view(np.float32) * np.float32(2.0**112)


@intrinsic
def _half(typing: Any, bits: Any) -> Any:
    """Convert the bits of a float16 by the processor's instruction, which converts many at once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate
