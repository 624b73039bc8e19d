"""Indexing TARs: every photo at its offset, nothing unpacked, nothing trusted."""

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.photos.reading import read_bytes
from landmark_dag.photos.tar_index import index_tar
from tests.photos.bucket import tar_bytes
from tests.photos.samples import jpeg


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


def test_other_files_folders_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    members = [
        (member("a", tarfile.DIRTYPE), b""),
        (member("a/README.txt"), b"hello"),
        (member("a/._p.jpg"), b"fork"),
        (member("a/p.jpg"), b"photo"),
    ]
    assert [location.image_id for location in index_tar(write(tmp_path, tar_of(members)))] == ["p"]


def test_odd_members_are_passed_over_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
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
    assert "passed over 8 odd members, the first is '/etc/absolute.jpg'" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images_000.tar"]


def test_two_photos_of_one_id_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, tar_bytes({"a/p.jpg": b"1", "b/p.png": b"2"}))
    with pytest.raises(InputError, match=r"images_000\.tar holds two photos of the image id 'p'"):
        index_tar(path)


def test_a_tar_cut_anywhere_is_an_error(tmp_path: Path) -> None:
    whole = tar_bytes({f"{number}.jpg": jpeg(number) for number in range(3)})
    content = max(index_tar(write(tmp_path, whole)), key=lambda location: location.offset)
    used = -(-(content.offset + content.size) // 512) * 512
    for length in [0, 1, 100, 511, 512, 513, 600, content.offset - 512, content.offset, used - 1, used]:
        with pytest.raises(InputError, match=r"images_000\.tar (is not a whole TAR|ends within|holds no photo)"):
            index_tar(write(tmp_path, whole[:length]))


def test_a_damaged_header_in_the_middle_is_an_error_not_an_early_end(tmp_path: Path) -> None:
    whole = bytearray(tar_bytes({f"{number}.jpg": jpeg(number) for number in range(3)}))
    second = index_tar(write(tmp_path, bytes(whole)))[1].offset - 512
    whole[second + 20] ^= 0xFF
    with pytest.raises(InputError, match="not a whole TAR"):
        index_tar(write(tmp_path, bytes(whole)))


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
@pytest.mark.parametrize("type", [b"0", b"L", b"x"])
def test_a_header_that_lies_about_its_size_is_an_error(tmp_path: Path, size: int, type: bytes) -> None:
    with pytest.raises(InputError, match=r"images_000\.tar (is not a whole TAR|ends within)"):
        index_tar(tar_with_liar(tmp_path, size, type))


@pytest.mark.parametrize("size", LIES)
def test_a_sparse_member_that_lies_about_its_size_gives_no_photo_and_no_endless_loop(tmp_path: Path, size: int) -> None:
    try:
        found = index_tar(tar_with_liar(tmp_path, size, b"S"))
    except InputError as error:
        assert "is not a whole TAR" in str(error)
    else:
        assert [location.image_id for location in found] == ["p"]


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
    assert all(0 <= location.offset <= location.offset + location.size <= len(damaged) for location in found)
