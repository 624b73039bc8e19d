"""Within-landmark whitening of the backbone's features: a first projection that keeps what the backbone knows."""

import numpy as np
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.matching.descriptor_whitening import with_fixed_signs


def whitening(
    features: NDArray[np.float32], class_ids: NDArray[np.int64], dimensions: int, shrinkage: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weight (dimensions, d) and bias (dimensions,) of a linear map that whitens features (n, d).

    The map shrinks the directions in which photos of one landmark differ, by the inverse square root of their
    covariance, and keeps the `dimensions` directions of largest variance of the result. The covariance is a mixture:
    `shrinkage` (0 to 1) of it is the identity times the mean variance, so that few photos suffice. Mapped features
    have mean 0; directions have the sign of `with_fixed_signs`. Source: Mikolajczyk and Matas, Improving descriptors
    for fast tree matching by optimal linear projection, ICCV 2007; Radenovic et al., Fine-tuning CNN image retrieval,
    2018, section 3.3; for the shrinkage Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance
    matrices, 2004.

    Raises InputError when features have fewer than `dimensions` columns, or no landmark has two photos.
    """
    count, width = features.shape
    if dimensions > width:
        raise InputError(
            f"An embedding of {dimensions} dimensions cannot be whitened from {width} features; "
            f"set embedding_dim to at most {width}."
        )
    exact = features.astype(np.float64)
    classes, members = np.unique(class_ids, return_inverse=True)
    if count == len(classes):
        raise InputError("No landmark has two photos; whitening needs photos of the same landmark.")
    means = np.zeros((len(classes), width))
    np.add.at(means, members, exact)
    means /= np.bincount(members)[:, None]
    within = exact - means[members]
    covariance = within.T @ within / (count - len(classes))
    mean_variance = max(np.trace(covariance) / width, np.finfo(np.float64).tiny)
    covariance = (1 - shrinkage) * covariance + shrinkage * mean_variance * np.eye(width)
    variances, directions = np.linalg.eigh(covariance)
    smallest = np.finfo(np.float64).eps * variances[-1]
    whiten = directions / np.sqrt(np.maximum(variances, smallest))
    mean = exact.mean(axis=0)
    spread = (exact - mean) @ whiten
    _, axes = np.linalg.eigh(spread.T @ spread)
    weight = with_fixed_signs((whiten @ axes[:, ::-1][:, :dimensions]).T)
    return weight.astype(np.float32), (-weight @ mean).astype(np.float32)
