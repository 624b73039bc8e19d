"""The long form of the fault harness, `make faults`: prints what it tried and what happened; status 1 for a fault.

`python -m tests.faults [--kills N] [--photos N] [--tables N] [--flips N] [--seed N]`
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.disturbances import disturbances
from tests.faults.hostile_photos import GOOD, tried, write_hostile
from tests.faults.hostile_tables import try_tables
from tests.faults.kills import kill_and_resume
from tests.faults.warm import Warm
from tests.support.tiny_profile import render_tiny_photos


def main() -> None:
    """Run everything in a temporary folder."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--tables", type=int, default=20_000)
    parser.add_argument("--flips", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for step in (_photos, _tables, _flips, _runs):
            started = time.monotonic()
            faults += step(folder, asked)
            print(f"  {time.monotonic() - started:.0f} s", flush=True)
    for fault in faults:
        print(f"FAULT {fault}")
    print("Nothing lost, nothing mixed, nothing half-written." if not faults else f"{len(faults)} faults.")
    sys.exit(bool(faults))


def _photos(folder: Path, asked: argparse.Namespace) -> list[str]:
    hostile = folder / "hostile"
    hostile.mkdir()
    write_hostile(hostile, asked.photos, asked.seed, large=True)
    found = tried(hostile)
    print(
        f"Photos: {found['tried']} files tried, {found['refused']} refused, {found['accepted']} accepted; "
        f"peak memory {found['peak'] / 2**30:.1f} GiB, slowest {found['seconds of the slowest']} s"
    )
    wrong = [name for name in ("without a reason", "files written") if found[name]]
    wrong += [f"{GOOD - found['good accepted']} good ones refused"] if found["good accepted"] != GOOD else []
    return [f"photos: {name}" for name in wrong]


def _tables(folder: Path, asked: argparse.Namespace) -> list[str]:
    (folder / "tables").mkdir()
    found = try_tables(folder / "tables", asked.tables, asked.seed)
    print(f"Tables: {found['tried']} files tried, {found['refused']} refused, {found['accepted']} accepted")
    return []


def _flips(folder: Path, asked: argparse.Namespace) -> list[str]:
    command = [sys.executable, "-m", "tests.faults.damaged_files", str(asked.flips), str(asked.seed)]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        return [f"flipped bits: status {ended.returncode} {ended.stderr[-600:]}"]
    for kind, found in json.loads(ended.stdout).items():
        print(f"Flipped bits: {kind}, {found['tried']} files tried, {found['refused']} refused")
    return []


def _runs(folder: Path, asked: argparse.Namespace) -> list[str]:
    render_tiny_photos(folder / "photos")
    with Warm(folder / "warm") as warm:
        kills = kill_and_resume(warm, folder / "photos", folder, asked.kills, asked.seed)
        print(
            f"Runs: {kills.killed} killed, {kills.resumed} resumed, {kills.finished} homes finished; "
            f"{kills.compared} files compared with an undisturbed run, {kills.compared - len(kills.faults)} equal"
        )
        found = disturbances(warm, folder / "photos", folder)
        for line in found.done:
            print(f"Runs: {line}")
    return kills.faults + found.faults


if __name__ == "__main__":
    main()
