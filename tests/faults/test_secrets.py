"""Passwords and signatures are refused where they would be stored or shown, and hidden in messages and logs."""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from landmark_dag.errors import InputError
from landmark_dag.photos.download import DownloadError, fetch
from landmark_dag.storage.secrets import refuse_secrets, without_secrets
from tests.photos.bucket import HURRY, BucketServer, Fault, serving
from tests.support.processes import ROOT, Webserver, free_port, home_environment, landmark_dag, running, wait_until

SECRETS = ["https://ann:S3CRET@host/data", "https://S3CRET@host/data", "s3://bucket/data?X-Amz-Signature=S3CRET"]


@pytest.mark.parametrize("url", SECRETS)
def test_a_url_with_credentials_is_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(InputError, match=r"\*\*\*.*environment variables") as refused:
        refuse_secrets(url)
    assert "S3CRET" not in str(refused.value)


def test_a_plain_url_is_accepted() -> None:
    for url in ("https://host:8443/a/b", "s3://bucket/data", "file:///data", "memory://x"):
        refuse_secrets(url)


def test_only_users_and_queries_are_hidden_in_a_text() -> None:
    text = "pool(host='h', port=443): /a?sig=S3CRET&x=1 (from https://u:S3CRET@h/p/q?k=S3CRET), mail a@b.c; why? x=1"
    assert (
        without_secrets(text) == "pool(host='h', port=443): /a?*** (from https://***@h/p/q?***), mail a@b.c; why? x=1"
    )


def test_the_command_line_stores_and_prints_no_credentials(tmp_path: Path) -> None:
    done = landmark_dag("run", "--photos", SECRETS[0], "--home", tmp_path / "h")
    assert done.returncode == 2 and "carries a user, a password or a query" in done.stderr
    assert "S3CRET" not in done.stdout + done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "h").exists()


@pytest.mark.parametrize("url", SECRETS)
def test_the_resources_that_the_ui_shows_hold_no_credentials(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("LANDMARK_PHOTOS", url)
    from landmark_dag import definitions

    resource = (definitions.defs().resources or {})["photo_source"]
    assert "S3CRET" not in repr(resource) and "***" in repr(resource)
    with pytest.raises(InputError, match="carries a user"):
        resource.source()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BucketServer]:
    (tmp_path / "bucket").mkdir()
    with serving(tmp_path / "bucket") as server:
        yield server


def test_the_signature_of_a_failed_redirect_is_neither_shown_nor_logged(
    server: BucketServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    signed = f"http://ann:S3CRET@127.0.0.1:{free_port()}/x?X-Amz-Signature=S3CRET&X-Amz-Credential=S3CRET"
    server.faults["/x"] += [Fault(status=302, headers={"Location": signed})] * (HURRY.retries + 1)
    with pytest.raises(DownloadError, match="could not be fetched") as failed:
        fetch(f"{server.url}/x", tmp_path / "x", HURRY)
    shown, cause = str(failed.value) + caplog.text, failed.value.__cause__
    while cause is not None:
        shown, cause = shown + str(cause), cause.__cause__
    assert "S3CRET" not in shown and "***" in shown


def listening(process: int) -> set[str]:
    """Return the addresses at which a process and its children listen, in the hexadecimal form of /proc."""
    children = {process}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            number, _, parent = entry.parent.name, *entry.read_text().rsplit(")", 1)[1].split()[:2]
            if int(parent) in children:
                children.add(int(number))
    sockets = set()
    for child in children:
        with contextlib.suppress(OSError):
            sockets |= {str(link.readlink()) for link in Path(f"/proc/{child}/fd").iterdir() if link.is_symlink()}
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                addresses.add(fields[1].split(":")[0])
    return addresses


@pytest.mark.slow
def test_make_dev_listens_on_this_machine_only(tmp_path: Path) -> None:
    make = ["make", "-n", "dev", f"LANDMARK_HOME={tmp_path}"]
    printed = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    dev = next(line for line in printed.replace("\\\n", " ").splitlines() if " dev -w " in line)
    (tmp_path / "dagster").mkdir()
    shutil.copy(ROOT / "landmark_dag/orchestration/dagster.yaml", tmp_path / "dagster")
    server = Webserver(f"http://127.0.0.1:{free_port()}", tmp_path / "log")
    words = [word for word in shlex.split(dev) if "=" not in word or word.startswith("-")]
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with running([*words, "--port", server.url.split(":")[-1]], home_environment(tmp_path, **path), server.log) as made:
        wait_until(server.answers, "dagster dev to serve its code location", 120)
        assert listening(made.pid) == {"0100007F"}
