"""Runs that are killed at random moments and go on: what is stored after each, beside an undisturbed run."""

import random
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.homes import stored, unfinished
from tests.faults.warm import Life, Warm


@dataclass
class Kills:
    """What came of a number of kills: how many, how many runs went on after one, and what was not as it should be."""

    killed: int = 0
    resumed: int = 0
    finished: int = 0
    compared: int = 0
    faults: list[str] = field(default_factory=list)


def kill_and_resume(warm: Warm, photos: Path, folder: Path, kills: int, seed: int) -> Kills:
    """Kill runs on homes in `folder` until `kills` were killed, and let the last one finish; compare all the way.

    Three of four die before a random operation on files, the others after a random time. After every kill each file
    in the store must be the very one of an undisturbed run, and none that was there may be gone.
    """
    whole, operations = undisturbed(warm, photos, folder / "whole")
    chance = random.Random(seed)
    counts = Kills()
    number, before = 0, dict[str, str]()
    home = folder / f"home{number}"
    while True:
        life = Life(str(home), str(photos))
        if counts.killed < kills:
            at = chance.randint(1, max(2, operations // 4))
            disturbed = {"kill_at": at} if chance.random() < 0.75 else {"kill_after": chance.uniform(0.5, 12.0)}
            life = Life(str(home), str(photos), **disturbed)  # type: ignore[arg-type]
        counts.resumed += bool(before) or home.exists()
        end = warm.live(life)[0]
        counts.killed += end.status == -9
        now = stored(home)
        _compare(counts, f"{home.name} after {life.kill_at or life.kill_after}", before, now, whole)
        before = now
        if end.status == -9:
            continue
        counts.finished += 1
        if end.status:
            counts.faults.append(f"{home.name} ended with {end.status}: {end.log[-800:]}")
        if now.keys() != whole.keys() or unfinished(home):
            counts.faults.append(f"{home.name}: {sorted(now.keys() ^ whole.keys())} {unfinished(home)}")
        if counts.killed >= kills:
            return counts
        number, before = number + 1, {}
        home = folder / f"home{number}"


def undisturbed(warm: Warm, photos: Path, home: Path) -> tuple[dict[str, str], int]:
    """Return what an undisturbed run stores, and how many operations on files it makes."""
    end = warm.live(Life(str(home), str(photos)))[0]
    assert end.status == 0, end.log
    return stored(home), end.operations


def _compare(counts: Kills, place: str, before: dict[str, str], now: dict[str, str], whole: dict[str, str]) -> None:
    counts.compared += len(now)
    counts.faults += [f"{place}: {name} is another file" for name in now if now[name] != whole.get(name)]
    counts.faults += [f"{place}: {name} is gone" for name in before if name not in now]
