"""Which failures are worth another try, and after how long: memory that ran out, and storage that did not answer."""

import errno
import sys
from collections.abc import Iterator

MOST_RETRIES = 3
"""Times that a step is tried again before its failure stands."""

_FIRST_WAIT = 2
"""Seconds before the first retry; every further one waits twice as long."""

_TRANSIENT = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.EIO,
    errno.ENETDOWN,
    errno.ENETRESET,
    errno.ENETUNREACH,
    errno.EPIPE,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
"""What a disk, a network drive or a server may answer now and not a moment later; a full disk is not among them."""


def retry_wait(error: BaseException, retries: int) -> int | None:
    """Return the seconds to wait before another try after `error`, or None where trying again would not help.

    `retries` is how many there were already. Only memory that ran out and storage that did not answer are worth one,
    be it the error itself or what it was raised from.
    """
    worth = any(is_out_of_memory(cause) or is_transient(cause) for cause in _causes(error))
    return _FIRST_WAIT << retries if worth and retries < MOST_RETRIES else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, the machine's or the accelerator's."""
    torch = sys.modules.get("torch")  # an error of torch's kind cannot come before torch was imported
    return isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))


def is_transient(error: BaseException) -> bool:
    """Whether storage or a network did not answer, and may answer a moment later."""
    return isinstance(error, TimeoutError | ConnectionError) or (
        isinstance(error, OSError) and error.errno in _TRANSIENT
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, then what each was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
