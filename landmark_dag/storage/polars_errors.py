"""What polars raises for a damaged or wrong file, and how messages repeat it."""

import polars as pl

POLARS_FAULTS = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What polars raises for a file that it cannot read; its CSV reader panics on unbalanced quotes."""


def problem_of(error: BaseException) -> str:
    """Return in one line what one of POLARS_FAULTS says; a panic says nothing useful."""
    if isinstance(error, pl.exceptions.PanicException):
        return 'it is damaged; in a CSV file see that every quote (") is closed'
    return str(error).split("\n", 1)[0]
