"""The accelerator: which device is taken, and that no two processes take one GPU."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from landmark_dag.errors import InputError
from resources import accelerator
from resources.accelerator import Accelerator, first_free

GPUS = ["cuda:0", "cuda:1"]


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="This machine has no device 'tpu'; set the accelerator to auto or cpu"):
        Accelerator(device="tpu").torch_device()
    assert Accelerator(device="cpu").torch_device() == "cpu"


def other_process(folder: Path) -> subprocess.Popen[str]:
    """Start a process that takes a GPU, prints it, and holds it until its input ends."""
    code = f"from resources.accelerator import first_free; print(first_free({GPUS}), flush=True); input()"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"TMPDIR": str(folder)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(accelerator.__file__).parents[1],
    )


def test_every_process_has_a_gpu_of_its_own_while_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(accelerator, "_HELD", {})
    with other_process(tmp_path) as first:
        assert first.stdout and first.stdout.readline() == "cuda:0\n"
        assert first_free(GPUS) == "cuda:1"
        assert first_free(GPUS) == "cuda:1"
        with other_process(tmp_path) as second:
            _, printed = second.communicate()
        assert "Other runs hold cuda:0, cuda:1; allow no more runs at once than there are GPUs" in printed
        first.kill()
    with other_process(tmp_path) as third:
        assert third.stdout and third.stdout.readline() == "cuda:0\n"
        third.communicate("\n")
