"""Audits the dependencies: known vulnerabilities, licences, and whether they are still maintained.

    python -m tools.audit

Asks pip-audit about every pin of constraints.txt, writes docs/licences.md from the metadata of the installed
distributions, and asks the package index with uv which direct dependencies had no release for two years. Exit status:
0 for no finding, 1 for a vulnerability or an unmaintained dependency, 3 if the vulnerability service or the package
index did not answer.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import datetime, timedelta
from importlib.metadata import Distribution, PackageNotFoundError, distribution, requires
from pathlib import Path

from packaging.requirements import Requirement

_ROOT = Path(__file__).parents[1]
_CONSTRAINTS, _LICENCES = _ROOT / "constraints.txt", _ROOT / "docs" / "licences.md"
_YEARS = 2
"""Years without a release after which a dependency counts as unmaintained."""


def main() -> None:
    """Audit, print the findings, and exit."""
    write_licences()
    statuses = [vulnerabilities(), unmaintained()]
    sys.exit(1 if 1 in statuses else max(statuses))


def vulnerabilities() -> int:
    """Print the known vulnerabilities of the pins; return 0 for none, 1 for some, 3 if nothing could be checked."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(_CONSTRAINTS), "--no-deps", "--disable-pip"]
    answer = subprocess.run([*command, "--progress-spinner", "off", "-f", "json"], capture_output=True, text=True)
    try:
        pins = json.loads(answer.stdout)["dependencies"]
    except ValueError:
        pins = []
    checked = [pin for pin in pins if "vulns" in pin]
    if not checked:
        print("Vulnerabilities: NOTHING WAS CHECKED: the vulnerability service did not answer. Run this online.")
        return 3
    found = [(pin["name"], pin["version"], one["id"]) for pin in checked for one in pin["vulns"]]
    print(
        f"Vulnerabilities: {len(found)} in {len(checked)} of {len(pins)} pins; the others are unknown to the service."
    )
    for name, version, identifier in found:
        print(f"  {name} {version}: {identifier}")
    return int(bool(found))


def unmaintained() -> int:
    """Print the direct dependencies whose pinned release is the one that was newest two years ago.

    Returns 0 for none, 1 for some, 3 if the package index did not answer.
    """
    names = sorted({Requirement(text).name for text in requires("landmark-dag") or ()})
    since = (datetime.now() - timedelta(days=365 * _YEARS)).date().isoformat()
    uv = shutil.which("uv") or str(_ROOT / ".uv" / "bin" / "uv")
    old: dict[str, str] = {}
    for name in names:  # one by one, since some had no release for this Python then
        with tempfile.NamedTemporaryFile("w", suffix=".in") as requirements:
            requirements.write(name)
            requirements.flush()
            command = [uv, "pip", "compile", "--quiet", "--no-deps", "--no-header", "--no-annotate"]
            done = subprocess.run(
                [*command, "--exclude-newer", since, requirements.name], capture_output=True, text=True
            )
        if done.returncode and "No solution found" not in done.stderr:
            print("Maintenance: NOTHING WAS CHECKED: the package index did not answer. Run this online.")
            return 3
        old |= _pins(done.stdout.splitlines())
    pinned = _pins(_CONSTRAINTS.read_text().splitlines())
    left = [name for name, version in old.items() if pinned.get(name) == version]
    print(f"Maintenance: {len(names)} direct dependencies, {len(left)} without a release since {since}.")
    for name in left:
        print(f"  {name} {pinned[name]}")
    return int(bool(left))


def write_licences() -> None:
    """Write docs/licences.md: every distribution that is installed with the project, and its licence."""
    rows = [
        f"| {one.name} | {licence(one)} |" for one in sorted(closure("landmark-dag"), key=lambda one: one.name.lower())
    ]
    unknown = sum(row.endswith("| not stated |") for row in rows)
    text = (
        "# Licences of what is installed with the project\n\n"
        "Written by `make audit` from the metadata of the installed distributions, without the optional extras.\n\n"
        "| distribution | licence |\n|---|---|\n" + "\n".join(rows) + "\n"
    )
    _LICENCES.write_text(text, encoding="utf-8")
    print(f"Licences: {len(rows)} distributions in {_LICENCES.relative_to(_ROOT)}, {unknown} do not state one.")


def closure(name: str) -> list[Distribution]:
    """Return the installed distributions that `name` needs on this machine, directly or not; `name` is left out."""
    found: dict[str, Distribution] = {}
    waiting = [(name, frozenset[str]())]
    seen = set(waiting)
    while waiting:
        wanted, extras = waiting.pop()
        try:
            one = distribution(wanted)
        except PackageNotFoundError:
            continue
        found[_normal(wanted)] = one
        for text in one.requires or ():
            requirement = Requirement(text)
            if any(_holds(requirement, extra) for extra in extras or {""}):
                further = (requirement.name, frozenset(requirement.extras))
                if further not in seen:
                    seen.add(further)
                    waiting.append(further)
    del found[_normal(name)]
    return list(found.values())


def licence(one: Distribution) -> str:
    """Return the licence that a distribution states: its SPDX expression, classifiers, or first line of text."""
    metadata = one.metadata
    classified = [text.rsplit(" :: ", 1)[-1] for text in metadata.get_all("Classifier") or () if "License ::" in text]
    free = (metadata.get("License") or "").strip().splitlines()
    return metadata.get("License-Expression") or ", ".join(classified) or (free[0][:60] if free else "not stated")


def _holds(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _pins(lines: Iterable[str]) -> dict[str, str]:
    """Return versions by normal name of lines such as `name==1.0 ; marker`."""
    split = (line.split(";")[0].strip().partition("==") for line in lines)
    return {_normal(name): version for name, _, version in split if version}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
