"""The Arrow file of a shard's local features: one row a photo, written chunk by chunk, read memory-mapped."""

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.matching.features import JoinedFeatures, LocalFeatures, PhotoFeatures, gather
from landmark_dag.storage.atomic import replacing
from landmark_dag.storage.formats import FORMAT_KEY, LOCAL_FEATURES_FORMAT, RECOMPUTE, VERSION_KEY


def write_local_features(path: Path, chunks: Iterable[LocalFeatures], version: str) -> int:
    """Write `chunks` to `path`, one after the other, one row a photo; return the number of photos.

    Only one chunk is in memory at a time. `version` goes to the file's metadata.
    """
    photos = 0
    batches = (_record_batch(chunk, version) for chunk in chunks)
    first = next(batches, None)
    if first is None:
        first = _record_batch(gather([], []), version)
    with replacing(path) as temporary, pa.ipc.new_file(str(temporary), first.schema) as writer:
        for batch in itertools.chain([first], batches):
            writer.write_batch(batch)
            photos += batch.num_rows
    return photos


def read_local_features(path: Path) -> JoinedFeatures:
    """Read a file of `write_local_features`; its arrays stay on disk, memory-mapped and read-only.

    Raises InputError, naming the file, when it is missing or not of this layout.
    """
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        if (reader.schema.metadata or {}).get(FORMAT_KEY.encode()) != LOCAL_FEATURES_FORMAT.encode():
            raise InputError(f"{path} is not a file of local features of format {LOCAL_FEATURES_FORMAT}; {RECOMPUTE}.")
        return JoinedFeatures([_chunk(reader.get_batch(number)) for number in range(reader.num_record_batches)])
    except InputError:
        raise
    except (OSError, ValueError, pa.ArrowException, KeyError, AttributeError) as error:
        raise InputError(f"{path} cannot be read as local features: {error}") from error


def _record_batch(features: LocalFeatures, version: str) -> pa.RecordBatch:
    """Return `features` as an Arrow batch, one row a photo."""
    offsets = pa.array(features.offsets)
    matrices = (features.rows.keypoints, features.rows.orientations, features.rows.descriptors)
    columns = [pa.array(features.image_ids, type=pa.string())]
    columns += [pa.LargeListArray.from_arrays(offsets, _lists(matrix)) for matrix in matrices]
    return pa.record_batch(
        columns,
        names=["image_id", "keypoints", "orientations", "descriptors"],
        metadata={FORMAT_KEY: LOCAL_FEATURES_FORMAT, VERSION_KEY: version},
    )


def _chunk(batch: pa.RecordBatch) -> LocalFeatures:
    """Return the local features of a batch of `_record_batch`, without copying."""
    batch.validate(full=True)  # an offset outside a damaged file would end the process, not raise
    rows = PhotoFeatures(
        _matrix(batch.column("keypoints")),
        _matrix(batch.column("orientations")),
        _matrix(batch.column("descriptors")),
    )
    return LocalFeatures(batch.column("image_id").to_pylist(), batch.column("keypoints").offsets.to_numpy(), rows)


def _lists(matrix: NDArray) -> pa.FixedSizeListArray:
    """Return the rows of a matrix (n, d) as an Arrow array of lists of d."""
    values = pa.array(np.ascontiguousarray(matrix).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, matrix.shape[1])


def _matrix(column: pa.LargeListArray) -> NDArray:
    """Return all rows of a column of `_lists`, without copying."""
    rows = column.values
    return rows.values.to_numpy(zero_copy_only=True).reshape(-1, rows.type.list_size)
