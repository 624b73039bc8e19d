"""The `landmark-dag` command: its entry point, its list of commands, and how it reports failures.

Modules that take long to import are imported by the commands that need them, so that --help is quick.
"""

import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from types import FrameType

import click

from landmark_dag.cli.evaluate import evaluate
from landmark_dag.cli.run import demo, run
from landmark_dag.cli.search import search
from landmark_dag.cli.settings import settings
from landmark_dag.cli.tables import match, rerank, vote
from landmark_dag.errors import InputError, causes


@dataclass
class GlobalOptions:
    """The options before the name of a command."""

    debug: bool = False


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (default: this process's) and exit.

    The exit status is 0 on success, 1 for a bug, 2 for bad input and 130 after Ctrl-C.
    """
    options = GlobalOptions()
    pressed = Event()
    with _recorded_ctrl_c(pressed):
        try:
            status = commands.main(arguments, prog_name="landmark-dag", standalone_mode=False, obj=options)
        except Exception as error:
            status = _report(error, pressed.is_set(), options.debug)
    sys.exit(status or 0)


@click.group()
@click.option("--debug", is_flag=True, help="Show the traceback of input errors too.")
@click.version_option(package_name="landmark-dag")
@click.pass_obj
def commands(options: GlobalOptions, debug: bool) -> None:
    """Landmark retrieval with two-stage discriminative re-ranking.

    Exit status: 0 success, 1 bug, 2 bad input, 130 interrupted by Ctrl-C.
    """
    options.debug = debug


for command in (demo, run, search, settings, vote, rerank, match, evaluate):
    commands.add_command(command)


@contextmanager
def _recorded_ctrl_c(pressed: Event) -> Iterator[None]:
    """Set `pressed` on Ctrl-C, which still raises KeyboardInterrupt.

    Compiled code that calls Python, such as numba's compiler, may turn a KeyboardInterrupt into another error.
    """

    def handle(signal_number: int, frame: FrameType | None) -> None:
        pressed.set()
        signal.default_int_handler(signal_number, frame)

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, as under nohup
        yield
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _report(error: BaseException, interrupted: bool, debug: bool) -> int:
    """Print on stderr why the command failed; return the exit status."""
    if isinstance(error, click.Abort) and error.__cause__:  # how click wraps Ctrl-C, and any EOFError
        error = error.__cause__
    if interrupted or isinstance(error, KeyboardInterrupt):
        message = str(error) if isinstance(error, KeyboardInterrupt) else ""
        click.echo(message or "Interrupted.", err=True)
        return 130
    sentence = _input_error(error)
    if debug or sentence is None:
        traceback.print_exception(error)
    click.echo(sentence or "This is a bug in landmark-dag; please report it with the traceback above.", err=True)
    return 1 if sentence is None else 2


def _input_error(error: BaseException) -> str | None:
    """Return the sentence of an error that the user can mend, None for a bug.

    The user can mend bad arguments, an InputError, what was explicitly raised from an InputError, and an OSError. An
    error that was raised while another one was handled is a bug, also if the other one is not.
    """
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error.format_message()
    if isinstance(error, click.ClickException):
        hint = f" (see `{error.ctx.command_path} --help`)" if isinstance(error, click.UsageError) and error.ctx else ""
        return _one_line(error.format_message()) + hint
    if isinstance(error, OSError):
        return _one_line(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    return next((_one_line(str(cause)) for cause in causes(error) if isinstance(cause, InputError)), None)


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())
