"""Reading a pickle that others made, without running what it says: plain values and arrays of numbers alone."""

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from landmark_dag.errors import InputError

MOST_BYTES = 2**28
"""A larger file is not read."""

_NUMBERS = frozenset("?bhilqBHILQefd") | {kind + size for kind in "iuf" for size in "1248"} | {"b1"}


class PlainArray:
    """An array of numbers in a pickle, before `values` are asked for; it takes what numpy's own array would."""

    def __init__(self, *_: object) -> None:
        self._state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Keep (version, shape, dtype, whether columns come first, bytes)."""
        self._state = state

    def values(self) -> np.ndarray:
        """Return the array; raises ValueError for one that is not of numbers, or whose bytes do not fit it."""
        _, shape, dtype, columns_first, data = self._state
        if isinstance(data, str):
            data = data.encode("latin1")
        return np.frombuffer(data, dtype.value()).reshape(shape, order="F" if columns_first else "C")


class PlainDtype:
    """A dtype in a pickle: the code of a kind of number, and its byte order."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in _NUMBERS:
            raise pickle.UnpicklingError(f"it holds an array of {code!r}, not of numbers")
        self._code, self._big = code, False

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Keep the byte order."""
        self._big = state[1] == ">"

    def value(self) -> np.dtype:
        """Return numpy's own."""
        return np.dtype(self._code).newbyteorder(">" if self._big else "<")


def _from_buffer(data: bytes, dtype: PlainDtype, shape: tuple[int, ...], order: str) -> PlainArray:
    """Return the array that protocol 5 writes in another way."""
    array = PlainArray()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


def _scalar(dtype: PlainDtype, data: bytes | str) -> Any:
    """Return a single number of numpy's as Python's own."""
    return np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, dtype.value())[0].item()


def _encoded(text: str, codec: str = "latin1") -> bytes:
    """Return bytes that an older protocol of pickle wrote as text."""
    if codec not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it holds bytes written as {codec!r}")
    return text.encode("latin1")


_ADMITTED = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): PlainArray for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    ("numpy", "ndarray"): PlainArray,
    ("numpy", "dtype"): PlainDtype,
    ("_codecs", "encode"): _encoded,
}


class _PlainUnpickler(pickle.Unpickler):
    """An unpickler that knows no name but those of numpy's arrays, and makes of them the classes above."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the object that an admitted name names; raises UnpicklingError for any other."""
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, and only plain values and arrays are read")
        return _ADMITTED[module, name]

    def persistent_load(self, identifier: Any) -> Any:
        """Refuse values that lie elsewhere."""
        raise pickle.UnpicklingError("it names values that lie in another file")


def read_json_or_pickle(path: Path) -> Any:
    """Return the content of a .json or .pkl file; arrays of a pickle are PlainArray.

    Raises InputError, naming the file, for one that is missing, too large, of another extension, broken, or that
    holds anything but dictionaries, lists, tuples, texts, bytes, numbers and arrays of numbers.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; give the path of a .pkl or .json file.")
    if path.suffix.lower() not in (".pkl", ".pickle", ".json"):
        raise InputError(f"{path} has the extension {path.suffix or '(none)'}; it must be .pkl or .json.")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path} is larger than {MOST_BYTES >> 20} MiB; this is no ground truth.")
    data = path.read_bytes()
    try:
        if path.suffix.lower() == ".json":
            return json.loads(data)
        return _PlainUnpickler(io.BytesIO(data), encoding="latin1").load()
    except Exception as error:  # on hostile bytes the unpickler raises any kind of exception
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} cannot be read: {reason}.") from error
