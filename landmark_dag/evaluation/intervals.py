"""Bootstrap over queries: how far a mean, or the difference of two, would move with other queries."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from landmark_dag.errors import InputError
from landmark_dag.settings.evaluation import BootstrapSettings

BLOCK = 2**22
"""Drawn queries held at a time. Results do not depend on it."""


class Interval(NamedTuple):
    """A mean and the ends of its interval."""

    mean: float
    low: float
    high: float


def mean_interval(values: NDArray[np.floating], settings: BootstrapSettings) -> Interval:
    """Return the mean of `values` (queries,), one for each query, and its percentile interval.

    (Efron and Tibshirani, An Introduction to the Bootstrap, section 13.3.) Raises InputError without a query, for
    a value that is not finite, and for settings that make no interval.
    """
    _check(values)
    means = _resampled_means(np.asarray(values, dtype=np.float64), settings)
    low, high = np.quantile(means, [(1 - settings.level) / 2, (1 + settings.level) / 2])
    return Interval(float(np.mean(values)), float(low), float(high))


def mean_intervals(values: NDArray[np.floating], settings: BootstrapSettings) -> list[Interval]:
    """Return what `mean_interval` does for each column of `values` (queries, metrics), up to rounding.

    All columns share the drawn queries: several metrics take hardly longer than one.
    """
    _check(values)
    columns = np.ascontiguousarray(values.T, dtype=np.float64)
    generator = np.random.default_rng(settings.seed)
    means = np.empty((settings.resamples, len(columns)))
    for resample in range(settings.resamples):
        drawn = np.bincount(generator.integers(0, len(values), len(values)), minlength=len(values))
        means[resample] = np.einsum("mq,q->m", columns, drawn.astype(np.float64)) / len(values)
    low, high = np.quantile(means, [(1 - settings.level) / 2, (1 + settings.level) / 2], axis=0)
    return [Interval(*map(float, column)) for column in zip(values.mean(axis=0), low, high, strict=True)]


def difference_interval(
    values: NDArray[np.floating], baseline: NDArray[np.floating], settings: BootstrapSettings
) -> Interval:
    """Return the mean of `values` - `baseline` (queries,), of the same queries in the same order, and its interval.

    Queries are drawn in pairs: what makes a query easy for both is no part of the interval's width.
    """
    if values.shape != baseline.shape:
        raise ValueError(f"values {values.shape} and baseline {baseline.shape} are not of the same queries")
    return mean_interval(np.subtract(values, baseline), settings)


def _check(values: NDArray[np.floating]) -> None:
    """Raise InputError unless there are values, one row a query, and all are finite."""
    if len(values) == 0 or not np.isfinite(values).all():
        raise InputError("A bootstrap needs at least one query, each with a finite value.")


def _resampled_means(values: NDArray[np.float64], settings: BootstrapSettings) -> NDArray[np.float64]:
    """Return the mean float64 (resamples,) over as many queries drawn with replacement, for every resample."""
    generator = np.random.default_rng(settings.seed)
    means = np.empty(settings.resamples)
    block = max(1, BLOCK // len(values))
    for first in range(0, settings.resamples, block):
        rows = means[first : first + block]
        rows[:] = values[generator.integers(0, len(values), (len(rows), len(values)))].mean(axis=1)
    return means
