"""The command `settings`: lists every setting of a home, sets some, and takes some out of its file."""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from landmark_dag.cli.output import FILE, json_option
from landmark_dag.settings.catalogue import ListedSetting, settings_of
from landmark_dag.settings.definition import shown
from landmark_dag.settings.home import changed_settings, home_folder, settings_path
from landmark_dag.settings.keys import assigned


class _ListByDefault(click.Group):
    """A group that lists the settings if no subcommand is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ListByDefault)
def settings() -> None:
    """List or change the settings of a home.

    They are in HOME/settings.toml, which holds only what differs from the profile. The Dagster UI, schedules, sensors,
    `run`, `search` and the checks all use them.
    """


def _home_option(command: Callable[..., None]) -> Callable[..., None]:
    help_text = "Folder of the results.  [default: LANDMARK_HOME or home/demo]"
    return click.option("--home", type=FILE, help=help_text)(command)


@settings.command("list")
@_home_option
@json_option
def list_settings(home: Path | None, as_json: bool) -> None:
    """Print every setting with its value, unit, range and meaning, and where the value comes from."""
    listed = settings_of(_absolute(home))
    if as_json:
        click.echo(json.dumps({"home": str(_absolute(home)), "settings": [setting.as_json() for setting in listed]}))
    else:
        _print(listed)


@settings.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="KEY=VALUE...")
@_home_option
@json_option
def set_settings(assignments: Sequence[str], home: Path | None, as_json: bool) -> None:
    """Set some settings, such as training.epochs=20 embedding.scales=0.75,1,1.25.

    A value equal to the profile's is taken out of the file.
    """
    _change(_absolute(home), assigned(assignments), (), as_json)


@settings.command("unset")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@_home_option
@json_option
def unset_settings(keys: Sequence[str], home: Path | None, as_json: bool) -> None:
    """Take some settings out of the file, so that the profile's values hold."""
    _change(_absolute(home), {}, keys, as_json)


def _absolute(home: Path | None) -> Path:
    return home.absolute() if home else home_folder()


def _change(home: Path, values: Mapping[str, Any], unset: Sequence[str], as_json: bool) -> None:
    """Change the settings of `home`, and print those that were changed as they are now."""
    changed_settings(home, values, unset).write()
    keys = [*values, *unset]
    listed = [setting for setting in settings_of(home) if setting.key in keys]
    if as_json:
        click.echo(json.dumps({"file": settings_path(home), "settings": [setting.as_json() for setting in listed]}))
        return
    for setting in listed:
        click.echo(f"{setting.key} = {shown(setting.value)}  ({setting.source})")
    click.echo(f"Stored in {settings_path(home)}")


def _print(listed: Sequence[ListedSetting]) -> None:
    """Print settings for people, a table for each section."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for section, members in groupby(listed, key=lambda setting: setting.key.rpartition(".")[0]):
        table = Table("setting", "value", "from", "meaning", title=section, title_justify="left", box=None)
        table.columns[0].no_wrap = True
        for setting in members:
            name, help_text = setting.key.rpartition(".")[2], setting.definition.help
            table.add_row(*map(Text, (name, shown(setting.value), setting.source, help_text)))
        console.print(table)
        console.print()
