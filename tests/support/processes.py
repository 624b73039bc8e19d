"""Processes that tests start and stop as a person in a terminal does: the command, Dagster's own, and its webserver."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def program(name: str) -> str:
    """Return the path of a program that is installed in this environment."""
    return str(Path(sys.executable).with_name(name))


def landmark_dag(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command `landmark-dag` to its end, in an environment without settings of homes but `variables`."""
    command = [program("landmark-dag"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=bare_environment() | variables)


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nothing listens on."""
    with ExitStack() as listeners:
        sockets = [listeners.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(listener.getsockname()[1]) for listener in sockets]


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    return free_ports(1)[0]


def wait_until(holds: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    """Return the first true value of `holds`; fail, naming `what` the test waits for, if none comes in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := holds():
            return value
        time.sleep(0.2)
    raise AssertionError(f"Waited {seconds} s for {what}, which did not come.")


def bare_environment() -> dict[str, str]:
    """Return this process's environment without settings of homes."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("LANDMARK_", "DAGSTER_"))}


def home_environment(home: Path, **more: str) -> dict[str, str]:
    """Return this process's environment for the home folder `home`, without settings of other homes."""
    return bare_environment() | {"LANDMARK_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), **more}


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], log: Path, user: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` in the repository, as `user`, until the block ends; then interrupt it as Ctrl-C does.

    What it prints goes to `log`. A test runner may ignore SIGINT, which its children inherit: the default is set again.
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
                    os.killpg(process.pid, signal.SIGKILL)  # whatever did not end in time


@dataclass(frozen=True)
class Webserver:
    """A Dagster webserver that answers."""

    url: str
    log: Path

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return the data that answers a GraphQL query; fail on an error."""
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
