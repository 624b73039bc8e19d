"""Reading a photo's bytes, and decoding any common format to upright RGB."""

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from landmark_dag.errors import InputError

PHOTO_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"})
"""Endings of file names, in lower case, that count as photos."""

MAX_BYTES: Final = 1 << 29
"""A photo with more bytes is not read."""
MAX_PIXELS: Final = 178_956_970
"""A photo with more pixels (537 MB of RGB; Pillow's own limit) counts as a decompression bomb."""
MIN_SIDE: Final = 16
"""A photo with a shorter side, in pixels, is too small."""

_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
_MAX_SCANNED_PIXELS: Final = 20 * MAX_PIXELS
_LARGE_PIXELS: Final = 1 << 25
_one_large_photo: Final = threading.Lock()
_STRIP_PIXELS: Final = 1 << 22
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXIF_ORIENTATION: Final = 0x0112

# Pillow also warns of photos that it can read: panoramas of half MAX_PIXELS, odd EXIF blocks.
warnings.filterwarnings("ignore", module=r"PIL\.")

# malloc returns the memory of blocks of this size to the system at once; it would keep blocks of up to 32 MiB.
Image.core.set_block_size(1 << 26)


class UnreadablePhoto(InputError):
    """A photo that cannot be used; the message is the reason that the table of unreadable photos shows."""


def read_bytes(path: str | Path, offset: int, size: int) -> bytes:
    """Return `size` bytes of the file `path` from byte `offset` on.

    Raises UnreadablePhoto when the file is missing, may not be read or ends too early, or when `size` exceeds
    MAX_BYTES. Raises InputError when the disk fails.
    """
    if size > MAX_BYTES:
        raise UnreadablePhoto(f"the photo has {size} bytes; at most {MAX_BYTES} are read")
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise UnreadablePhoto("the file is gone") from None
    except (PermissionError, NotADirectoryError) as error:
        raise UnreadablePhoto(f"the file may not be read: {error.strerror}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}; check the disk and run again.") from error
    try:
        data = os.pread(file, size, offset)
        while len(data) < size and (more := os.pread(file, size - len(data), offset + len(data))):
            data += more  # a file system may return less than it was asked for
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the disk and run again.") from error
    finally:
        os.close(file)
    if len(data) < size:
        raise UnreadablePhoto(f"the file ends at byte {offset + len(data)}, the photo should end at {offset + size}")
    return data


def decode_photo(data: bytes, *, smallest_side: int | None = None, long_side: int | None = None) -> np.ndarray:
    """Decode a photo to uint8 RGB of shape (height, width, 3), upright by its EXIF orientation.

    With `long_side`, the photo is shrunk (never enlarged) so that its longer side has at most that many pixels. With
    `smallest_side`, a JPEG may be decoded at a reduced scale, but no side gets shorter than that many pixels.
    Transparent pixels are blended with white. Of several frames the first is decoded. 16-bit grey keeps its upper 8
    bits; other grey of more than 8 bits is stretched from its darkest to its brightest value.

    Raises UnreadablePhoto, with the reason, unless `data` is a whole photo with sides of at least MIN_SIDE pixels and
    at most MAX_PIXELS pixels. A process decodes only one photo of more than 2**25 pixels at a time, in at most 3.5 GB
    of memory (the decoder of a WebP alone takes 12 bytes a pixel).
    """
    with _opened(data) as image:
        _reduce(image, smallest_side, long_side)
        image.load()
        upright = _UPRIGHT.get(_orientation(image))
        rgb = _to_rgb(image)
        if long_side is not None:
            rgb = _shrunk(rgb, long_side)
        if upright is not None:
            rgb = rgb.transpose(upright)
        return np.array(rgb)


def photo_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) in pixels, after EXIF orientation, of a photo that decodes without an error.

    The photo is decoded to its last byte (a JPEG at an eighth of its size). Raises what `decode_photo` raises.
    """
    with _opened(data) as image:
        width, height = image.size
        image.draft(None, (1, 1))
        image.load()
        turned = _orientation(image) in (5, 6, 7, 8)
        _to_rgb(image)
    return (height, width) if turned else (width, height)


def read_photo(
    path: str | Path,
    offset: int,
    size: int,
    *,
    smallest_side: int | None = None,
    long_side: int | None = None,
) -> np.ndarray:
    """Read and decode a photo; see `decode_photo`. Raises UnreadablePhoto, naming the file."""
    try:
        data = read_bytes(path, offset, size)
        return decode_photo(data, smallest_side=smallest_side, long_side=long_side)
    except UnreadablePhoto as error:
        raise UnreadablePhoto(f"{path} cannot be used: {error}") from None


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """Open `data` as an image of a known format and an allowed size; errors in the block become UnreadablePhoto."""
    if not data:
        raise UnreadablePhoto("the file is empty")
    try:
        with contextlib.ExitStack() as resources:
            webp = _webp_pixels(data)  # the decoder of a WebP allocates its memory when it is opened
            if webp > MAX_PIXELS:
                raise UnreadablePhoto(f"decompression bomb: {webp} pixels")
            if webp > _LARGE_PIXELS:
                resources.enter_context(_one_large_photo)
            image = resources.enter_context(Image.open(io.BytesIO(data), formats=_FORMATS))
            _check_extent(image, data)
            if not webp and image.width * image.height > _LARGE_PIXELS:
                resources.enter_context(_one_large_photo)
            yield image
    except UnreadablePhoto:
        raise
    except MemoryError:
        raise UnreadablePhoto("the photo needs more memory than there is") from None
    except Image.UnidentifiedImageError:
        raise UnreadablePhoto(_why_unidentified(data)) from None
    except Image.DecompressionBombError as error:
        raise UnreadablePhoto(f"decompression bomb: {error}") from None
    except Exception as error:  # for hostile bytes Pillow's decoders raise any kind of exception
        reason = " ".join(str(error).split()) or type(error).__name__
        kind = "truncated" if "truncated" in reason.lower() or _ends_early(data) else "broken"
        raise UnreadablePhoto(f"the photo is {kind}: {reason}") from None


def _webp_pixels(data: bytes) -> int:
    """Return the number of pixels in the header of a WebP (RFC 9649); 0 for any other format."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return 0
    kind, header = data[12:16], data[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return (1 + int.from_bytes(header[4:7], "little")) * (1 + int.from_bytes(header[7:10], "little"))
    if kind == b"VP8L":
        sides = int.from_bytes(header[1:5], "little")
        return (1 + (sides & 0x3FFF)) * (1 + (sides >> 14 & 0x3FFF))
    return (int.from_bytes(header[6:8], "little") & 0x3FFF) * (int.from_bytes(header[8:10], "little") & 0x3FFF)


def _check_extent(image: Image.Image, data: bytes) -> None:
    """Raise UnreadablePhoto for an image that is too small, too large, or has too many scans to decode in seconds."""
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise UnreadablePhoto(f"the photo is too small: {width} x {height}, at least {MIN_SIDE} a side are needed")
    scans = data.count(b"\xff\xda") if image.format == "JPEG" else 1
    if width * height > MAX_PIXELS or width * height * scans > _MAX_SCANNED_PIXELS:
        raise UnreadablePhoto(f"decompression bomb: {width} x {height} pixels in {scans} scans")


def _why_unidentified(data: bytes) -> str:
    """Return what bytes that no decoder recognises may be."""
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "not a photo but a web page"
    if start.startswith((b"\xff\xd8", b"\x89png", b"gif8", b"riff", b"ii*\0", b"mm\0*", b"bm")):
        return "the photo is truncated or broken within its header"
    return f"not a photo of a known format ({', '.join(_FORMATS)})"


def _ends_early(data: bytes) -> bool:
    """Return whether a WebP is shorter than its header says; its decoder does not report that."""
    return data.startswith(b"RIFF") and len(data) < 8 + int.from_bytes(data[4:8], "little")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1 where there is none, or where the EXIF block is broken."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # the parser of the block raises any kind of exception
        return 1


def _reduce(image: Image.Image, smallest_side: int | None, long_side: int | None) -> None:
    """Let a JPEG decode at the smallest scale that respects both bounds."""
    shorter, longer = min(image.size), max(image.size)
    shares = [side / of for side, of in ((smallest_side, shorter), (long_side, longer)) if side is not None]
    if shares and max(shares) < 1:
        # The bounded side is a whole number; a fraction of the other side must not prevent the reduction.
        width, height = (max(1, int(side * max(shares) + 1e-6)) for side in image.size)
        image.draft(None, (width, height))


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any colour mode to 8-bit RGB, strip by strip, so that no second copy of a large photo is in memory."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    extent = _extent(image) if image.mode in ("I", "F") else (0.0, 0.0)
    rgb = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        rgb.paste(_strip_to_rgb(strip, extent), (0, top))
    return rgb


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield the image in strips of rows, each with its first row."""
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _strip_to_rgb(strip: Image.Image, extent: tuple[float, float]) -> Image.Image:
    """Convert a strip to RGB; `extent` is the darkest and brightest value of the whole photo, for 32-bit grey."""
    if strip.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(strip) >> 8).astype(np.uint8)).convert("RGB")
    if strip.mode in ("I", "F"):
        return Image.fromarray(_stretched(_finite(strip), *extent)).convert("RGB")
    if strip.has_transparency_data:
        white = Image.new("RGBA", strip.size, "white")
        return Image.alpha_composite(white, strip.convert("RGBA")).convert("RGB")
    return strip.convert("RGB")


def _finite(image: Image.Image) -> np.ndarray:
    """Return grey values as float64; values that are not finite become 0."""
    values = np.asarray(image)
    return np.where(np.isfinite(values), values, 0).astype(np.float64)


def _extent(image: Image.Image) -> tuple[float, float]:
    """Return the smallest and largest grey value."""
    extents = [(values.min(), values.max()) for _, strip in _strips(image) if (values := _finite(strip)).size]
    return float(min(low for low, _ in extents)), float(max(high for _, high in extents))


def _stretched(values: np.ndarray, lowest: float, highest: float) -> np.ndarray:
    """Map grey values of any range linearly to uint8 0..255."""
    return ((values - lowest) * (255 / (highest - lowest or 1))).astype(np.uint8)


def _shrunk(image: Image.Image, long_side: int) -> Image.Image:
    """Shrink `image` so that its longer side has at most `long_side` pixels."""
    share = long_side / max(image.size)
    if share >= 1:
        return image
    return image.resize(
        (max(1, round(image.width * share)), max(1, round(image.height * share))), Image.Resampling.BICUBIC
    )
