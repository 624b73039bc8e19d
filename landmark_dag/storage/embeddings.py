"""Embeddings of photos: the Arrow IPC file of a shard, and joining the embeddings of shards."""

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.storage.atomic import replacing
from landmark_dag.storage.formats import EMBEDDINGS_FORMAT, FORMAT_KEY, MODEL_KEY, RECOMPUTE, VERSION_KEY


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Photos and their embeddings by one model.

    `vectors` is float16 of shape (len(image_ids), d), C-contiguous, each row of unit norm, and read-only if it is
    memory-mapped. `model` is the fingerprint of the model.
    """

    image_ids: list[str]
    vectors: NDArray[np.float16]
    model: str


def write_embeddings(path: Path, embeddings: Embeddings, version: str) -> None:
    """Write `embeddings` to `path` as one Arrow record batch; `version` goes to the file's metadata.

    Raises InputError, naming the photo, for a vector that is not finite or zero, and for a photo that occurs twice;
    `path` is then unchanged.
    """
    _check_vectors(embeddings)
    _check_distinct(embeddings.image_ids)
    vectors = np.ascontiguousarray(embeddings.vectors, dtype=np.float16)
    batch = pa.record_batch(
        [
            pa.array(embeddings.image_ids, type=pa.string()),
            pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1]),
        ],
        names=["image_id", "vector"],
        metadata={FORMAT_KEY: EMBEDDINGS_FORMAT, MODEL_KEY: embeddings.model, VERSION_KEY: version},
    )
    with replacing(path) as temporary, pa.ipc.new_file(str(temporary), batch.schema) as writer:
        writer.write_batch(batch)


def read_embeddings(path: Path) -> Embeddings:
    """Read a file of `write_embeddings`; its vectors stay on disk, memory-mapped and read-only.

    Raises InputError, naming the file, when it is missing or not of this layout.
    """
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        metadata = reader.schema.metadata or {}
        if metadata.get(FORMAT_KEY.encode()) != EMBEDDINGS_FORMAT.encode() or reader.num_record_batches != 1:
            raise InputError(f"{path} is not an embeddings file of format {EMBEDDINGS_FORMAT}; {RECOMPUTE}.")
        batch = reader.get_batch(0)
        batch.validate(full=True)  # a damaged file may point outside itself, which would end the process
        column = batch.column("vector")
        vectors = column.flatten().to_numpy(zero_copy_only=True).reshape(-1, column.type.list_size)
        return Embeddings(batch.column("image_id").to_pylist(), vectors, metadata[MODEL_KEY.encode()].decode())
    except InputError:
        raise
    except (OSError, ValueError, pa.ArrowException, KeyError, AttributeError) as error:
        raise InputError(f"{path} cannot be read as embeddings: {error}") from error


def concatenate(shards: Sequence[Embeddings], only: Container[str] | None = None) -> Embeddings:
    """Join the embeddings of shards, or of `only` those of their photos, in memory, sorted by image id.

    Raises InputError when there is no shard, when two are of different models or dimensions (it names both), or when
    a photo occurs twice.
    """
    if not shards:
        raise InputError("There are no embeddings to join; embed at least one shard of photos first.")
    first = shards[0]
    for shard in shards[1:]:
        check_same_model(first, shard)
    kept = [_rows(shard, only) for shard in shards]
    image_ids = [shard.image_ids[row] for shard, rows in zip(shards, kept, strict=True) for row in rows]
    order = sorted(range(len(image_ids)), key=image_ids.__getitem__)
    ordered = [image_ids[position] for position in order]
    _check_distinct(ordered)
    vectors = np.empty((len(order), first.vectors.shape[1]), dtype=np.float16)
    destination = np.empty(len(order), dtype=np.int64)
    destination[order] = np.arange(len(order))
    start = 0
    for shard, rows in zip(shards, kept, strict=True):
        places = destination[start : start + len(rows)]
        vectors[places] = shard.vectors if isinstance(rows, range) else shard.vectors[rows]
        start += len(rows)
    return Embeddings(ordered, vectors, first.model)


def _rows(shard: Embeddings, only: Container[str] | None) -> Sequence[int]:
    """Return the rows of the shard's photos that are in `only`; all rows, as a range, if it is None."""
    if only is None:
        return range(len(shard.image_ids))
    return [row for row, image_id in enumerate(shard.image_ids) if image_id in only]


def chosen(embeddings: Embeddings, image_ids: Container[str]) -> Embeddings:
    """Return those of the photos that are in `image_ids`, in their order."""
    rows = _rows(embeddings, image_ids)
    return Embeddings([embeddings.image_ids[row] for row in rows], embeddings.vectors[rows], embeddings.model)


def sample(embeddings: Embeddings, count: int) -> Embeddings:
    """Return `count` photos at equal distances in the order of `embeddings`; all of them if there are fewer."""
    total = len(embeddings.image_ids)
    rows = np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))
    return Embeddings([embeddings.image_ids[row] for row in rows], embeddings.vectors[rows], embeddings.model)


def check_same_model(first: Embeddings, other: Embeddings) -> None:
    """Raise InputError unless both are of one model and of one dimension."""
    names = [shard.image_ids[0] if shard.image_ids else "(no photo)" for shard in (first, other)]
    if first.model != other.model:
        raise InputError(
            f"Embeddings of two models cannot be mixed: photo {names[0]} was embedded by {first.model}, "
            f"photo {names[1]} by {other.model}; embed all photos with one model."
        )
    dimensions = first.vectors.shape[1], other.vectors.shape[1]
    if dimensions[0] != dimensions[1]:
        raise InputError(
            f"Embeddings of {dimensions[0]} and {dimensions[1]} dimensions cannot be mixed "
            f"(photos {names[0]} and {names[1]}); embed all photos with one model."
        )


def _check_distinct(image_ids: Sequence[str]) -> None:
    """Raise InputError, naming the photo, when one occurs twice."""
    if len(set(image_ids)) < len(image_ids):
        repeated = next(image_id for image_id, count in Counter(image_ids).items() if count > 1)
        raise InputError(f"Photo {repeated} has two embeddings; keep one of the two.")


def _check_vectors(embeddings: Embeddings) -> None:
    """Raise InputError unless there is one finite, non-zero vector for each photo."""
    vectors = embeddings.vectors
    if vectors.ndim != 2 or vectors.shape[0] != len(embeddings.image_ids) or vectors.shape[1] == 0:
        raise InputError(
            f"Vectors of shape {vectors.shape} do not fit {len(embeddings.image_ids)} photos; "
            "there must be one row for each."
        )
    block = 65536
    for start in range(0, len(vectors), block):
        largest = np.abs(vectors[start : start + block]).max(axis=1)
        bad = np.flatnonzero(~(np.isfinite(largest) & (largest > 0)))
        if len(bad):
            image_id = embeddings.image_ids[start + int(bad[0])]
            raise InputError(
                f"The embedding of photo {image_id} is zero or not finite; look at the photo and the model."
            )
