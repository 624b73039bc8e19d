"""What the commands print: a table or, with --json, one JSON object; and a progress bar on stderr."""

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
    """Print rows for people: numbers on the right, floats with two digits."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, show_header=any(header))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*("-" if x is None else f"{x:.2f}" if isinstance(x, float) else str(x) for x in row))
    Console(markup=False, emoji=False).print(table)


class ProgressBar:
    """A progress bar on stderr for the steps of a pipeline: a context manager, and a Watcher of `in_process`."""

    def __init__(self) -> None:
        """Make the bar; it is drawn on entering the context."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        # A copy of stderr, because Dagster redirects stderr to a file while a step runs.
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
        """Draw the bar."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing. The last state stays on the terminal."""
        self._progress.stop()

    def count(self, description: str) -> Callable[[int, int], None]:
        """Return a function that shows, under `description`, how many things are done and how many there are."""
        return lambda done, total: self._progress.update(
            self._task, description=description, completed=done, total=total
        )

    def begin(self, steps: int) -> None:
        """Start at zero of `steps`."""
        self._progress.update(self._task, total=steps, completed=0)

    def step(self, asset: str, state: str) -> None:
        """Show the name of a step that starts; count a step that succeeds."""
        if state == "started":
            self._progress.update(self._task, description=asset)
        elif state == "succeeded":
            self._progress.update(self._task, description="done", advance=1)

    def warn(self, message: str) -> None:
        """Print a warning above the bar."""
        self._progress.console.print(message, style="yellow", markup=False, emoji=False, highlight=False)
