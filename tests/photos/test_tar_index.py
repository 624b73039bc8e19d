"""Indexing TARs: every photo at its offset, nothing unpacked, nothing trusted."""

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.photos.reading import UnreadablePhoto, read_bytes
from landmark_dag.photos.tar_index import index_tar
from tests.photos.bucket import tar_bytes
from tests.support.photos import jpeg


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "images_000.tar"
    path.write_bytes(data)
    return path


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]], format: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, type: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = type, link
    return info


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_photo_is_found_at_its_offset(tmp_path: Path, format: int) -> None:
    long = "very/" * 15 + "0123456789abcdef.JPG"
    contents = {"a/b/c/abc0.jpg": jpeg(1), long: jpeg(2), "x.png": b"\0" * 700, "empty.jpg": b""}
    path = write(tmp_path, tar_of([(member(name), data) for name, data in contents.items()], format))
    found = index_tar(path)
    assert [location.image_id for location in found] == ["abc0", "0123456789abcdef", "x", "empty"]
    read = [read_bytes(location.path, location.offset, location.size) for location in found]
    assert read == list(contents.values())


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_offsets_agree_with_unpacking(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("tar") / "x.tar"
    path.write_bytes(tar_bytes({f"{number:016x}.jpg": data for number, data in enumerate(contents)}))
    with tarfile.open(path) as tar:
        unpacked = {Path(info.name).stem: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
    assert {where.image_id: read_bytes(path, where.offset, where.size) for where in index_tar(path)} == unpacked


def test_ids_stay_texts(tmp_path: Path) -> None:
    path = write(tmp_path, tar_bytes({"0/0/0/0000000000001e10.jpg": b"x", "1/2/3/0123456789012345.jpg": b"y"}))
    assert [location.image_id for location in index_tar(path)] == ["0000000000001e10", "0123456789012345"]


def test_other_files_folders_and_hidden_files_are_skipped(tmp_path: Path) -> None:
    members = [
        (member("a", tarfile.DIRTYPE), b""),
        (member("a/README.txt"), b"hello"),
        (member("a/._p.jpg"), b"fork"),
        (member("a/p.jpg"), b"photo"),
    ]
    assert [location.image_id for location in index_tar(write(tmp_path, tar_of(members)))] == ["p"]


def test_odd_members_are_skipped_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    members = [
        (member("/etc/absolute.jpg"), b"1"),
        (member("../../upward.jpg"), b"2"),
        (member("a/../../inner.jpg"), b"3"),
        (member("symlink.jpg", tarfile.SYMTYPE, "/etc/passwd"), b""),
        (member("hardlink.jpg", tarfile.LNKTYPE, "good.jpg"), b""),
        (member("device.jpg", tarfile.CHRTYPE), b""),
        (member("block.jpg", tarfile.BLKTYPE), b""),
        (member("pipe.jpg", tarfile.FIFOTYPE), b""),
        (member("good.jpg"), b"good"),
    ]
    assert [location.image_id for location in index_tar(write(tmp_path, tar_of(members)))] == ["good"]
    assert "skipped 8 odd members, the first is '/etc/absolute.jpg'" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images_000.tar"]


def test_of_two_photos_of_one_id_the_first_is_taken_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, tar_bytes({"a/p.jpg": b"first", "b/p.png": b"second", "a/q.jpg": b"q"}))
    found = index_tar(path)
    assert [read_bytes(path, where.offset, where.size) for where in found] == [b"first", b"q"]
    assert "skipped 1 odd members, the first is 'b/p.png'" in caplog.text


def test_names_of_any_length_and_any_bytes_stop_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    long, lines = "n" * 4000, "one\ntwo\r\n=cmd()"
    members = [(member(f"{name}.jpg"), b"x") for name in (long, lines, "b\udcffad")]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    assert [location.image_id for location in index_tar(write(tmp_path, buffer.getvalue()))] == [long, lines]
    assert "skipped 1 odd members" in caplog.text


def good_and_rest(path: Path) -> tuple[list[str], list[str]]:
    """The ids of the whole photos of a TAR, and those of its unreadable rest."""
    found = index_tar(path)
    rest = [location for location in found if " broken from byte " in location.image_id]
    for location in rest:
        with pytest.raises(UnreadablePhoto):
            read_bytes(path, location.offset, location.size)
    return [location.image_id for location in found if location not in rest], [one.image_id for one in rest]


def test_a_tar_cut_anywhere_keeps_its_whole_photos_and_lists_the_rest_as_one_that_is_unreadable(tmp_path: Path) -> None:
    whole = tar_bytes({f"{number}.jpg": jpeg(number) for number in range(3)})
    places = index_tar(write(tmp_path, whole))
    ends = [location.offset + -(-location.size // 512) * 512 for location in places]
    for length in [0, 1, 511, 512, 600, places[0].offset, ends[0] - 512 * 3]:
        with pytest.raises(InputError, match=r"images_000\.tar (is not a whole TAR|ends within|holds no photo)"):
            index_tar(write(tmp_path, whole[:length]))
    for length in [ends[0], ends[0] + 100, places[1].offset, places[1].offset + 1]:
        last = places[0].offset + places[0].size
        expected = (["0"], [f"images_000.tar broken from byte {last}"])
        assert good_and_rest(write(tmp_path, whole[:length])) == expected
    assert good_and_rest(write(tmp_path, whole[: ends[2]]))[0] == ["0", "1", "2"]
    assert good_and_rest(write(tmp_path, whole)) == (["0", "1", "2"], [])


def test_a_damaged_header_in_the_middle_leaves_an_unreadable_rest_not_an_early_end(tmp_path: Path) -> None:
    whole = bytearray(tar_bytes({f"{number}.jpg": jpeg(number) for number in range(3)}))
    first, second = index_tar(write(tmp_path, bytes(whole)))[:2]
    whole[second.offset - 512 + 20] ^= 0xFF
    rest = f"images_000.tar broken from byte {first.offset + first.size}"
    assert good_and_rest(write(tmp_path, bytes(whole))) == (["0"], [rest])


@pytest.mark.parametrize("content", [b"<html>404</html>" * 100, b"\x1f\x8b" + bytes(2000), bytes(10240)])
def test_what_is_no_tar_or_an_empty_one_is_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"images_000\.tar (is not a whole TAR|holds no photo)"):
        index_tar(write(tmp_path, content))


def header(name: str, size: int, type: bytes = b"0") -> bytes:
    """A header block that claims any size, also a negative one."""
    info = tarfile.TarInfo(name)
    info.type = type
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = (b"\xff" if size < 0 else b"\x80") + (size % (1 << 88)).to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def tar_with_liar(tmp_path: Path, size: int, type: bytes) -> Path:
    """One good photo, then a header of any claimed size."""
    good = tar_bytes({"p.jpg": jpeg()})[: 512 + -(-len(jpeg()) // 512) * 512]
    return write(tmp_path, good + header("liar.jpg", size, type) + bytes(10240))


LIES = [-512, -1, -(1 << 40), 1 << 40, (1 << 87) - 1]


@pytest.mark.parametrize("size", LIES)
@pytest.mark.parametrize("type", [b"0", b"L", b"x", b"S"])
def test_a_header_with_a_false_size_keeps_the_photos_before_it_and_ends(tmp_path: Path, size: int, type: bytes) -> None:
    good, rest = good_and_rest(tar_with_liar(tmp_path, size, type))
    assert good == ["p"] and (rest == [f"images_000.tar broken from byte {512 + len(jpeg())}"] or type == b"S")


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_tars_give_an_index_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    damaged = bytearray(tar_of([(member("n" * 120 + f"{number}.jpg"), b"photo") for number in range(3)]))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("tar") / "x.tar"
    path.write_bytes(damaged)
    try:
        found = index_tar(path)
    except InputError as error:
        assert str(path) in str(error)
        return
    whole = [location for location in found if " broken from byte " not in location.image_id]
    assert len(found) - len(whole) <= 1
    assert all(0 <= location.offset <= location.offset + location.size <= len(damaged) for location in whole)
