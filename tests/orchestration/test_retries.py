"""Which failures are tried again, and after how long."""

import errno

import pytest
import torch

from landmark_dag.errors import InputError
from landmark_dag.orchestration.retries import MOST_RETRIES, retry_wait


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        ConnectionResetError(),
        TimeoutError(),
        OSError(errno.ESTALE, "stale"),
        OSError(errno.EIO, "input/output error"),
        raised_from(InputError("the bucket does not answer"), TimeoutError()),
    ],
)
def test_out_of_memory_and_failing_storage_are_retried_and_the_wait_doubles(error: Exception) -> None:
    assert [retry_wait(error, retries) for retries in range(MOST_RETRIES + 1)] == [2, 4, 8, None]


@pytest.mark.parametrize(
    "error",
    [
        InputError("a bad row"),
        ValueError("a bug"),
        RuntimeError("the disk is on fire"),
        OSError(errno.ENOSPC, "no space left"),
        FileNotFoundError("gone"),
        PermissionError("not yours"),
    ],
)
def test_other_errors_are_not_retried(error: Exception) -> None:
    assert retry_wait(error, 0) is None
