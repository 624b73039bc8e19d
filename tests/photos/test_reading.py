"""Reading: any file gives upright RGB or one reason why not."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from landmark_dag.errors import InputError
from landmark_dag.photos import reading
from landmark_dag.photos.reading import UnreadablePhoto, decode_photo, photo_size, read_bytes, read_photo
from tests.support.photos import encoded, jpeg, picture

RGB = np.asarray(picture())


def close(decoded: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    """Tell whether two pictures of one shape differ by less than `tolerance` grey values on average."""
    assert decoded.shape == expected.shape
    assert decoded.dtype == np.uint8
    return float(np.abs(decoded.astype(float) - expected).mean()) < tolerance


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
def test_lossless_files_decode_to_the_pixels_they_were_written_from(format: str) -> None:
    np.testing.assert_array_equal(decode_photo(encoded(picture(), format)), RGB)


def test_jpeg_and_progressive_jpeg_and_webp_come_out_nearly_so() -> None:
    assert close(decode_photo(encoded(picture(), "JPEG", quality=95)), RGB, 6)
    assert close(decode_photo(encoded(picture(), "JPEG", quality=95, progressive=True)), RGB, 6)
    assert close(decode_photo(encoded(picture(), "WEBP", quality=95)), RGB, 6)


def test_cmyk_is_converted() -> None:
    for format in ("JPEG", "TIFF"):
        assert close(decode_photo(encoded(picture().convert("CMYK"), format)), RGB, 6)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP", "GIF"])
def test_greyscale_gets_three_equal_channels(format: str) -> None:
    grey = picture().convert("L")
    decoded = decode_photo(encoded(grey, format))
    assert (decoded == decoded[:, :, :1]).all()
    assert close(decoded[:, :, 0], np.asarray(grey), 3)


def test_black_and_white_is_converted() -> None:
    decoded = decode_photo(encoded(picture().convert("1"), "PNG"))
    assert set(np.unique(decoded)) == {0, 255}


def test_palette_colours_are_looked_up() -> None:
    palette = picture().quantize(32)
    for format in ("PNG", "GIF"):
        np.testing.assert_array_equal(decode_photo(encoded(palette, format)), np.asarray(palette.convert("RGB")))


def test_transparent_palette_entries_become_white() -> None:
    palette = picture().quantize(8)
    decoded = decode_photo(encoded(palette, "PNG", transparency=3))
    clear = np.asarray(palette) == 3
    assert clear.any()
    assert (decoded[clear] == 255).all()
    np.testing.assert_array_equal(decoded[~clear], np.asarray(palette.convert("RGB"))[~clear])


def test_transparency_is_laid_over_white() -> None:
    half = picture().convert("RGBA")
    half.putalpha(128)
    expected = RGB * (128 / 255) + 255 * (127 / 255)
    assert close(decode_photo(encoded(half, "PNG")), expected, 1)
    grey = picture().convert("LA")
    grey.putalpha(0)
    assert (decode_photo(encoded(grey, "PNG")) == 255).all()


def test_a_colour_declared_transparent_becomes_white() -> None:
    image = Image.new("RGB", (20, 20), (10, 20, 30))
    image.paste((200, 0, 0), (0, 0, 10, 20))
    decoded = decode_photo(encoded(image, "PNG", transparency=(10, 20, 30)))
    assert (decoded[:, 10:] == 255).all()
    assert (decoded[:, :10] == (200, 0, 0)).all()


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_upper_eight_bits(format: str) -> None:
    values = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    decoded = decode_photo(encoded(Image.fromarray(values), format))
    np.testing.assert_array_equal(decoded[:, :, 0], values >> 8)


def test_sixteen_bit_colour_keeps_its_upper_eight_bits() -> None:
    wide = (RGB.astype(">u2") * 257).tobytes()
    rows = b"".join(b"\0" + wide[row * 384 : (row + 1) * 384] for row in range(48))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 64, 48, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(decode_photo(png), RGB)


def test_grey_of_floating_point_is_stretched_to_the_whole_range() -> None:
    values = np.linspace(-3, 5, 64 * 48).reshape(48, 64).astype(np.float32)
    values[0, 0] = np.nan
    decoded = decode_photo(encoded(Image.fromarray(values), "TIFF"))
    assert decoded.min() == 0
    assert decoded.max() == 255
    assert (np.diff(decoded[1:, :, 0].ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(format: str) -> None:
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue", "green")]
    options = {"lossless": True} if format == "WEBP" else {}
    decoded = decode_photo(encoded(frames[0], format, save_all=True, append_images=frames[1:], **options))
    assert (decoded == (255, 0, 0)).all()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_photo_is_upright_by_its_exif_orientation(orientation: int, format: str) -> None:
    upright = picture(1, 80, 32)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, format, exif=exif)
    assert photo_size(data) == (80, 32)
    assert close(decode_photo(data), np.asarray(upright), 8)
    assert decode_photo(data, long_side=40).shape == (16, 40, 3)


def test_a_broken_exif_block_does_not_spoil_a_photo() -> None:
    data = encoded(picture(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff junk")
    assert photo_size(data) == (64, 48)
    assert decode_photo(data).shape == (48, 64, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_the_long_side_is_shrunk_but_never_enlarged(format: str) -> None:
    data = encoded(picture(2, 640, 400), format)
    assert decode_photo(data, long_side=320).shape == (200, 320, 3)
    assert decode_photo(data, long_side=100).shape == (62, 100, 3)
    assert decode_photo(data, long_side=1000).shape == (400, 640, 3)


def test_a_photo_shrunk_while_decoding_looks_like_one_shrunk_after() -> None:
    data = encoded(picture(2, 640, 400), "JPEG", quality=95)
    after = np.asarray(Image.open(io.BytesIO(data)).resize((160, 100), Image.Resampling.BICUBIC))
    assert close(decode_photo(data, long_side=160), after, 3)


@given(st.integers(16, 900), st.integers(16, 900), st.integers(1, 1200))
@example(264, 265, 132)
@settings(max_examples=40, deadline=None)
def test_a_reduced_decode_never_falls_under_the_smallest_side(width: int, height: int, smallest: int) -> None:
    data = encoded(Image.new("RGB", (width, height), "teal"), "JPEG")
    rows, columns, _ = decode_photo(data, smallest_side=smallest).shape
    assert min(rows, columns) >= min(smallest, width, height)
    if min(width, height) >= 2 * smallest:
        assert rows < height
        assert columns < width


def test_the_array_is_contiguous_and_may_be_written_to() -> None:
    decoded = decode_photo(jpeg())
    assert decoded.flags.c_contiguous
    assert decoded.flags.writeable


BROKEN = {
    "empty": (b"", "the file is empty"),
    "text": (b"This is a shopping list.\n" * 40, "not a photo of a known format"),
    "web page": (b"\n <!DOCTYPE html><html><body>404</body></html>", "not a photo but a web page"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\nshowpage\n", "not a photo of a known"),
    "svg": (b'<?xml version="1.0"?><svg width="99" height="99"/>', "not a photo but a web page"),
    "truncated jpeg": (jpeg()[: len(jpeg()) // 2], "truncated"),
    "truncated progressive": (encoded(picture(), "JPEG", progressive=True)[:-600], "truncated"),
    "truncated png": (encoded(picture(), "PNG")[:-2000], "truncated"),
    "truncated gif": (encoded(picture(), "GIF")[:-1500], "truncated"),
    "truncated webp": (encoded(picture(), "WEBP")[:-300], "the photo is truncated"),
    "truncated bmp": (encoded(picture(), "BMP")[:-300], "truncated"),
    "truncated tiff": (encoded(picture(), "TIFF")[:2000], "the photo is truncated"),
    "jpeg header only": (jpeg()[:20], "truncated or broken within its header"),
    "one pixel": (encoded(picture(0, 1, 1), "PNG"), "too small: 1 x 1"),
    "thin": (encoded(picture(0, 400, 15), "JPEG"), "too small: 400 x 15"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_usable_photo_gets_a_reason(kind: str) -> None:
    data, reason = BROKEN[kind]
    for read in (decode_photo, photo_size):
        with pytest.raises(UnreadablePhoto, match=reason):
            read(data)


def test_a_photo_of_sixteen_pixels_a_side_is_large_enough() -> None:
    assert decode_photo(encoded(picture(0, 16, 16), "PNG")).shape == (16, 16, 3)


def bomb_png(width: int, height: int) -> bytes:
    """A PNG whose header claims any size."""
    data = bytearray(encoded(Image.new("L", (32, 32)), "PNG"))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    for read in (decode_photo, photo_size):
        with pytest.raises(UnreadablePhoto, match="decompression bomb"):
            read(bomb_png(60_000, 60_000))


def test_the_limit_holds_even_where_pillows_own_limit_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(UnreadablePhoto, match="decompression bomb: 60000 x 60000"):
        photo_size(bomb_png(60_000, 60_000))


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded() -> None:
    data = encoded(Image.new("L", (4000, 4000)), "JPEG", progressive=True)
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    assert photo_size(data) == (4000, 4000)
    with pytest.raises(UnreadablePhoto, match="decompression bomb: 4000 x 4000 pixels in"):
        photo_size(data[:-2] + 100_000 * last_scan + data[-2:])


SEEDS = [
    jpeg(),
    encoded(picture(), "JPEG", progressive=True),
    encoded(picture().convert("CMYK"), "JPEG"),
    encoded(picture(), "PNG"),
    encoded(picture().quantize(8), "PNG", transparency=1),
    encoded(picture(), "GIF"),
    encoded(picture(), "WEBP"),
    encoded(picture(), "TIFF", compression="tiff_lzw"),
    encoded(picture(), "TIFF", compression="tiff_adobe_deflate"),
    encoded(picture(), "BMP"),
]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_bytes_give_a_picture_or_a_reason_and_nothing_else(data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, min(len(damaged) - 1, data.draw(st.sampled_from([64, 1 << 20])))))
        damaged[at] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(len(damaged) // 2, len(damaged))) :]
    try:
        width, height = photo_size(bytes(damaged))
    except UnreadablePhoto as error:
        assert str(error)
        return
    assert decode_photo(bytes(damaged)).shape == (height, width, 3)


def test_bytes_are_read_at_their_offset(tmp_path: Path) -> None:
    path = tmp_path / "many"
    path.write_bytes(b"before" + jpeg() + b"after")
    assert read_bytes(path, 6, len(jpeg())) == jpeg()
    np.testing.assert_array_equal(read_photo(path, 6, len(jpeg())), decode_photo(jpeg()))


def test_a_file_system_that_gives_less_than_asked_for_is_asked_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo"
    path.write_bytes(b"before" + jpeg())
    whole = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, offset: whole(file, min(size, 100), offset))
    assert read_bytes(path, 6, len(jpeg())) == jpeg()
    with pytest.raises(UnreadablePhoto, match="the file ends at byte"):
        read_bytes(path, 6, len(jpeg()) + 1)


def test_a_file_that_is_gone_ends_early_or_is_a_folder_gets_a_reason(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePhoto, match="the file is gone"):
        read_bytes(tmp_path / "gone.jpg", 0, 10)
    short = tmp_path / "short"
    short.write_bytes(b"12345")
    with pytest.raises(UnreadablePhoto, match="the file ends at byte 5, the photo should end at 12"):
        read_bytes(short, 2, 10)
    with pytest.raises(UnreadablePhoto, match="the file may not be read"):
        read_bytes(short / "below", 0, 10)
    with pytest.raises(InputError, match="cannot be read"):
        read_bytes(tmp_path, 0, 10)


def test_a_photo_of_absurd_size_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(reading.MAX_BYTES + 1)
    with pytest.raises(UnreadablePhoto, match="at most"):
        read_bytes(path, 0, reading.MAX_BYTES + 1)


def test_a_photo_read_from_a_file_names_the_file_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "list.jpg"
    path.write_bytes(b"milk, bread")
    with pytest.raises(UnreadablePhoto, match=r"list\.jpg cannot be used: not a photo"):
        read_photo(path, 0, 11)
