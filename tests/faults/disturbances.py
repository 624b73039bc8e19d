"""Runs that are disturbed otherwise than by a kill: full disks, failing disks, clocks that jump, two runs at once."""

import errno
import os
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.faults.kills import undisturbed
from tests.faults.warm import End, Life, Warm
from tests.support.stores import digests, temporaries

YEARS = 10 * 365 * 86400.0

MOST_RUNS = 30
"""Runs after which a home on failing storage must be finished."""


@dataclass
class Found:
    """Lines that say what was done, and what went wrong."""

    done: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def disturbances(warm: Warm, photos: Path, folder: Path) -> Found:
    """Disturb runs in each way, let each home go on undisturbed, and compare it with an undisturbed home."""
    found = Found()
    whole, operations = undisturbed(warm, photos, folder / "calm")
    for name, code in (("a full disk", errno.ENOSPC), ("a disk that fails", errno.EIO)):
        stopped = 0
        for number in range(1, 7):
            at = operations * number // 7
            life = Life(str(folder / f"{code}-{number}"), str(photos), fault=code, fault_at=at, fault_count=1000)
            stopped += fails_and_goes_on(warm, life, whole, found)
        found.done.append(f"{name}: {stopped} of 6 runs stopped, all went on")
    if os.geteuid() == 0:
        size = sum(path.stat().st_size for path in (folder / "calm").rglob("*") if path.is_file())
        shares = (0.2, 0.5, 0.8)
        stopped = sum(
            full_tmpfs(warm, photos, folder / f"full{share}", whole, int(size * share), found) for share in shares
        )
        found.done.append(f"a tmpfs that is full: {stopped} of {len(shares)} runs stopped, all went on")
    stopped = sum(
        fails_and_goes_on(warm, Life(str(folder / f"small{size}"), str(photos), largest_file=size), whole, found)
        for size in (1000, 30_000)
    )
    found.done.append(f"files that may not grow: {stopped} of 2 runs stopped, all went on")
    failing_store(warm, photos, folder, whole, found)
    clock_jumps(warm, photos, folder / "clock", whole, found)
    two_at_once(warm, photos, folder / "two", whole, found)
    return found


def fails_and_goes_on(warm: Warm, life: Life, whole: dict[str, str], found: Found) -> bool:
    """Return whether the disturbed run failed.

    Its home must hold whole files only, and the next run must bring it to the state of an undisturbed home.
    """
    end, store = warm.live(life)[0], Path(life.home) / "store"
    wrong = [name for name, digest in digests(store).items() if digest != whole.get(name)]
    wrong += temporaries(store)
    if wrong:
        found.faults.append(f"{life}: {wrong}")
    again = warm.live(Life(life.home, life.photos))[0]
    if again.status or digests(store) != whole:
        found.faults.append(f"{life} did not go on: {again.log[-600:]}")
    return end.status != 0


def full_tmpfs(warm: Warm, photos: Path, home: Path, whole: dict[str, str], size: int, found: Found) -> bool:
    """Return whether a run on a file system of `size` bytes failed.

    With more space, the next run must bring the home to the state of an undisturbed one. Needs root: it mounts a
    tmpfs at `home`.
    """
    home.mkdir()
    store = home / "store"
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(home)], check=True)
    try:
        end = warm.live(Life(str(home), str(photos)))[0]
        wrong = [name for name, digest in digests(store).items() if digest != whole.get(name)]
        subprocess.run(["mount", "-o", "remount,size=1g", str(home)], check=True)
        again = warm.live(Life(str(home), str(photos)))[0]
        wrong += temporaries(store)
        if wrong or again.status or digests(store) != whole:
            found.faults.append(f"tmpfs of {size} bytes: {wrong} {again.log[-600:]}")
        return end.status != 0
    finally:
        subprocess.run(["umount", str(home)], check=True)


def failing_store(warm: Warm, photos: Path, folder: Path, whole: dict[str, str], found: Found) -> None:
    """Run one home, then another, on a shared location that fails and cuts copies short, until each run succeeds.

    In the end the location must hold what an undisturbed run stores. Neither it nor the copies may ever hold a part of
    a file.
    """
    shared = folder / "shared"
    shared.mkdir()
    stopped = 0
    for number in range(2):
        life = Life(str(folder / f"machine{number}"), str(photos), store=str(shared), store_fails=0.02)
        for seed in range(MOST_RUNS):
            end = warm.live(replace(life, store_seed=seed))[0]
            for place in (shared, *Path(life.home, "shared").glob("*")):
                wrong = [name for name, digest in digests(place).items() if digest != whole.get(name)]
                found.faults += [f"shared location, run {seed}: {place / name} is another file" for name in wrong]
            stopped += end.status != 0
            if end.status == 0:
                break
        left = temporaries(shared) + temporaries(Path(life.home))
        if end.status or digests(shared) != whole or left:
            found.faults.append(f"{life.home} with {shared}: {left} {end.log[-600:]}")
    found.done.append(f"a shared location that fails: {stopped} runs stopped, both machines went on")


def clock_jumps(warm: Warm, photos: Path, home: Path, whole: dict[str, str], found: Found) -> None:
    """Run with a clock ten years ahead until killed, then ten years behind, then with the right time."""
    calm = Life(str(home), str(photos))
    ends = [warm.live(replace(calm, clock=YEARS, kill_at=120))[0], warm.live(replace(calm, clock=-YEARS))[0]]
    ends.append(warm.live(calm)[0])
    if [end.status for end in ends] != [-9, 0, 0] or digests(home / "store") != whole:
        found.faults.append(f"clock jumps: {[end.status for end in ends]} {ends[-1].log[-600:]}")
    found.done.append("clock jumps of 10 years ahead and back: equal")


def two_at_once(warm: Warm, photos: Path, home: Path, whole: dict[str, str], found: Found) -> list[End]:
    """Start two runs on one home at once: one succeeds, the other says so, and the home is as one run leaves it."""
    lives = [Life(str(home), str(photos), log=f"run{number}.log") for number in range(2)]
    ends, store = warm.live(*lives), home / "store"
    succeeded = sum(end.status == 0 for end in ends)
    refused = sum(end.status == 1 and "Another run works on" in end.log for end in ends)
    if succeeded < 1 or succeeded + refused < 2 or digests(store) != whole or temporaries(store):
        found.faults.append(f"two at once: {[end.status for end in ends]} {[end.log[-600:] for end in ends]}")
    found.done.append(f"two runs at once on one home: {succeeded} succeeded, {refused} refused, equal")
    return ends
