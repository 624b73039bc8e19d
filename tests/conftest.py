"""What all tests share: hypothesis' examples, the order and the cores of workers, and the browser that opens pages.

`make test` tries the same examples every time, `make slow` fresh ones.
"""

import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, expect, sync_playwright

settings.register_profile("fresh", derandomize=False)
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

expect.set_options(timeout=30_000)  # milliseconds; pages are slow on a busy machine

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")

LONGEST = ("end_to_end", "benchmarks", "faults")
"""Folders whose tests start first: a worker that starts one of them last keeps the others waiting."""


def pytest_configure() -> None:
    """Give every worker of pytest-xdist a core of its own.

    Where two processes compute with two threads each on two cores, threads wait for threads that wait for a core: a
    small network trains ten times slower. The processes that a test starts stay on its worker's core.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest tests, and mark each test by the program that it needs, so that it can be left out."""
    items.sort(key=lambda item: item.path.parent.name not in LONGEST)
    for item in items:
        for program in ("browser", "postgresql"):
            if program in getattr(item, "fixturenames", ()):
                item.add_marker(program)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium of this machine.

    It ends with its module: while Playwright is open its event loop counts as running in this thread, and Dagster's
    evaluation of conditions, which calls `asyncio.run`, fails there.
    """
    path = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    assert path, "No Chromium on this machine; install the package chromium."
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield started
        started.close()
