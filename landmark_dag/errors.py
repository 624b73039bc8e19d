"""The one exception that means bad input, and how to follow the causes of an exception."""

from collections.abc import Iterator


class InputError(ValueError):
    """Bad input, described in one sentence that names the file, row or value and what to do.

    The command line prints the sentence on stderr and exits with status 2; an asset fails with it.
    """


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, then what it was explicitly raised from (`raise ... from cause`), and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
