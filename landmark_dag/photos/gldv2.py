"""The Google Landmarks Dataset v2 (version 2.1) as photo source: TARs fetched, checked and indexed."""

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.photos.download import DownloadError, NotOnServer, fetch, fetch_text, md5_of
from landmark_dag.photos.gldv2_metadata import read_labels
from landmark_dag.photos.source import SPLITS, PhotoLocation, PhotoSource
from landmark_dag.photos.tar_index import index_tar
from landmark_dag.settings.photos import Gldv2Settings
from landmark_dag.storage.atomic import replacing
from landmark_dag.storage.hashing import fingerprint

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gldv2Source(PhotoSource):
    """The dataset under settings.base_url; what is fetched stays under `cache`, in the dataset's own layout.

    A shard is a run of TARs and is named by the first and the last of them, such as 000-009. Files of a
    file:// root are used where they lie.
    """

    settings: Gldv2Settings
    cache: Path

    def check(self) -> None:
        """Raise InputError unless the settings name shards that exist, at least one of every split."""
        for split in SPLITS:
            if not self.shards(split):
                first = next(iter(self._tars_of(split)))
                raise InputError(f"The shards to use name none of the split {split}; add one, such as {split}/{first}.")

    def shards(self, split: str) -> list[str]:
        """Return the split's shards that settings.shards names, or all of them when it names none."""
        chosen = set(self.settings.shards)
        known = {f"{any_split}/{key}" for any_split in SPLITS for key in self._tars_of(any_split)}
        if unknown := sorted(chosen - known):
            raise InputError(f"The dataset has no shard {unknown[0]!r}; its shards have names such as {min(known)}.")
        return [key for key in self._tars_of(split) if not chosen or f"{split}/{key}" in chosen]

    def locations(self, split: str, shard: str) -> list[PhotoLocation]:
        """Return the shard's photos sorted by image id, after fetching those of its TARs that are missing.

        Of several photos of one id that of the first TAR is taken, with a warning.
        """
        names = self._names(split, shard)
        with ThreadPoolExecutor(max_workers=self.settings.download.connections) as pool:
            tars = list(pool.map(self._tar, names))
        found: dict[str, PhotoLocation] = {}
        for tar in tars:
            for location in index_tar(tar):
                twin = found.setdefault(location.image_id, location)
                if twin is not location:
                    _log.warning("%s: passed over %.100r, which %s holds too", tar, location.image_id, twin.path)
        return sorted(found.values(), key=lambda location: location.image_id)

    def version(self, split: str, shard: str) -> str:
        """Return a hash over base URL, TAR names, accepted sums and which TARs are here.

        For file:// also over sizes and times. A TAR that was fetched and is gone changes it, so that its shard
        fetches it again.
        """
        root = _local_root(self.settings.base_url)
        parts = [self.settings.base_url]
        for name in self._names(split, shard):
            parts.append(f"\0{name}\0{self.settings.accepted_md5.get(name, '')}")
            if root is not None and (root / name).exists():
                parts.append(f"\0{_state(root / name)}")
            elif root is None:
                parts.append("\0here" if self._cached(name).exists() else "\0missing")
        return fingerprint("".join(parts).encode())

    def labels(self) -> pl.DataFrame:
        """Return the labels of all train photos (schemas.LABELS), also of shards that are not used."""
        return read_labels(self.metadata("train"), self.metadata("train_label_to_category"))

    def metadata(self, name: str) -> Path:
        """Return the file metadata/<name>.csv, such as train_clean, after fetching it if need be."""
        return self._file(f"metadata/{name}.csv")

    def retrieval_ground_truth(self) -> Path | None:
        """Return ground_truth/retrieval_solution_v2.1.csv, or None where the root has none."""
        return self._ground_truth("retrieval_solution_v2.1.csv")

    def recognition_ground_truth(self) -> Path | None:
        """Return ground_truth/recognition_solution_v2.1.csv, or None where the root has none."""
        return self._ground_truth("recognition_solution_v2.1.csv")

    def _ground_truth(self, name: str) -> Path | None:
        try:
            return self._file(f"ground_truth/{name}")
        except NotOnServer:
            return None

    def _tars_of(self, split: str) -> dict[str, range]:
        """Return the numbers of the TARs of each shard of the split, by shard key."""
        settings = self.settings
        sizes = {
            "train": (settings.train_tars, settings.train_tars_per_shard),
            "index": (settings.index_tars, settings.index_tars_per_shard),
            "query": (settings.query_tars, settings.query_tars_per_shard),
        }
        if split not in sizes:
            raise InputError(f"There is no split {split!r}; the splits are {', '.join(SPLITS)}.")
        tars, per_shard = sizes[split]
        runs = [range(first, min(first + per_shard, tars)) for first in range(0, tars, per_shard)]
        return {f"{run[0]:03d}-{run[-1]:03d}": run for run in runs}

    def _names(self, split: str, shard: str) -> list[str]:
        """Return the names of the shard's TARs under the root."""
        if shard not in self.shards(split):
            raise InputError(f"The split {split} has no shard {shard!r} among those in use; list the shards anew.")
        folder = {"query": "test"}.get(split, split)
        return [f"{folder}/images_{number:03d}.tar" for number in self._tars_of(split)[shard]]

    def _tar(self, name: str) -> Path:
        """Return the TAR, whole and of the expected md5 sum, after fetching it if need be."""
        if (root := _local_root(self.settings.base_url)) is not None:
            path = self._file(name)
            self._verify_in_place(path, name, root)
            return path
        path = self._cached(name)
        return path if path.exists() else self._file(name, self._expected_md5(name))

    def _file(self, name: str, md5: str | None = None) -> Path:
        """Return the file `name` of the root, fetched to the cache unless the root is on this machine."""
        if (root := _local_root(self.settings.base_url)) is None:
            return fetch(self._url(name), self._cached(name), self.settings.download, md5)
        if not (root / name).is_file():
            raise NotOnServer(f"{root / name} does not exist; check the base URL {self.settings.base_url}.")
        return root / name

    def _cached(self, name: str) -> Path:
        return self.cache / re.sub(r"[^\w.-]+", "_", self.settings.base_url.rstrip("/")) / name

    def _url(self, name: str) -> str:
        return f"{self.settings.base_url.rstrip('/')}/{name}"

    def _expected_md5(self, name: str) -> str:
        """Return the accepted md5 sum of a TAR, else the published one."""
        folder, tar = name.split("/")
        published = f"md5sum/{folder}/md5.{tar.removesuffix('.tar')}.txt"
        if name in self.settings.accepted_md5:
            told, origin = self.settings.accepted_md5[name], f"accepted_md5 of {name}"
        elif _local_root(self.settings.base_url) is not None:
            told, origin = self._file(published).read_text(errors="replace"), published
        else:
            told, origin = fetch_text(self._url(published), self.settings.download), self._url(published)
        first = told.split()[0].lower() if told.split() else ""
        if not re.fullmatch(r"[0-9a-f]{32}", first):
            raise InputError(f"{origin} is {told[:60]!r}, not an md5 sum; set accepted_md5 of {name}.")
        return first

    def _verify_in_place(self, path: Path, name: str, root: Path) -> None:
        """Check the md5 sum of a TAR that lies in a file:// root, once for each state of the file."""
        expected = self._expected_md5(name)
        record = self._cached(f"verified/{name}.txt")
        state = f"{expected} {_state(path)}"
        if record.exists() and record.read_text() == state:
            return
        if (found := md5_of(path)) != expected:
            raise DownloadError(
                f"{path} has the md5 sum {found}, expected is {expected}; replace it, or if you trust it, "
                f"set accepted_md5 of {name} to {found}."
            )
        with replacing(record) as temporary:
            temporary.write_text(state)


def _state(path: Path) -> str:
    """Return size and modification time, which change when the file does."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _local_root(base_url: str) -> Path | None:
    """Return the folder of a file:// root, None for any other."""
    parts = urlsplit(base_url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None
