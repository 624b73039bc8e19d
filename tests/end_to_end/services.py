"""Dagster's own processes on a home, started and stopped as a person in a terminal does, and asked through GraphQL."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(holds: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    """Return the first true value of `holds`; fails, naming `what` was waited for, when none comes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := holds():
            return value
        time.sleep(0.2)
    raise AssertionError(f"Waited {seconds} s in vain for {what}.")


def home_environment(home: Path, **more: str) -> dict[str, str]:
    """Return this process's environment for the home folder `home`, without settings of other homes."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("LANDMARK_", "DAGSTER_"))}
    return inherited | {"LANDMARK_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), **more}


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], log: Path, user: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` in the repository, as `user`, until the block ends; then interrupt it as Ctrl-C does.

    What it prints goes to `log`. A test runner may ignore SIGINT, and its children with it: the default is set again.
    """

    def default_signals() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(environment),
            stdout=output,
            stderr=output,
            user=user,
            start_new_session=True,
            preexec_fn=default_signals,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(120)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # what is left where it did not end as it should


@dataclass(frozen=True)
class Webserver:
    """A Dagster webserver that answers."""

    url: str
    log: Path

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return the data that a GraphQL query is answered with; fails on an error."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return dict(answer["data"])

    def answers(self) -> bool:
        """Return whether the server is up and has loaded every code location, well or badly."""
        try:
            found = self.ask("{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }")
        except OSError:
            return False
        entries = found["workspaceOrError"]["locationEntries"]
        return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)
