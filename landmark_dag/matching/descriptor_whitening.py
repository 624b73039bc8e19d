"""The linear map that turns a backbone's local descriptors into short ones: PCA with whitening."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landmark_dag.errors import InputError


@dataclass(frozen=True, eq=False)
class DescriptorWhitening:
    """Maps a unit descriptor x of c channels to `weight` (d, c) times (x - `mean` (c,)); both are float32."""

    mean: NDArray[np.float32]
    weight: NDArray[np.float32]


def fit_descriptor_whitening(descriptors: Iterable[NDArray[np.float32]], dimensions: int) -> DescriptorWhitening:
    """Return the PCA-whitening of unit descriptors, given in blocks (n, c), to `dimensions` numbers.

    Only sums over descriptors are kept in memory, in float64. The numbers of the result are in order of falling
    variance, each scaled to variance 1 over the descriptors, with the sign of `with_fixed_signs`. Source: Jegou and
    Chum, Negative evidences and co-occurences in image retrieval, ECCV 2012, section 2; DELF (Noh et al., ICCV 2017,
    section 3.4) reduces its descriptors in the same way. Raises InputError when the descriptors have fewer than
    `dimensions` channels, or are too few to span that many directions.
    """
    count, total, products = 0, np.zeros(0), np.zeros((0, 0))
    for block in descriptors:
        exact = block.astype(np.float64)
        total = total + exact.sum(axis=0) if count else exact.sum(axis=0)
        products = products + exact.T @ exact if count else exact.T @ exact
        count += len(block)
    if dimensions > len(total):
        raise InputError(
            f"Local descriptors of {len(total)} channels cannot be whitened to {dimensions} dimensions; "
            f"set dimensions to at most {len(total)}."
        )
    mean = total / max(count, 1)
    variances, directions = np.linalg.eigh(products / max(count, 1) - np.outer(mean, mean))
    variances, directions = variances[::-1][:dimensions], directions[:, ::-1][:, :dimensions]
    if not variances[-1] > np.finfo(np.float32).eps * variances[0]:
        raise InputError(
            f"{count} local descriptors do not vary in {dimensions} directions; set fewer dimensions or more "
            "sampled_photos."
        )
    weight = with_fixed_signs((directions / np.sqrt(variances)).T)
    return DescriptorWhitening(mean.astype(np.float32), weight.astype(np.float32))


def with_fixed_signs(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `directions` (n, c), signed so that each one's largest number by magnitude (ties: the first) is positive.

    An eigenvector's sign is arbitrary; with this rule the same input gives the same bytes.
    """
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return directions * np.where(largest < 0, -1, 1)
