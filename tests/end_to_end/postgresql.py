"""A PostgreSQL server for one test: on loopback, in a temporary folder, with a password."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2

from tests.support.processes import free_port, running, wait_until

PASSWORD = "p@ss/word: 1%"
"""With characters that a URL must escape."""


def server_program(name: str) -> str:
    """Return the path of a program of PostgreSQL; Debian keeps them off the PATH."""
    found = shutil.which(name) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default=None)
    assert found, f"No {name} on this machine; install the package postgresql."
    return found


def connect(variables: dict[str, str]) -> psycopg2.extensions.connection:
    """Return a connection to the server of these environment variables."""
    named = {name.removeprefix("LANDMARK_POSTGRES_").lower(): value for name, value in variables.items()}
    return psycopg2.connect(dbname=named.pop("database"), **named)


@contextmanager
def postgresql_server() -> Iterator[dict[str, str]]:
    """Run a server with an empty database; yield the environment variables of dagster.postgresql.yaml."""
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    port = str(free_port())
    variables = {
        "LANDMARK_POSTGRES_HOST": "127.0.0.1",
        "LANDMARK_POSTGRES_PORT": port,
        "LANDMARK_POSTGRES_DATABASE": "postgres",
        "LANDMARK_POSTGRES_USER": "landmarks",
        "LANDMARK_POSTGRES_PASSWORD": PASSWORD,
    }

    def answers() -> bool:
        try:
            connect(variables).close()
        except psycopg2.OperationalError:
            return False
        return True

    with tempfile.TemporaryDirectory(prefix="postgresql") as name:
        folder = Path(name)
        (folder / "password").write_text(PASSWORD)
        if user:
            for path in (folder, folder / "password"):
                shutil.chown(path, user)
        make = [
            server_program("initdb"),
            "--pgdata",
            name + "/data",
            "--username",
            "landmarks",
            "--no-sync",
            "--locale=C",
        ]
        make += ["--auth=scram-sha-256", "--pwfile", name + "/password", "--encoding=UTF8"]
        subprocess.run(make, user=user, cwd=name, check=True, capture_output=True)
        serve = [server_program("postgres"), "-D", name + "/data", "-h", "127.0.0.1", "-p", port, "-k", name, "-F"]
        with running(serve, dict(os.environ), folder / "log", user=user):
            wait_until(answers, "PostgreSQL to answer", 60)
            yield variables
