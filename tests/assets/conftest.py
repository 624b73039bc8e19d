"""What the tests of assets share: an instance in memory, and a world over it."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tests.support.worlds import World


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def world(tmp_path: Path, instance: dg.DagsterInstance) -> World:
    return World(tmp_path, instance)
