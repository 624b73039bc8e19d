"""Runs that are killed at random moments and go on; what each leaves is compared with an undisturbed run."""

import random
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.warm import Life, Warm
from tests.support.stores import digests, temporaries


@dataclass
class Kills:
    """Counts of killed and resumed runs, of homes that were finished and files that were compared; and every fault."""

    killed: int = 0
    resumed: int = 0
    finished: int = 0
    compared: int = 0
    faults: list[str] = field(default_factory=list)


def kill_and_resume(warm: Warm, photos: Path, folder: Path, kills: int, seed: int) -> Kills:
    """Kill runs on homes in `folder` until `kills` were killed, let the last one finish, and compare after each.

    Three of four runs die before a random operation on files, the others after a random time. After every kill each
    file in the store must equal that of an undisturbed run, and no file may be gone.
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
        now = digests(home / "store")
        _compare(counts, f"{home.name} after {life.kill_at or life.kill_after}", before, now, whole)
        before = now
        if end.status == -9:
            continue
        counts.finished += 1
        if end.status:
            counts.faults.append(f"{home.name} ended with {end.status}: {end.log[-800:]}")
        left = temporaries(home / "store")
        if now.keys() != whole.keys() or left:
            counts.faults.append(f"{home.name}: {sorted(now.keys() ^ whole.keys())} {left}")
        if counts.killed >= kills:
            return counts
        number, before = number + 1, {}
        home = folder / f"home{number}"


def undisturbed(warm: Warm, photos: Path, home: Path) -> tuple[dict[str, str], int]:
    """Return the digests of what an undisturbed run stores, and how many operations on files it makes."""
    end = warm.live(Life(str(home), str(photos)))[0]
    assert end.status == 0, end.log
    return digests(home / "store"), end.operations


def _compare(counts: Kills, place: str, before: dict[str, str], now: dict[str, str], whole: dict[str, str]) -> None:
    counts.compared += len(now)
    counts.faults += [f"{place}: {name} is another file" for name in now if now[name] != whole.get(name)]
    counts.faults += [f"{place}: {name} is gone" for name in before if name not in now]
