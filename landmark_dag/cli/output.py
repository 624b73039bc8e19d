"""What the commands print: tables, one JSON object with --json, and a progress bar on stderr."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import click

FILE = click.Path(path_type=Path)
"""The type of an argument or option that names a file or folder."""


def json_option(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option --json, passed to it as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")(command)


def show(summary: dict[str, Any], as_json: bool) -> None:
    """Print a summary as a table of two columns, or as one JSON object."""
    if as_json:
        click.echo(json.dumps(summary))
    else:
        print_table(["", ""], [[name.replace("_", " "), value] for name, value in summary.items()])


def print_table(header: list[str], rows: list[list[Any]]) -> None:
    """Print rows for people; numbers to the right, floats with two digits."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, show_header=any(header))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*("-" if x is None else f"{x:.2f}" if isinstance(x, float) else str(x) for x in row))
    Console().print(table)


class ProgressBar:
    """Shows the steps of a pipeline as they run; a context manager, and a pipeline.Watcher."""

    def __init__(self) -> None:
        """Draw nothing yet."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        # A copy of stderr: Dagster sends stderr itself to a file while a step runs.
        console = Console(file=os.fdopen(os.dup(2), "w", encoding="utf-8"))
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            redirect_stdout=False,  # what steps print belongs to Dagster's logs
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> "ProgressBar":
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing; the last state stays on the terminal."""
        self._progress.stop()

    def count(self, description: str) -> Callable[[int, int], None]:
        """Return what shows under `description` how many of how many things are done."""
        return lambda done, total: self._progress.update(
            self._task, description=description, completed=done, total=total
        )

    def begin(self, steps: int) -> None:
        """Start over with so many steps."""
        self._progress.update(self._task, total=steps, completed=0)

    def step(self, asset: str, state: str) -> None:
        """Show the step that runs, and count it when it is done."""
        if state == "started":
            self._progress.update(self._task, description=asset)
        elif state == "succeeded":
            self._progress.update(self._task, description="done", advance=1)

    def warn(self, message: str) -> None:
        """Print a warning above the bar."""
        self._progress.console.print(f"[yellow]{message}", highlight=False)
