"""Which failures a step retries, and after how long: out of memory, and storage that does not answer."""

import errno
import sys

from landmark_dag.errors import causes

MOST_RETRIES = 3
"""Retries of a step before it fails."""

_FIRST_WAIT = 2
"""Seconds before the first retry; the wait doubles with every further one."""

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
"""Errors of disks, network drives and servers that may be gone a moment later. A full disk is not one of them."""


def retry_wait(error: BaseException, retries: int) -> int | None:
    """Return the seconds to wait before the next try after `error`, or None if a retry would not help.

    `retries` counts the retries so far. A step retries only when it ran out of memory or storage did not answer: the
    error itself, or one that it was explicitly raised from.
    """
    retry = any(is_out_of_memory(cause) or is_transient(cause) for cause in causes(error))
    return _FIRST_WAIT << retries if retry and retries < MOST_RETRIES else None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the machine or the accelerator ran out of memory."""
    torch = sys.modules.get("torch")  # without torch loaded, no error is torch's
    return isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))


def is_transient(error: BaseException) -> bool:
    """Return whether storage or a network did not answer but may answer a moment later."""
    return isinstance(error, TimeoutError | ConnectionError) or (
        isinstance(error, OSError) and error.errno in _TRANSIENT
    )
