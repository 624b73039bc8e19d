"""A shared location on failing storage: no machine ever sees a part of a file, and every file arrives."""

import hashlib
import random
from pathlib import Path

import pytest

from landmark_dag.errors import InputError
from landmark_dag.orchestration.retries import retry_wait
from landmark_dag.storage.shared_location import SharedLocation
from tests.faults.faulty_store import FaultyFileSystem

NAMES = [f"index/photos/{number:04}.parquet" for number in range(4)]


def whole(path: Path) -> bool:
    """Return whether the file is complete: one that `content` made."""
    digest, _, rest = path.read_bytes().partition(b"\n")
    return digest == hashlib.md5(rest).hexdigest().encode()


def content(chance: random.Random) -> bytes:
    rest = chance.randbytes(chance.randrange(200))
    return hashlib.md5(rest).hexdigest().encode() + b"\n" + rest


def sync(machine: SharedLocation, chance: random.Random) -> bool:
    """Return whether the sync succeeded; if not, the error must be one that is worth a retry."""
    try:
        if chance.random() < 0.5:
            machine.sync(NAMES)
        else:
            machine.sync_folder("index/photos")
    except InputError as error:
        assert retry_wait(error, 0)
        return False
    return True


@pytest.mark.parametrize("seed", range(3))
def test_failing_storage_never_shows_a_part_of_a_file_and_loses_nothing(tmp_path: Path, seed: int) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    writer, reader = (SharedLocation(f"faulty://{shared}", tmp_path / name) for name in ("writer", "reader"))
    chance, written = random.Random(seed), dict[str, bytes]()
    FaultyFileSystem.fail(0.15, seed)
    refused = 0
    for _ in range(150):
        while not sync(writer, chance):  # as every step does before it writes
            refused += 1
        name = chance.choice(NAMES)
        written[name] = content(chance)
        (writer.copies / name).parent.mkdir(parents=True, exist_ok=True)
        (writer.copies / name).write_bytes(written[name])
        refused += sum(not sync(machine, chance) for machine in (writer, reader))
        files = [path for folder in (shared, reader.copies) for path in folder.rglob("*.parquet")]
        assert all(map(whole, files))
    assert refused > 30 and FaultyFileSystem.failed > 30
    FaultyFileSystem.fail(0.0, 0)
    assert sync(writer, chance) and sync(reader, chance)
    for name in NAMES:
        assert (shared / name).read_bytes() == (reader.copies / name).read_bytes() == written[name]


def test_a_failed_copy_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    machine = SharedLocation(f"faulty://{tmp_path}/shared", tmp_path / "copies")
    (machine.copies / NAMES[0]).parent.mkdir(parents=True)
    (machine.copies / NAMES[0]).write_text("a long text")
    FaultyFileSystem.fail(0.3, 1)
    for _ in range(30):
        (machine.copies / NAMES[0]).write_text("a long text" * random.randrange(1, 30))
        sync(machine, random.Random(0))
    assert FaultyFileSystem.failed > 5
    FaultyFileSystem.fail(0.0, 0)
    sync(machine, random.Random(0))
    assert [path.name for path in (tmp_path / "shared/index/photos").iterdir()] == ["0000.parquet"]
