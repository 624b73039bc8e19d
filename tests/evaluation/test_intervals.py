"""Intervals over queries: where they lie, and what moves them."""

import numpy as np
import pytest
from scipy import stats

from landmark_dag.errors import InputError
from landmark_dag.evaluation import intervals as bootstrap
from landmark_dag.evaluation.intervals import difference_interval, mean_interval, mean_intervals
from landmark_dag.settings.evaluation import BootstrapSettings

VALUES = np.random.default_rng(5).beta(2, 1, 400)


def test_the_interval_is_that_of_scipys_percentile_bootstrap() -> None:
    reference = stats.bootstrap(
        (VALUES,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    found = mean_interval(VALUES, BootstrapSettings(resamples=20_000))
    assert found.mean == VALUES.mean()
    assert found[1:] == pytest.approx(tuple(reference), abs=5e-4)


def test_the_seed_decides_and_the_block_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = BootstrapSettings(resamples=500)
    found = mean_interval(VALUES, settings)
    monkeypatch.setattr(bootstrap, "BLOCK", 3 * len(VALUES))
    assert mean_interval(VALUES, settings) == found
    assert mean_interval(VALUES, BootstrapSettings(resamples=500, seed=1)) != found


def test_a_constant_difference_has_no_width() -> None:
    found = difference_interval(VALUES + 0.25, VALUES, BootstrapSettings(resamples=100))
    assert found == pytest.approx((0.25, 0.25, 0.25))


def test_several_metrics_have_the_intervals_that_each_has_alone() -> None:
    values = np.stack([VALUES, 100 * VALUES[::-1], np.ones(400)], axis=1)
    settings = BootstrapSettings(resamples=300)
    together = mean_intervals(values, settings)
    for column, found in enumerate(together):
        assert found == pytest.approx(mean_interval(values[:, column], settings), rel=1e-12)
    with pytest.raises(InputError, match="at least one query"):
        mean_intervals(values[:0], settings)


def test_one_query_has_an_interval_of_no_width() -> None:
    assert mean_interval(np.array([0.5]), BootstrapSettings(resamples=9)) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("values", [[], [0.5, float("nan")]])
def test_values_that_have_no_mean_are_refused(values: list[float]) -> None:
    with pytest.raises(InputError, match="at least one query, each with a finite value"):
        mean_interval(np.array(values), BootstrapSettings())


def test_values_of_other_queries_are_refused() -> None:
    with pytest.raises(ValueError, match="not of the same queries"):
        difference_interval(VALUES, VALUES[:3], BootstrapSettings())
