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
def test_memory_and_storage_that_fail_are_tried_again_and_each_wait_is_twice_the_last(error: Exception) -> None:
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
def test_what_another_try_would_not_mend_stands(error: Exception) -> None:
    assert retry_wait(error, 0) is None
