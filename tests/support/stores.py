"""What the files of a store hold, so that a test can compare two stores, or one before and after."""

import hashlib
import json
from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file under `folder`, by its name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def modification_times(folder: Path) -> dict[str, int]:
    """Return when every file under `folder` was written, in nanoseconds, by its name."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def digests(store: Path) -> dict[str, str]:
    """Return a digest of every file of results under `store`, by its name, without the times in a training's history.

    Left out are files that are no results: locks, the state of an unfinished training, temporary files, and the
    settings and the shards' memory, which a shared location holds too.
    """
    found = {}
    for path in sorted(store.rglob("*")):
        name = path.relative_to(store)
        unfinished = path.suffix in (".tmp", ".checkpoint") or path.parent.suffix == ".job"
        no_result = name.parts[0] in ("settings.toml", "shards", ".shared")
        if not path.is_file() or path.name.startswith(".") or unfinished or no_result:
            continue
        data = path.read_bytes()
        if path.name == "history.json":
            rows = [{name: value for name, value in row.items() if name != "waiting"} for row in json.loads(data)]
            data = json.dumps(rows).encode()
        found[str(name)] = hashlib.blake2b(data, digest_size=8).hexdigest()
    return found


def temporaries(store: Path) -> list[str]:
    """Return the temporary files and folders under `store`, by name."""
    return sorted(str(path.relative_to(store)) for path in store.rglob("*.tmp"))
