"""Running the `landmark-dag` command in this process, on CSV files in the current folder."""

from pathlib import Path

import pytest

from landmark_dag.cli.main import main


def write(**files: str) -> None:
    for name, text in files.items():
        Path(f"{name}.csv").write_text(text, encoding="utf-8")


def status(arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments.split())
    return int(left.value.code or 0)
