"""A dataset bucket of the published layout, and a real HTTP server on loopback that can misbehave."""

import contextlib
import hashlib
import io
import re
import tarfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from landmark_dag.settings.photos import DownloadSettings, Gldv2Settings
from tests.support.photos import jpeg

SPLITS = {"train": 4, "index": 2, "test": 1}
SIZES = {"train": (800, 700), "index": (200, 150), "test": (200, 150)}
PHOTOS_A_TAR = 6
HURRY = DownloadSettings(
    connections=2, retries=3, backoff_seconds=0.01, longest_wait_seconds=0.05, timeout_seconds=10.0
)


def image_id(split: str, tar: int, photo: int) -> str:
    """A 16-digit hexadecimal id; the first of train reads as a number where nobody takes care."""
    if (split, tar, photo) == ("train", 0, 0):
        return "0000000000001e10"
    return hashlib.md5(f"{split} {tar} {photo}".encode()).hexdigest()[:16]


def tar_bytes(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def write_tar(root: Path, name: str, members: dict[str, bytes]) -> bytes:
    """Write a TAR and its published md5 sum."""
    data = tar_bytes(members)
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    publish_md5(root, name, hashlib.md5(data).hexdigest())
    return data


def publish_md5(root: Path, name: str, md5: str) -> None:
    folder, tar = name.split("/")
    published = root / "md5sum" / folder / f"md5.{tar.removesuffix('.tar')}.txt"
    published.parent.mkdir(parents=True, exist_ok=True)
    published.write_text(f"{md5}  {tar}\n")


def build_bucket(root: Path) -> dict[str, bytes]:
    """Lay out the dataset under `root`; return every photo's bytes by image id."""
    photos: dict[str, bytes] = {}
    for number, (split, tars) in enumerate(SPLITS.items()):
        for tar in range(tars):
            ids = [image_id(split, tar, photo) for photo in range(PHOTOS_A_TAR)]
            contents = [jpeg(1000 * number + 100 * tar + photo, *SIZES[split]) for photo in range(PHOTOS_A_TAR)]
            members = {f"{i[0]}/{i[1]}/{i[2]}/{i}.jpg": data for i, data in zip(ids, contents, strict=True)}
            write_tar(root, f"{split}/images_{tar:03d}.tar", members)
            photos |= dict(zip(ids, contents, strict=True))
    _write_metadata(root)
    return photos


def _write_metadata(root: Path) -> None:
    train = [image_id("train", tar, photo) for tar in range(4) for photo in range(PHOTOS_A_TAR)]
    index = [image_id("index", tar, photo) for tar in range(2) for photo in range(PHOTOS_A_TAR)]
    category = "http://commons.wikimedia.org/wiki/Category:"
    files = {
        "metadata/train.csv": ["id,url,landmark_id"]
        + [f'{name},"https://upload.example/a,b/{name}.jpg",{row % 3 + 7}' for row, name in enumerate(train)],
        "metadata/train_clean.csv": ["landmark_id,images", f"7,{train[0]} {train[3]}", f"9,{train[5]}"],
        "metadata/train_label_to_category.csv": [
            "landmark_id,category",
            f"7,{category}Pont_d%27Avignon",
            f'8,"{category}Tower,_Old"',
        ],
        "metadata/index.csv": ["id", *index],
        "metadata/index_image_to_landmark.csv": ["id,landmark_id"]
        + [f"{name},{row % 2}" for row, name in enumerate(index)],
        "metadata/index_label_to_category.csv": [
            "landmark_id,category",
            f"0,{category}Elsewhere",
            f"1,{category}Pont_d%27Avignon",
        ],
        "ground_truth/retrieval_solution_v2.1.csv": ["id,images,Usage", f"{image_id('test', 0, 0)},{index[0]},Public"],
        "ground_truth/recognition_solution_v2.1.csv": ["id,landmarks,Usage", f"{image_id('test', 0, 0)},7,Public"],
    }
    for name, lines in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")


def bucket_settings(base_url: str, **changes: object) -> Gldv2Settings:
    """Settings that fit the small bucket: 2 train shards of 2 TARs, 2 index shards, 1 query shard."""
    small: dict[str, object] = {
        "train_tars": 4, "index_tars": 2, "query_tars": 1,
        "train_tars_per_shard": 2, "index_tars_per_shard": 1, "query_tars_per_shard": 1,
    }  # fmt: skip
    return Gldv2Settings(base_url=base_url, download=HURRY, **(small | changes))  # type: ignore[arg-type]


@dataclass
class Fault:
    """One way to answer one request wrongly, late, or elsewhere."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    drop_after: int | None = None
    hold_after: int | None = None
    pause_seconds: float = 0.0
    ignore_range: bool = False
    hide_length: bool = False
    instead: bytes | None = None


class BucketServer(ThreadingHTTPServer):
    """Serves the files under `root`; faults are consumed in turn, one a request, by the request's path."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.asked: list[tuple[str, str | None]] = []
        self.holding, self.released = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def ranges(self, name: str) -> list[str | None]:
        """The Range headers of the requests for one file, in order."""
        return [asked for path, asked in self.asked if path == f"/{name}"]

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up: tests make them."""


@contextlib.contextmanager
def serving(root: Path) -> Iterator[BucketServer]:
    server = BucketServer(root)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BucketServer

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        faults = self.server.faults[self.path]
        fault = faults.pop(0) if faults else Fault()
        if fault.status:
            return self._answer(fault.status, b"busy", fault.headers)
        path = self.server.root / self.path.lstrip("/")
        if not path.is_file():
            return self._answer(404, b"no such file", {})
        data = path.read_bytes() if fault.instead is None else fault.instead
        self._send(data, None if fault.ignore_range else asked, fault)

    def _send(self, data: bytes, asked: str | None, fault: Fault) -> None:
        match = re.fullmatch(r"bytes=(\d+)-", asked or "")
        start = int(match[1]) if match else 0
        if match and start >= len(data):
            return self._answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        self.send_response(206 if match else 200)
        if match:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if fault.hide_length:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self._send_body(data[start:], fault)

    def _send_body(self, body: bytes, fault: Fault) -> None:
        for at in range(0, len(body), 8192):
            piece = body[at : at + 8192]
            for limit in (fault.drop_after, fault.hold_after):
                if limit is not None and at + len(piece) > limit:
                    self.wfile.write(piece[: limit - at])
                    self.wfile.flush()
                    if fault.hold_after is not None:
                        self.server.holding.set()
                        self.server.released.wait(60)
                    self.close_connection = True
                    return
            self.wfile.write(piece)
            time.sleep(fault.pause_seconds)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output quiet."""
