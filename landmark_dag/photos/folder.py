"""A folder of one's own as photo source: train/<landmark>/, index/ and query/, sliced into lasting shards."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from filelock import FileLock

from landmark_dag.errors import InputError
from landmark_dag.photos.reading import PHOTO_SUFFIXES
from landmark_dag.photos.source import SPLITS, PhotoLocation, PhotoSource
from landmark_dag.storage.atomic import replacing
from landmark_dag.storage.formats import FORMAT_KEY, TABLE_FORMAT
from landmark_dag.storage.hashing import fingerprint
from landmark_dag.storage.polars_errors import POLARS_FAULTS
from landmark_dag.storage.schemas import LABELS

_DIGITS = 4
_REMEMBERED = pl.Schema({"image_id": pl.String(), "shard": pl.Int32(), "path": pl.String()})


@dataclass(frozen=True)
class FolderSource(PhotoSource):
    """Photos under `root`; an image id is the file's stem, unique within its split.

    Hidden files and files of other endings than reading.PHOTO_SUFFIXES are not photos; links are followed.
    Which shard a photo belongs to is remembered in the folder `memory`, one Parquet file a split, the moment
    the photo is first seen: photos are sliced by sorted id into shards of `photos_per_shard`, and photos that
    arrive later make further shards, so that a shard once made never changes its members.
    """

    root: Path
    photos_per_shard: int
    memory: Path

    def shards(self, split: str) -> list[str]:
        """Return the keys `0000`, `0001`, … of the split's shards, after giving new photos a shard."""
        remembered = self._remembered(split, self._scan(split))
        return [_key(shard) for shard in remembered["shard"].unique().sort()]

    def check(self) -> None:
        """Raise InputError unless every split is as it must be; nothing is remembered."""
        for split in SPLITS:
            self._scan(split)

    def locations(self, split: str, shard: str) -> list[PhotoLocation]:
        """Return the shard's photos sorted by image id; one that is gone from disk has size 0.

        Only the shard's own files are looked at, unless one is gone from its place: then it is sought in all others.
        """
        folder = self._split_folder(split)
        remembered = _read_memory(self._memory_file(split))
        if remembered.is_empty():
            remembered = self._remembered(split, self._scan(split))
        members = remembered.filter(pl.col("shard").cast(pl.String).str.zfill(_DIGITS) == shard)
        if members.is_empty():
            raise InputError(f"{folder} has no shard {shard!r}; run without it, or list the shards anew.")
        paths = {image_id: self.root / path for image_id, path in members.select("image_id", "path").iter_rows()}
        if not all(path.exists() for path in paths.values()):
            found = self._scan(split)
            paths = {image_id: found.get(image_id, path) for image_id, path in paths.items()}
            if not any(image_id in found for image_id in paths):
                raise InputError(
                    f"All {len(members)} photos of shard {shard} are gone from {folder}; bring them "
                    f"back (is the disk mounted?), or delete {self._memory_file(split)} to slice the folder anew."
                )
        return [_location(image_id, path) for image_id, path in paths.items()]

    def version(self, split: str, shard: str) -> str:
        """Return a hash over the names, sizes and modification times of the shard's files."""
        parts = []
        for location in self.locations(split, shard):
            path = Path(location.path)
            changed = path.stat().st_mtime_ns if path.exists() else 0
            parts.append(f"{location.image_id}\0{location.path}\0{location.size}\0{changed}\0")
        return fingerprint("".join(parts).encode())

    def labels(self) -> pl.DataFrame:
        """Return image_id, landmark_id and landmark (schemas.LABELS) of the train photos on disk.

        A landmark's name is its folder's, its id the position of that name among the sorted names.
        """
        train = self.root / "train"
        landmark_of = {image_id: path.relative_to(train).parts[0] for image_id, path in self._scan("train").items()}
        number = {landmark: position for position, landmark in enumerate(sorted(set(landmark_of.values())))}
        rows = [(image_id, number[landmark], landmark) for image_id, landmark in sorted(landmark_of.items())]
        return pl.DataFrame(rows, schema=LABELS.schema, orient="row")

    def retrieval_ground_truth(self) -> Path | None:
        """Return ground_truth/retrieval_solution.csv, or None where there is none."""
        return self._ground_truth("retrieval_solution.csv")

    def recognition_ground_truth(self) -> Path | None:
        """Return ground_truth/recognition_solution.csv, or None where there is none."""
        return self._ground_truth("recognition_solution.csv")

    def _ground_truth(self, name: str) -> Path | None:
        path = self.root / "ground_truth" / name
        return path if path.is_file() else None

    def _scan(self, split: str) -> dict[str, Path]:
        """Return the file of every photo of the split, by image id."""
        folder = self._split_folder(split)
        found: dict[str, Path] = {}
        for path in _photo_files(folder):
            _check_name(path)
            if split == "train" and path.parent == folder:
                raise InputError(f"{path} belongs to no landmark; move it to {folder}/<landmark name>/.")
            twin = found.setdefault(path.stem, path)
            if twin is not path:
                first, second = sorted((twin, path))
                raise InputError(f"{first} and {second} have the same image id {path.stem!r}; rename one of them.")
        if not found:
            raise InputError(f"{folder} holds no photo ({', '.join(sorted(PHOTO_SUFFIXES))}); put some there.")
        return found

    def _split_folder(self, split: str) -> Path:
        """Return the split's folder, which is there."""
        if split not in SPLITS:
            raise InputError(f"There is no split {split!r}; the splits are {', '.join(SPLITS)}.")
        if not self.root.is_dir():
            raise InputError(f"There is no photo folder {self.root}; name a folder with train/, index/ and query/.")
        folder = self.root / split
        if not folder.is_dir():
            content = "train/<landmark name>/" if split == "train" else f"{split}/"
            raise InputError(f"{self.root} has no folder {split}/; put its photos in {self.root}/{content}.")
        return folder

    def _remembered(self, split: str, found: dict[str, Path]) -> pl.DataFrame:
        """Return image_id, shard and path of every photo ever seen, sorted by id, after adding new ones."""
        if self.photos_per_shard < 1:
            raise InputError(f"photos_per_shard is {self.photos_per_shard}; it must be at least 1.")
        file = self._memory_file(split)
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_name(f".{file.name}.lock")):
            old = _read_memory(file)
            new = _assigned(old, found, self.root, self.photos_per_shard)
            if not new.equals(old):
                with replacing(file) as temporary:
                    new.write_parquet(temporary, metadata={FORMAT_KEY: TABLE_FORMAT})
        return new

    def _memory_file(self, split: str) -> Path:
        return self.memory / f"{split}.parquet"


def _photo_files(folder: Path) -> Iterator[Path]:
    """Yield the photo files under `folder`, following links but entering no folder twice."""
    entered: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            if path.suffix.lower() in PHOTO_SUFFIXES and not name.startswith(".") and _may_be_photo(path):
                yield path


def _may_be_photo(path: Path) -> bool:
    """Tell a file, or a link that leads nowhere, from pipes and devices, which would block a reader."""
    return path.is_file() or not path.exists()


def _check_name(path: Path) -> None:
    """Refuse a name that no table can hold."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(f"The file name {str(path)!a} is not valid UTF-8; rename the file.") from None


def _location(image_id: str, path: Path) -> PhotoLocation:
    """Return where the whole file lies; a missing file has size 0 and is found out when it is read."""
    size = path.stat().st_size if path.exists() else 0
    return PhotoLocation(image_id, str(path), 0, size)


def _key(shard: int) -> str:
    return f"{shard:0{_DIGITS}d}"


def _read_memory(file: Path) -> pl.DataFrame:
    """Return what is remembered, empty when nothing is yet."""
    if not file.exists():
        return pl.DataFrame(schema=_REMEMBERED)
    try:
        version = pl.read_parquet_metadata(file).get(FORMAT_KEY)
        remembered = pl.read_parquet(file, hive_partitioning=False)
    except POLARS_FAULTS as error:
        raise InputError(f"{file}, which remembers the shards, is broken ({error}); restore or delete it.") from error
    if version != TABLE_FORMAT or remembered.schema != _REMEMBERED:
        raise InputError(
            f"{file} has format {version}, this program writes format {TABLE_FORMAT}; restore or delete it."
        )
    return remembered


def _assigned(old: pl.DataFrame, found: dict[str, Path], root: Path, photos_per_shard: int) -> pl.DataFrame:
    """Return `old` with the photos found now: known ones at their present path, new ones in new shards."""
    shard_of = dict(old.select("image_id", "shard").iter_rows())
    path_of = dict(old.select("image_id", "path").iter_rows())
    path_of |= {image_id: str(path.relative_to(root)) for image_id, path in found.items()}
    first_free = max(shard_of.values(), default=-1) + 1
    for position, image_id in enumerate(sorted(found.keys() - shard_of.keys())):
        shard_of[image_id] = first_free + position // photos_per_shard
    rows = [(image_id, shard_of[image_id], path_of[image_id]) for image_id in sorted(path_of)]
    return pl.DataFrame(rows, schema=_REMEMBERED, orient="row")
