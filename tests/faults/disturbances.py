"""Runs disturbed otherwise than by a kill: full disks, disks that fail, clocks that jump, two runs at once."""

import errno
import os
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.faults.homes import digests, stored, temporaries, unfinished
from tests.faults.kills import undisturbed
from tests.faults.warm import End, Life, Warm

YEARS = 10 * 365 * 86400.0

MOST_LIVES = 30
"""Runs after which a home on a storage that fails must have come to its end."""


@dataclass
class Found:
    """Lines that tell what was done, and what was not as it should be."""

    told: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def disturbances(warm: Warm, photos: Path, folder: Path) -> Found:
    """Disturb runs in each way, let each home go on undisturbed, and compare it with a home that never was."""
    found = Found()
    whole, operations = undisturbed(warm, photos, folder / "calm")
    for name, code in (("a full disk", errno.ENOSPC), ("a disk that fails", errno.EIO)):
        stopped = 0
        for number in range(1, 7):
            at = operations * number // 7
            life = Life(str(folder / f"{code}-{number}"), str(photos), fault=code, fault_at=at, fault_count=1000)
            stopped += fails_and_goes_on(warm, life, whole, found)
        found.told.append(f"{name}: {stopped} of 6 runs stopped, all went on")
    if os.geteuid() == 0:
        size = sum(path.stat().st_size for path in (folder / "calm").rglob("*") if path.is_file())
        shares = (0.2, 0.5, 0.8)
        stopped = sum(
            full_tmpfs(warm, photos, folder / f"full{share}", whole, int(size * share), found) for share in shares
        )
        found.told.append(f"a tmpfs that is full: {stopped} of {len(shares)} runs stopped, all went on")
    stopped = sum(
        fails_and_goes_on(warm, Life(str(folder / f"small{size}"), str(photos), largest_file=size), whole, found)
        for size in (1000, 30_000)
    )
    found.told.append(f"files that may not grow: {stopped} of 2 runs stopped, all went on")
    failing_store(warm, photos, folder, whole, found)
    clock_jumps(warm, photos, folder / "clock", whole, found)
    two_at_once(warm, photos, folder / "two", whole, found)
    return found


def fails_and_goes_on(warm: Warm, life: Life, whole: dict[str, str], found: Found) -> bool:
    """Whether the disturbed run failed; its home must hold whole files alone, and become as an undisturbed one."""
    end = warm.live(life)[0]
    now = stored(Path(life.home))
    wrong = [name for name in now if now[name] != whole.get(name)]
    if wrong or unfinished(Path(life.home)):
        found.faults.append(f"{life}: {wrong} {unfinished(Path(life.home))}")
    again = warm.live(Life(life.home, life.photos))[0]
    if again.status or stored(Path(life.home)) != whole:
        found.faults.append(f"{life} did not go on: {again.log[-600:]}")
    return end.status != 0


def full_tmpfs(warm: Warm, photos: Path, home: Path, whole: dict[str, str], size: int, found: Found) -> bool:
    """Whether a run on a file system of `size` bytes failed; made larger, the home must become as an undisturbed one.

    Needs root: it mounts a tmpfs at `home`.
    """
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(home)], check=True)
    try:
        end = warm.live(Life(str(home), str(photos)))[0]
        wrong = [name for name, digest in stored(home).items() if digest != whole.get(name)]
        subprocess.run(["mount", "-o", "remount,size=1g", str(home)], check=True)
        again = warm.live(Life(str(home), str(photos)))[0]
        if wrong or again.status or stored(home) != whole or unfinished(home):
            found.faults.append(f"tmpfs of {size} bytes: {wrong} {again.log[-600:]} {unfinished(home)}")
        return end.status != 0
    finally:
        subprocess.run(["umount", str(home)], check=True)


def failing_store(warm: Warm, photos: Path, folder: Path, whole: dict[str, str], found: Found) -> None:
    """Run one home, then another, on a shared location that fails and cuts copies short, until each run ends well.

    The location must come to what an undisturbed run stores, and neither it nor the copies ever hold half a file.
    """
    shared = folder / "shared"
    shared.mkdir()
    stopped = 0
    for number in range(2):
        life = Life(str(folder / f"machine{number}"), str(photos), store=str(shared), store_fails=0.02)
        for seed in range(MOST_LIVES):
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
    found.told.append(f"a shared location that fails: {stopped} runs stopped, both machines went on")


def clock_jumps(warm: Warm, photos: Path, home: Path, whole: dict[str, str], found: Found) -> None:
    """Run with a clock ten years ahead until killed, then ten years behind, then rightly."""
    calm = Life(str(home), str(photos))
    ends = [warm.live(replace(calm, clock=YEARS, kill_at=120))[0], warm.live(replace(calm, clock=-YEARS))[0]]
    ends.append(warm.live(calm)[0])
    if [end.status for end in ends] != [-9, 0, 0] or stored(home) != whole:
        found.faults.append(f"clock jumps: {[end.status for end in ends]} {ends[-1].log[-600:]}")
    found.told.append("clock jumps of 10 years ahead and back: equal")


def two_at_once(warm: Warm, photos: Path, home: Path, whole: dict[str, str], found: Found) -> list[End]:
    """Start two runs on one home at once: one wins and the other says so, and the home is as one run leaves it."""
    lives = [Life(str(home), str(photos), log=f"run{number}.log") for number in range(2)]
    ends = warm.live(*lives)
    succeeded = sum(end.status == 0 for end in ends)
    refused = sum(end.status == 1 and "Another run works on" in end.log for end in ends)
    if succeeded < 1 or succeeded + refused < 2 or stored(home) != whole or unfinished(home):
        found.faults.append(f"two at once: {[end.status for end in ends]} {[end.log[-600:] for end in ends]}")
    found.told.append(f"two runs at once on one home: {succeeded} succeeded, {refused} refused, equal")
    return ends
