"""Runs that are killed, short of disk, given a wrong clock or started twice leave what an undisturbed run leaves.

A few of each; `make faults` does many.
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.disturbances import Found, clock_jumps, failing_store, fails_and_goes_on, two_at_once
from tests.faults.kills import kill_and_resume, undisturbed
from tests.faults.warm import Life, Warm
from tests.support.tiny_profile import render_tiny_photos


@dataclass
class Place:
    warm: Warm
    photos: Path
    folder: Path


@dataclass
class Calm:
    """What an undisturbed run stores, and how many operations on files it makes."""

    stored: dict[str, str]
    operations: int


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("faults")
    render_tiny_photos(folder / "photos")
    with Warm(folder / "warm") as warm:
        yield Place(warm, folder / "photos", folder)


@pytest.fixture(scope="module")
def calm(place: Place) -> Calm:
    return Calm(*undisturbed(place.warm, place.photos, place.folder / "calm"))


def test_killed_runs_resume_to_the_same_files_as_an_undisturbed_run(place: Place) -> None:
    kills = kill_and_resume(place.warm, place.photos, place.folder, 2, seed=5)
    assert (kills.killed, kills.faults) == (2, [])
    assert kills.resumed >= 2 and kills.compared > 50


@pytest.mark.slow
def test_of_two_runs_at_once_on_one_home_one_succeeds_and_the_other_is_refused(place: Place, calm: Calm) -> None:
    found = Found()
    two_at_once(place.warm, place.photos, place.folder / "two", calm.stored, found)
    assert found.faults == []


@pytest.mark.slow
def test_a_clock_that_jumps_changes_no_byte(place: Place, calm: Calm) -> None:
    found = Found()
    clock_jumps(place.warm, place.photos, place.folder / "clock", calm.stored, found)
    assert found.faults == []


@pytest.mark.slow
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["full disk", "failing disk"])
def test_a_full_or_failing_disk_stops_the_run_and_loses_nothing(place: Place, calm: Calm, code: int) -> None:
    found = Found()
    for share in (0.3, 0.7):
        home = place.folder / f"{code} {share}"
        life = Life(str(home), str(place.photos), fault=code, fault_at=int(calm.operations * share), fault_count=1000)
        assert fails_and_goes_on(place.warm, life, calm.stored, found)
    assert found.faults == []


@pytest.mark.slow
@pytest.mark.parametrize("size", [1000, 30_000])
def test_a_file_size_limit_stops_the_run_and_loses_nothing(place: Place, calm: Calm, size: int) -> None:
    found = Found()
    life = Life(str(place.folder / f"small{size}"), str(place.photos), largest_file=size)
    assert fails_and_goes_on(place.warm, life, calm.stored, found)
    assert found.faults == []


@pytest.mark.slow
def test_a_failing_shared_location_stops_runs_and_loses_nothing(place: Place, calm: Calm) -> None:
    found = Found()
    failing_store(place.warm, place.photos, place.folder, calm.stored, found)
    assert found.faults == []
