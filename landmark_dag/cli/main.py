"""The `landmark-dag` command: thin over the project's functions.

Each command prints a table for people, or one JSON object with --json; bad input ends with one sentence on
stderr and exit status 2. Modules that take long to import are imported by the commands that need them.
"""

import sys
from collections.abc import Sequence

import click

from landmark_dag.cli.evaluate import evaluate
from landmark_dag.cli.run import demo, run
from landmark_dag.cli.search import search
from landmark_dag.cli.tables import match, rerank, vote
from landmark_dag.errors import InputError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (default: this process's) and exit with its status."""
    try:
        sys.exit(commands.main(arguments, prog_name="landmark-dag", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
    except click.ClickException as error:
        hint = f" (see `{error.ctx.command_path} --help`)" if isinstance(error, click.UsageError) and error.ctx else ""
        click.echo(" ".join(error.format_message().splitlines()) + hint, err=True)
    except Exception as error:
        click.echo(" ".join(str(_fault_of_input(error)).splitlines()), err=True)
    except click.Abort:
        sys.exit(130)
    sys.exit(2)


def _fault_of_input(error: BaseException) -> BaseException:
    """Return the InputError or OSError that `error` is, or was raised from; raises `error` if there is none."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError | OSError):
            return cause
        cause = cause.__cause__ or cause.__context__
    raise error


@click.group()
@click.version_option(package_name="landmark-dag")
def commands() -> None:
    """Landmark retrieval with two-stage discriminative re-ranking."""


for command in (demo, run, match, search, vote, rerank, evaluate):
    commands.add_command(command)
