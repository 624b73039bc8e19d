"""What tests share: the browser that opens pages, marks of the tests that need programs, and hypothesis' examples.

`make test` tries the same examples each time, `make slow` fresh ones.
"""

import shutil
from collections.abc import Iterator

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

settings.register_profile("fresh", derandomize=False)
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test by the program it starts, so that `make test` can tell where there is none."""
    for item in items:
        for program in ("browser", "postgresql"):
            if program in getattr(item, "fixturenames", ()):
                item.add_marker(program)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium of this machine.

    It ends with its module: while Playwright is open its event loop counts as running in this thread, and whatever
    else calls `asyncio.run` there, as Dagster's evaluation of conditions does, is refused.
    """
    path = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    assert path, "No Chromium on this machine; install the package chromium."
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield started
        started.close()
