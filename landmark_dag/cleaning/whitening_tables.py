"""The stored table of the whitening of local descriptors."""

import numpy as np
import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.matching.descriptor_whitening import DescriptorWhitening
from landmark_dag.storage.schemas import DESCRIPTOR_WHITENING


def whitening_table(whitening: DescriptorWhitening) -> pl.DataFrame:
    """Return a whitening as a table (schemas.DESCRIPTOR_WHITENING), one row for each channel."""
    channels = np.arange(len(whitening.mean))
    weight = pl.Series(np.ascontiguousarray(whitening.weight.T)).cast(pl.List(pl.Float32))
    return pl.DataFrame(
        {"channel": channels, "mean": whitening.mean, "weight": weight}, schema=DESCRIPTOR_WHITENING.schema
    )


def whitening_of(table: pl.DataFrame) -> DescriptorWhitening:
    """Return the whitening in a table of `whitening_table`; raises InputError for a table without rows."""
    if table.is_empty():
        raise InputError(
            "descriptor_whitening is empty, because it was materialized for local features that need none; materialize "
            "it again with the kind of train/local_features."
        )
    weight = np.stack(table["weight"].to_list()).T
    return DescriptorWhitening(table["mean"].to_numpy(), np.ascontiguousarray(weight, dtype=np.float32))
