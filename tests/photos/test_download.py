"""Downloads from a real server that drops, stalls, redirects, refuses and sends false sizes."""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFile
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.photos.download import DownloadError, NotOnServer, fetch, fetch_text, md5_of
from landmark_dag.settings.photos import DownloadSettings
from tests.photos.bucket import HURRY, BucketServer, Fault, serving

CONTENT = np.random.default_rng(5).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
NAME = "train/images_000.tar"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BucketServer]:
    root = tmp_path / "bucket"
    (root / NAME).parent.mkdir(parents=True)
    (root / NAME).write_bytes(CONTENT)
    with serving(root) as server:
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / NAME


def get(server: BucketServer, target: Path, md5: str | None = MD5, settings: DownloadSettings = HURRY) -> Path:
    return fetch(f"{server.url}/{NAME}", target, settings, md5)


def left_over(target: Path) -> list[str]:
    """Names beside the target that are not lock files."""
    return sorted(path.name for path in target.parent.iterdir() if not path.name.endswith(".lock"))


def test_a_file_is_fetched_whole_and_leaves_no_part(server: BucketServer, target: Path) -> None:
    assert get(server, target) == target
    assert target.read_bytes() == CONTENT
    assert left_over(target) == [target.name]


def test_a_file_that_is_there_is_not_asked_for(server: BucketServer, target: Path) -> None:
    get(server, target)
    get(server, target)
    assert len(server.asked) == 1


def test_a_dropped_connection_is_resumed_where_it_broke_off(server: BucketServer, target: Path) -> None:
    server.faults[f"/{NAME}"] = [Fault(drop_after=100_000), Fault(drop_after=90_000)]
    get(server, target)
    assert target.read_bytes() == CONTENT
    first, *resumed = server.ranges(NAME)
    assert first is None
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in resumed if asked]
    assert len(starts) == 2
    assert 0 < starts[0] <= 100_000
    assert starts[0] < starts[1] <= 190_000


@given(st.lists(st.integers(0, 299_999), max_size=4))
@settings(max_examples=15, deadline=None)
def test_wherever_the_connection_drops_the_file_is_the_same(drops: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        Path(folder, "f.tar").write_bytes(CONTENT)
        server.faults["/f.tar"] = [Fault(drop_after=drop) for drop in drops]
        patient = DownloadSettings(retries=5, backoff_seconds=0.001, longest_wait_seconds=0.002)
        assert fetch(f"{server.url}/f.tar", Path(folder, "got"), patient, MD5).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [503, 500, 429])
def test_a_busy_server_is_asked_again(server: BucketServer, target: Path, status: int) -> None:
    server.faults[f"/{NAME}"] = [Fault(status=status, headers={"Retry-After": "0"}), Fault(status=status)]
    get(server, target)
    assert target.read_bytes() == CONTENT
    assert len(server.asked) == 3


def test_a_server_that_stays_busy_is_given_up_with_a_clear_sentence(server: BucketServer, target: Path) -> None:
    server.faults[f"/{NAME}"] = [Fault(drop_after=100_000)] + [Fault(status=503)] * 10
    with pytest.raises(DownloadError, match=r"in 4 attempts: the server answered 503 .*; run again to resume at byte"):
        get(server, target)
    assert left_over(target) == [f"{target.name}.part"]
    server.faults.clear()
    get(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges(NAME)[-1] not in (None, "bytes=0-")


def test_an_unreachable_server_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="could not be fetched in 4 attempts"):
        fetch("http://127.0.0.1:9/x.tar", tmp_path / "x.tar", HURRY, MD5)


def test_a_slow_server_is_waited_for(server: BucketServer, target: Path) -> None:
    server.faults[f"/{NAME}"] = [Fault(pause_seconds=0.01)]
    get(server, target)
    assert target.read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_server_that_falls_silent_is_left_and_asked_again(server: BucketServer, target: Path) -> None:
    server.faults[f"/{NAME}"] = [Fault(hold_after=150_000)]
    impatient = DownloadSettings(retries=2, backoff_seconds=0.01, timeout_seconds=0.3)
    get(server, target, settings=impatient)
    assert target.read_bytes() == CONTENT
    assert len(server.asked) == 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_followed(server: BucketServer, target: Path, status: int) -> None:
    (server.root / "moved.tar").write_bytes(CONTENT)
    elsewhere = {"Location": f"{server.url}/moved.tar"}
    server.faults[f"/{NAME}"] = [Fault(status=status, headers=elsewhere)] * 2
    server.faults["/moved.tar"] = [Fault(drop_after=100_000)]
    get(server, target)
    assert target.read_bytes() == CONTENT
    assert len(server.ranges("moved.tar")) == 2


def test_a_redirect_in_circles_is_an_error(server: BucketServer, target: Path) -> None:
    server.faults[f"/{NAME}"] = [Fault(status=302, headers={"Location": f"/{NAME}"})] * 100
    with pytest.raises(DownloadError, match="redirects"):
        get(server, target)


def test_a_server_without_ranges_is_read_from_the_start(server: BucketServer, target: Path) -> None:
    server.faults[f"/{NAME}"] = [Fault(drop_after=200_000), Fault(ignore_range=True)]
    get(server, target)
    assert target.read_bytes() == CONTENT


def test_a_server_that_tells_no_length_is_checked_by_the_sum(server: BucketServer, target: Path) -> None:
    server.faults[f"/{NAME}"] = [Fault(hide_length=True)]
    get(server, target)
    assert target.read_bytes() == CONTENT


def test_a_wrong_sum_names_both_and_the_download_can_then_be_accepted(server: BucketServer, target: Path) -> None:
    expected = "0" * 32
    with pytest.raises(DownloadError, match=f"{NAME} has the md5 sum {MD5}, expected is {expected}"):
        get(server, target, expected)
    assert not target.exists()
    assert left_over(target) == [f"{target.name}.part"]
    get(server, target, MD5)
    assert target.read_bytes() == CONTENT
    assert server.ranges(NAME)[1:] == [f"bytes={len(CONTENT)}-"]


def test_a_part_of_another_version_is_thrown_away(server: BucketServer, target: Path) -> None:
    target.parent.mkdir(parents=True)
    for stale in (b"old" * 1000, b"old" * 200_000, b"x" * len(CONTENT)):
        target.with_name(f"{target.name}.part").write_bytes(stale)
        get(server, target)
        assert target.read_bytes() == CONTENT
        target.unlink()


def test_without_a_sum_a_part_that_was_left_is_not_trusted(server: BucketServer, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.with_name(f"{target.name}.part").write_bytes(b"old" * 1000)
    get(server, target, None)
    assert target.read_bytes() == CONTENT


def test_without_a_sum_a_dropped_connection_is_still_noticed(server: BucketServer, target: Path) -> None:
    server.faults[f"/{NAME}"] = [Fault(drop_after=200_000)]
    get(server, target, None)
    assert target.read_bytes() == CONTENT


def test_a_file_that_is_not_there_and_one_that_is_forbidden(server: BucketServer, target: Path) -> None:
    with pytest.raises(NotOnServer, match=r"nothing\.tar does not exist on the server \(404"):
        fetch(f"{server.url}/nothing.tar", target, HURRY, MD5)
    server.faults[f"/{NAME}"] = [Fault(status=403)]
    with pytest.raises(DownloadError, match="the server answered 403 Forbidden"):
        get(server, target)
    assert len(server.asked) == 2


def test_an_address_that_is_none_is_an_error(tmp_path: Path) -> None:
    for url in ("http://", "http://[bad/x", "nonsense://x/y"):
        with pytest.raises(DownloadError, match="cannot be fetched"):
            fetch(url, tmp_path / "x", HURRY)


def test_too_little_room_is_an_error_before_the_disk_is_full(
    server: BucketServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(DownloadError, match="has 1000 bytes free, the download needs 300000; make room"):
        get(server, target)


def test_a_cache_that_may_not_be_written_is_an_error(server: BucketServer, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(DownloadError, match="cannot be written"):
        get(server, tmp_path / "cache" / "x.tar")


def test_text_is_fetched_again_each_time(server: BucketServer) -> None:
    (server.root / "sum.txt").write_text("one")
    assert fetch_text(f"{server.url}/sum.txt", HURRY) == "one"
    (server.root / "sum.txt").write_text("two")
    assert fetch_text(f"{server.url}/sum.txt", HURRY) == "two"


def test_any_fsspec_root_is_fetched_and_resumed(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/x.tar", CONTENT)
    part = tmp_path / "x.tar.part"
    part.write_bytes(CONTENT[:123_456])
    assert fetch("memory://bucket/x.tar", tmp_path / "x.tar", HURRY, MD5).read_bytes() == CONTENT
    with pytest.raises(NotOnServer, match="does not exist"):
        fetch("memory://bucket/y.tar", tmp_path / "y.tar", HURRY)
    memory.rm("/bucket", recursive=True)


def test_a_root_that_fails_midway_is_asked_again_and_a_full_disk_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/x.tar", CONTENT)
    read, failing = MemoryFile.read, [True, False, True]

    def flaky(file: MemoryFile, size: int = -1) -> bytes:
        if file.tell() > 100_000 and failing and failing.pop():
            raise OSError("connection lost")
        return bytes(read(file, size))

    monkeypatch.setattr(MemoryFile, "read", flaky)
    assert fetch("memory://bucket/x.tar", tmp_path / "x.tar", HURRY, MD5).read_bytes() == CONTENT
    assert not failing
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(DownloadError, match=r"has 1000 bytes free, the download needs 300000; make room and run"):
        fetch("memory://bucket/x.tar", tmp_path / "y.tar", HURRY, MD5)
    memory.rm("/bucket", recursive=True)


def test_the_md5_sum_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(CONTENT)
    assert md5_of(tmp_path / "x") == MD5
