"""A real S3 server on loopback, for tests in which several machines share results."""

import atexit
import contextlib
import functools
from collections.abc import Iterator

import pytest
import requests
import s3fs
from moto.server import ThreadedMotoServer

BUCKET = "landmarks"
KEY, SECRET = "a-key-of-this-test", "a-secret-of-this-test"


@contextlib.contextmanager
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve S3 with one empty bucket, and set its address and credentials in the environment; yield the address."""
    address = _started()
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    forget_connections()
    requests.put(f"{address}/{BUCKET}", timeout=10).raise_for_status()
    try:
        yield address
    finally:
        ask_for_credentials(address, False)
        requests.post(f"{address}/moto-api/reset", timeout=10)
        forget_connections()


@functools.cache
def _started() -> str:
    """Start the server of this process and return its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    atexit.register(server.stop)
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def ask_for_credentials(address: str, asked: bool) -> None:
    """Make the server refuse keys that it has not issued, or accept any."""
    free_requests = "0" if asked else "inf"
    requests.post(f"{address}/moto-api/reset-auth", data=free_requests, timeout=10).raise_for_status()
    forget_connections()


def forget_connections() -> None:
    """Make the next request read address and credentials again, as a new process does."""
    s3fs.S3FileSystem.clear_instance_cache()
