"""Photos as an attacker would send them: seeded mutations of whole files, bombs and absurd sides.

`python -m tests.faults.hostile_photos FOLDER` makes a manifest of the files in a folder, decodes what it accepts under
a memory limit, and prints the outcome as JSON. It is a process of its own: a decoder that crashes ends only this one,
and its peak memory is that of reading alone.
"""

import json
import random
import resource
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from landmark_dag.photos.manifest import build_manifest
from landmark_dag.photos.reading import decode_photo
from tests.support.photos import encoded, jpeg, located, picture

ADDRESS_SPACE = 6 << 30
"""Bytes of address space that the process may use: twice what the largest accepted photo needs."""

GOOD = 5
"""Whole photos among the hostile ones; each must be accepted."""


def whole_photos() -> list[bytes]:
    """Return one small file of every kind of every format that is mutated."""
    frames = {"save_all": True, "append_images": [picture(1), picture(2)]}
    clear = picture().convert("RGBA")
    clear.putalpha(90)
    return [
        jpeg(),
        encoded(picture(), "JPEG", progressive=True),
        encoded(picture().convert("CMYK"), "JPEG"),
        encoded(picture().convert("L"), "JPEG"),
        encoded(picture(), "PNG"),
        encoded(clear, "PNG"),
        encoded(picture().quantize(8), "PNG", transparency=1),
        encoded(Image.new("I;16", (40, 30), 700), "PNG"),
        encoded(picture(), "WEBP"),
        encoded(clear, "WEBP", lossless=True),
        encoded(picture(), "WEBP", **frames),
        encoded(picture(), "GIF"),
        encoded(picture(), "GIF", **frames),
        encoded(picture(), "TIFF"),
        encoded(clear, "TIFF"),
        *(encoded(picture(), "TIFF", compression=f"tiff_{kind}") for kind in ("lzw", "adobe_deflate")),
        *(encoded(picture(), "TIFF", compression=kind) for kind in ("packbits", "jpeg")),
        encoded(picture().convert("1"), "TIFF", compression="group4"),
        encoded(picture().convert("F"), "TIFF"),
        encoded(picture(), "BMP"),
    ]


def mutated_photos(count: int, seed: int) -> Iterator[bytes]:
    """Yield `count` files, each a whole photo with one to four faults; the same files for the same seed."""
    chance = random.Random(seed)
    seeds = whole_photos()
    for number in range(count):
        data = bytearray(seeds[number % len(seeds)])
        for _ in range(chance.randint(1, 4)):
            chance.choice(_MUTATIONS)(data, chance, seeds)
        yield bytes(data)


def _place(data: bytearray, chance: random.Random) -> int:
    """Return a place in the file, half the time in its first bytes, which hold the sizes."""
    return chance.randrange(max(1, min(len(data), chance.choice([64, len(data)]))))


def _flip(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    if data:
        data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _overwrite(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    """Write an extreme number where a size may be."""
    at, number = _place(data, chance), chance.choice([0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1])
    width = chance.choice("HI")
    field = struct.pack(chance.choice("<>") + width, number % (2**16 if width == "H" else 2**32))
    data[at : at + len(field)] = field


def _cut(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    del data[_place(data, chance) :]


def _remove(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    at = _place(data, chance)
    del data[at : at + chance.randint(1, 64)]


def _repeat(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    at = _place(data, chance)
    data[at:at] = data[at : at + chance.randint(1, 300)] * chance.randint(1, 5)


def _insert(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    at = _place(data, chance)
    data[at:at] = chance.randbytes(chance.randint(1, 40))


def _splice(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    """Continue with a piece of another file."""
    other = chance.choice(seeds)
    data[_place(data, chance) :] = other[chance.randrange(len(other)) :]


_MUTATIONS = (_flip, _flip, _overwrite, _overwrite, _cut, _remove, _repeat, _insert, _splice)


def png(width: int, height: int, colour: int, more: bytes = b"") -> bytes:
    """Return a black PNG of any size, a few bytes a megapixel; `colour` is 0 for grey, 2 for RGB, 6 for RGBA."""
    row = bytes(1 + width * {0: 1, 2: 3, 6: 4}[colour])
    packer = zlib.compressobj(9)
    body = b"".join([packer.compress(row) for _ in range(height)]) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_sides(data: bytes, width: int, height: int) -> bytes:
    """Return the same JPEG, PNG, GIF or TIFF with other sides in its header."""
    changed = bytearray(data)
    if data.startswith(b"\xff\xd8"):
        at = next(data.index(b"\xff" + bytes([kind])) for kind in (0xC0, 0xC2) if b"\xff" + bytes([kind]) in data)
        changed[at + 5 : at + 9] = struct.pack(">HH", height, width)
    elif data.startswith(b"GIF"):
        changed[6:10] = struct.pack("<HH", width, height)
    elif data.startswith(b"\x89PNG"):
        changed[16:24] = struct.pack(">II", width, height)
        changed[29:33] = struct.pack(">I", zlib.crc32(changed[12:29]))
    else:
        for tag, side in ((256, width), (257, height)):
            at = data.index(struct.pack("<H", tag), 8)
            changed[at + 2 : at + 12] = struct.pack("<HII", 4, 1, side)
    return bytes(changed)


def bombs(large: bool) -> dict[str, bytes]:
    """Return small files that would take gigabytes or minutes to decode; with `large`, up to the limits."""
    sides = {"JPEG": jpeg(), "PNG": encoded(picture(), "PNG"), "GIF": encoded(picture(), "GIF")}
    sides["TIFF"] = encoded(picture(), "TIFF")
    text = zlib.compress(bytes(20 << 20), 9)
    slow = encoded(Image.new("L", (4000, 4000)), "JPEG", progressive=True)
    scan = slow[slow.rindex(b"\xff\xda") : -2]
    floats = Image.new("F", (13000, 13700) if large else (6000, 6000))
    side = 16383 if large else 4000
    found = {
        **{f"{kind} of 65,535 a side": with_sides(data, 65535, 65535) for kind, data in sides.items()},
        **{f"{kind} of 65,535 x 64": with_sides(data, 65535, 64) for kind, data in sides.items()},
        "PNG of a gigapixel": with_sides(png(64, 64, 0), 32000, 32000),
        "PNG with 20 MB of text": png(64, 64, 2, chunk(b"zTXt", b"Comment\0\0" + text)),
        "PNG with a colour profile of 20 MB": png(64, 64, 2, chunk(b"iCCP", b"p\0\0" + text)),
        "JPEG of 10,000 scans": slow[:-2] + 10_000 * scan + slow[-2:],
        **{f"TIFF of floats {number}": encoded(floats, "TIFF", compression="tiff_lzw") for number in range(4)},
        "WebP of 34 bytes": encoded(
            Image.new("RGB", (side, side * 2 // 3)), "WEBP", lossless=True, quality=0, method=0
        ),
    }
    return found | ({"PNG of RGBA": png(13000, 13700, 6)} if large else {})


def write_hostile(folder: Path, count: int, seed: int, large: bool = False) -> int:
    """Write whole photos, `count` mutated ones and bombs to `folder`; return how many files these are."""
    files = {f"good{number}": jpeg(number) for number in range(GOOD)}
    files |= {f"mutated{number:06d}": data for number, data in enumerate(mutated_photos(count, seed))}
    files |= bombs(large)
    for name, data in files.items():
        (folder / f"{name}.jpg").write_bytes(data)
    return len(files)


def tried(folder: Path) -> dict[str, Any]:
    """Try the files in `folder` in a process of its own; return what it prints."""
    command = [sys.executable, "-m", "tests.faults.hostile_photos", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def _peak() -> int:
    """Return this program's peak resident memory in bytes; that of rusage includes its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) << 10


def try_photos(folder: Path) -> dict[str, Any]:
    """Make a manifest of the files in `folder`, decode what it accepts, and return the outcome.

    Peak memory is in bytes, the slowest photo's time in seconds of CPU.
    """
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    before = sorted(folder.iterdir())
    locations = [located(path) for path in before]
    readable, unreadable = build_manifest(locations)
    slowest = 0.0
    for path in readable["path"]:
        started = time.process_time()
        decode_photo(Path(path).read_bytes(), smallest_side=128, long_side=320)
        slowest = max(slowest, time.process_time() - started)
    return {
        "tried": len(locations),
        "accepted": readable.height,
        "refused": unreadable.height,
        "good accepted": sum(image_id.startswith("good") for image_id in readable["image_id"]),
        "without a reason": unreadable.filter(unreadable["reason"].str.len_chars() == 0).height,
        "files written": sorted(folder.iterdir()) != before,
        "seconds of the slowest": round(slowest, 1),
        "peak": _peak(),
    }


if __name__ == "__main__":
    print(json.dumps(try_photos(Path(sys.argv[1]))))
