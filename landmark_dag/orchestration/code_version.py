"""Which code of the project a machine runs, so that a cluster of two different ones is found out."""

import functools
import os
import socket
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from landmark_dag.errors import InputError
from landmark_dag.storage.hashing import fingerprint

CODE_VARIABLE = "LANDMARK_CODE"
"""Environment variable by which who launches a step on another machine tells the code that it runs itself."""

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("landmark_dag", "assets", "resources")


@functools.cache
def code_version_here() -> str:
    """Return the release and a hash over the Python files of the project as this process can import them."""
    files = [path for package in _PACKAGES for path in sorted((_ROOT / package).rglob("*.py"))]
    contents = (f"{path.relative_to(_ROOT).as_posix()}\0".encode() + path.read_bytes() + b"\0" for path in files)
    code = fingerprint(*contents, size=6)
    try:
        release = version("landmark-dag")
    except PackageNotFoundError:
        release = "not installed"
    return f"{release} ({code})"


def check_same_code_version() -> None:
    """Raise InputError, naming both, when this step runs other code than the run that launched it."""
    launched = os.environ.get(CODE_VARIABLE)
    if launched and launched != code_version_here():
        raise InputError(
            f"The run was launched by code {launched}, and the machine {socket.gethostname()} runs "
            f"{code_version_here()} in {_ROOT}; install the same release on every machine of the cluster, "
            "then run again."
        )
