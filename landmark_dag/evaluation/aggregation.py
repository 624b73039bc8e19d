"""Means of metrics over the queries of each usage, with bootstrap intervals."""

import itertools
from collections.abc import Iterable
from dataclasses import replace

import polars as pl

from landmark_dag.evaluation.ground_truth import USAGES
from landmark_dag.evaluation.intervals import mean_intervals
from landmark_dag.settings.evaluation import BootstrapSettings

MOST_DRAWS, FEWEST_RESAMPLES = 20_000_000, 1_000
"""Over so many queries that their resamples draw more than MOST_DRAWS, fewer resamples are made, never under these."""


def usage_means(per_query: pl.DataFrame, bootstrap: BootstrapSettings | None = None) -> pl.DataFrame:
    """Return usage (Public, Private, all), each metric with its interval, and queries: how many count.

    `per_query` has query_id, usage and a column a metric. A metric's interval is in METRIC_low and
    METRIC_high. A usage without queries has no row.
    """
    every = pl.concat([per_query, per_query.with_columns(usage=pl.lit("all"))])
    return grouped_means(every, (*USAGES, "all"), bootstrap)


def grouped_means(
    per_query: pl.DataFrame, groups: Iterable[str], bootstrap: BootstrapSettings | None = None
) -> pl.DataFrame:
    """Return what `usage_means` does, for each of `groups`, the values of the second column of `per_query`."""
    column, *names = per_query.columns[1:]
    rows = []
    for group in groups:
        some = per_query.filter(pl.col(column) == group)
        if len(some):
            settings = affordable(bootstrap or BootstrapSettings(), len(some))
            intervals = mean_intervals(some.select(names).to_numpy(), settings)
            rows.append((group, *itertools.chain(*intervals), len(some)))
    schema = {column: pl.String} | {f"{name}{end}": pl.Float64 for name in names for end in ("", "_low", "_high")}
    return pl.DataFrame(rows, schema=schema | {"queries": pl.Int64}, orient="row")


def metrics_summary(metrics: pl.DataFrame) -> pl.DataFrame:
    """Return a table of metrics as people read it: "25.00 (20.1 to 30.2)" in place of a metric and its ends."""
    texts = {
        name: pl.format("{} ({} to {})", _text(name, 2), _text(f"{name}_low", 1), _text(f"{name}_high", 1)).alias(name)
        for name in metrics.columns
        if f"{name}_low" in metrics.columns
    }
    ends = {f"{name}_{end}" for name in texts for end in ("low", "high")}
    return metrics.select(texts.get(name, pl.col(name)) for name in metrics.columns if name not in ends)


def _text(name: str, digits: int) -> pl.Expr:
    """Return the column as text of so many digits."""
    return pl.col(name).map_elements(lambda value: f"{value:.{digits}f}", return_dtype=pl.String)


def affordable(bootstrap: BootstrapSettings, queries: int) -> BootstrapSettings:
    """Return `bootstrap` with as many resamples as so many queries allow; a narrow interval needs fewer."""
    most = max(FEWEST_RESAMPLES, MOST_DRAWS // max(1, queries))
    return replace(bootstrap, resamples=min(bootstrap.resamples, most))
