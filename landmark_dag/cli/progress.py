"""Progress of a pipeline on a terminal: one bar on stderr, a line for every warning."""

from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class ProgressBar:
    """Shows the steps of a pipeline as they run; a context manager, and a pipeline.Watcher."""

    def __init__(self) -> None:
        """Draw nothing yet."""
        console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
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
