"""Runs that are killed, starved, given a wrong clock or run twice leave what an undisturbed run leaves.

A few of each; `make faults` does many.
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.disturbances import Found, clock_jumps, failing_store, fails_and_goes_on, two_at_once
from tests.faults.homes import render
from tests.faults.kills import kill_and_resume, undisturbed
from tests.faults.warm import Life, Warm


@dataclass
class Place:
    warm: Warm
    photos: Path
    folder: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("faults")
    render(folder / "photos")
    with Warm(folder / "warm") as warm:
        yield Place(warm, folder / "photos", folder)


def test_killed_runs_go_on_to_the_very_files_of_an_undisturbed_one(place: Place) -> None:
    kills = kill_and_resume(place.warm, place.photos, place.folder, 2, seed=5)
    assert (kills.killed, kills.faults) == (2, [])
    assert kills.resumed >= 2 and kills.compared > 50


@pytest.mark.slow
def test_two_runs_at_once_on_one_home_agree(place: Place) -> None:
    found = Found()
    whole, _ = undisturbed(place.warm, place.photos, place.folder / "whole")
    two_at_once(place.warm, place.photos, place.folder / "two", whole, found)
    assert found.faults == []


@pytest.mark.slow
def test_a_clock_that_jumps_changes_no_byte(place: Place) -> None:
    found = Found()
    whole, _ = undisturbed(place.warm, place.photos, place.folder / "whole")
    clock_jumps(place.warm, place.photos, place.folder / "clock", whole, found)
    assert found.faults == []


@pytest.mark.slow
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["full disk", "failing disk"])
def test_a_disk_that_takes_nothing_more_stops_the_run_and_loses_nothing(place: Place, code: int) -> None:
    found = Found()
    whole, operations = undisturbed(place.warm, place.photos, place.folder / "whole")
    for share in (0.3, 0.7):
        home = place.folder / f"{code} {share}"
        life = Life(str(home), str(place.photos), fault=code, fault_at=int(operations * share), fault_count=1000)
        assert fails_and_goes_on(place.warm, life, whole, found)
    assert found.faults == []


@pytest.mark.slow
def test_a_file_that_may_not_grow_stops_the_run_and_loses_nothing(place: Place) -> None:
    found = Found()
    whole, _ = undisturbed(place.warm, place.photos, place.folder / "whole")
    life = Life(str(place.folder / "small"), str(place.photos), largest_file=30_000)
    assert fails_and_goes_on(place.warm, life, whole, found)
    assert found.faults == []


@pytest.mark.slow
def test_a_shared_location_that_fails_stops_runs_and_loses_nothing(place: Place) -> None:
    found = Found()
    whole, _ = undisturbed(place.warm, place.photos, place.folder / "whole")
    failing_store(place.warm, place.photos, place.folder, whole, found)
    assert found.faults == []
