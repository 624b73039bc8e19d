"""Which code of the project a machine runs, so that a cluster of two different versions is noticed."""

import functools
import hashlib
import os
import socket
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from landmark_dag.errors import InputError

CODE_VARIABLE = "LANDMARK_CODE"
"""Environment variable: set by the launcher of remote steps to its code version; the steps compare it with theirs."""

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("landmark_dag", "assets", "resources")


@functools.cache
def installed_code_version() -> str:
    """Return the release, and a hash over the project's Python files where this process imports them from."""
    digest = hashlib.blake2b(digest_size=6)
    for package in _PACKAGES:
        for path in sorted((_ROOT / package).rglob("*.py")):
            digest.update(f"{path.relative_to(_ROOT).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    try:
        release = version("landmark-dag")
    except PackageNotFoundError:
        release = "not installed"
    return f"{release} ({digest.hexdigest()})"


def check_same_code_version() -> None:
    """Raise InputError, naming both versions, if this step runs other code than the run that launched it."""
    launched = os.environ.get(CODE_VARIABLE)
    if launched and launched != installed_code_version():
        raise InputError(
            f"The run was launched by code {launched}, and the machine {socket.gethostname()} runs "
            f"{installed_code_version()} in {_ROOT}; install the same release on every machine of the cluster, "
            "then run again."
        )
