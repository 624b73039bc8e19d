"""A shared location: what one machine writes another reads, whole or not at all, in a folder and in a bucket."""

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from landmark_dag.errors import InputError
from landmark_dag.storage.shared_location import SharedLocation
from tests.support.s3_server import BUCKET, KEY, SECRET, ask_for_credentials, forget_connections, s3_server


@pytest.fixture(params=["file", "s3", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "s3":
        with s3_server(monkeypatch):
            yield f"s3://{BUCKET}/some/prefix"
    elif request.param == "file":
        (tmp_path / "shared folder").mkdir()
        yield f"file://{tmp_path}/shared folder"
    else:
        yield f"memory://{tmp_path}"


@pytest.fixture
def machines(url: str, tmp_path: Path) -> tuple[SharedLocation, SharedLocation]:
    return SharedLocation(url, tmp_path / "one"), SharedLocation(url, tmp_path / "other")


def write(machine: SharedLocation, name: str, text: str) -> None:
    path = machine.copies / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    machine.sync([name])


def test_what_one_machine_writes_the_other_reads(machines: tuple[SharedLocation, SharedLocation]) -> None:
    one, other = machines
    write(one, "index/photos/0000.parquet", "a")
    write(one, "settings.json", "b")
    other.sync(["settings.json", "index/photos/0000.parquet", "index/photos/0001.parquet"])
    assert (other.copies / "index/photos/0000.parquet").read_text() == "a"
    assert (other.copies / "settings.json").read_text() == "b"
    assert not (other.copies / "index/photos/0001.parquet").exists()


def test_a_whole_folder_is_brought_and_shared(machines: tuple[SharedLocation, SharedLocation]) -> None:
    one, other = machines
    for name in ("weights.safetensors", "model.json", ".lock"):
        (one.copies / "models/m").mkdir(parents=True, exist_ok=True)
        (one.copies / "models/m" / name).write_text(name)
    one.sync_folder("models/m")
    other.sync_folder("models/m")
    assert sorted(path.name for path in (other.copies / "models/m").iterdir()) == ["model.json", "weights.safetensors"]


def test_what_the_other_machine_wrote_anew_is_brought_anew(machines: tuple[SharedLocation, SharedLocation]) -> None:
    one, other = machines
    write(one, "a/x", "old")
    other.sync(["a/x"])
    write(one, "a/x", "newer")
    other.sync(["a/x"])
    assert (other.copies / "a/x").read_text() == "newer"
    write(other, "a/x", "newest")
    one.sync(["a/x"])
    assert (one.copies / "a/x").read_text() == "newest"


def test_where_both_wrote_the_shared_file_stands(machines: tuple[SharedLocation, SharedLocation]) -> None:
    one, other = machines
    write(one, "a/x", "first")
    other.sync(["a/x"])
    (other.copies / "a/x").write_text("never shared")
    write(one, "a/x", "second")
    other.sync(["a/x"])
    assert (other.copies / "a/x").read_text() == "second"


def test_an_unchanged_file_is_not_copied_again(machines: tuple[SharedLocation, SharedLocation]) -> None:
    one, other = machines
    write(one, "a/x", "same")
    other.sync(["a/x"])
    before = [(machine.copies / "a/x").stat().st_ino for machine in machines]
    one.sync(["a/x"])
    other.sync(["a/x"])
    assert [(machine.copies / "a/x").stat().st_ino for machine in machines] == before


def test_a_lost_copy_is_brought_again(machines: tuple[SharedLocation, SharedLocation]) -> None:
    one, _ = machines
    write(one, "a/x", "kept")
    (one.copies / "a/x").unlink()
    one.sync(["a/x"])
    assert (one.copies / "a/x").read_text() == "kept"


def test_what_was_removed_from_the_location_has_no_copy_any_more(
    machines: tuple[SharedLocation, SharedLocation], url: str
) -> None:
    import fsspec

    one, other = machines
    write(one, "a/x", "gone soon")
    other.sync(["a/x"])
    files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    files.rm(f"{root}/a/x")
    other.sync(["a/x"])
    assert not (other.copies / "a/x").exists()


@pytest.mark.parametrize("url", ["file", "s3"], indirect=True)
def test_a_reader_sees_a_whole_file_while_another_machine_writes_it(
    machines: tuple[SharedLocation, SharedLocation],
) -> None:
    one, other = machines
    contents = [os.urandom(3_000_000), os.urandom(2_000_000)]
    digests = {hashlib.sha256(content).hexdigest() for content in contents}
    copy = one.copies / "a/x"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(contents[0])
    one.sync(["a/x"])

    def write_on() -> None:
        for turn in range(12):
            copy.write_bytes(contents[turn % 2])
            one.sync(["a/x"])

    writer = threading.Thread(target=write_on)
    writer.start()
    seen, turns = set(), 0
    while writer.is_alive() or not turns:
        other.sync(["a/x"])
        seen.add(hashlib.sha256((other.copies / "a/x").read_bytes()).hexdigest())
        turns += 1
    writer.join()
    assert seen <= digests
    assert [path.name for path in (other.copies / "a").iterdir()] == ["x"]


def test_a_missing_bucket_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(monkeypatch):
        machine = SharedLocation("s3://no-such-bucket/x", tmp_path)
        with pytest.raises(InputError, match="There is no bucket or folder no-such-bucket"):
            write(machine, "a", "1")
        with pytest.raises(InputError, match="There is no bucket or folder no-such-bucket"):
            machine.check()


def test_wrong_credentials_are_told_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(monkeypatch) as address:
        machine = SharedLocation(f"s3://{BUCKET}/x", tmp_path)
        ask_for_credentials(address, True)
        with pytest.raises(InputError, match="refuses this machine's credentials") as refused:
            write(machine, "a", "1")
        assert KEY not in str(refused.value) and SECRET not in str(refused.value)
        assert refused.value.__suppress_context__
        ask_for_credentials(address, False)
        machine.sync(["a"])
        SharedLocation(machine.url, tmp_path / "other").sync(["a"])
        assert (tmp_path / "other/a").read_text() == "1"


def test_no_credentials_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(monkeypatch):
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(InputError, match=r"refuses this machine's credentials \(NoCredentialsError\)"):
            SharedLocation(f"s3://{BUCKET}/x", tmp_path / "one").sync(["a"])


def test_an_unreachable_address_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(monkeypatch):
        pass
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    forget_connections()
    with pytest.raises(InputError, match="cannot be reached"):
        SharedLocation(f"s3://{BUCKET}/x", tmp_path).sync(["a"])


def test_a_folder_that_is_not_mounted_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"This machine has no folder .*/unmounted"):
        write(SharedLocation(f"file://{tmp_path}/unmounted", tmp_path / "one"), "a", "1")
    assert not (tmp_path / "unmounted").exists()


@pytest.mark.parametrize("wrong", ["s3://key:secret@bucket/x", "sftp://me:secret@host/x"])
def test_a_url_with_credentials_is_refused_without_showing_them(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(InputError, match="carries a user, a password or a query") as refused:
        SharedLocation(wrong, tmp_path).sync(["a"])
    assert "secret" not in str(refused.value)


def test_an_unknown_kind_of_url_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nosuch://x cannot be opened: Protocol not known"):
        SharedLocation("nosuch://x", tmp_path).sync(["a"])
