"""The commands that materialize the whole graph: `demo` on rendered photos, `run` on the user's photos."""

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import click

from landmark_dag.cli.output import FILE, ProgressBar, json_option, print_table, show
from landmark_dag.settings.home import HomeSettings
from landmark_dag.settings.keys import PLACES, assigned

_SETTINGS = {
    "photos": "photos",
    "profile": "profile",
    "store": "store",
    "backbone": "network.backbone",
    "weights": "network.weights",
    "local_features": "local_features.kind",
    "shards": "dataset.shards",
}
"""The settings that have an option of their own."""


@click.command()
@click.option("--home", type=FILE, default=Path("home/demo"), show_default=True, help="Folder for photos and results.")
@json_option
def demo(home: Path, as_json: bool) -> None:
    """Run the whole pipeline on rendered photos of invented landmarks.

    Results that are stored already are not computed again.
    """
    from landmark_dag.demo.rendering import render_photos
    from landmark_dag.settings.demo import RenderingSettings

    photos = home.absolute() / "photos"
    if not photos.exists():
        unfinished = photos.with_name(".photos.tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        with ProgressBar() as bar:
            render_photos(unfinished, RenderingSettings(), bar.count("rendering photos"))
        unfinished.rename(photos)
    _run(home, HomeSettings(str(photos), "demo"), as_json)


@click.command()
@click.option("--photos", required=True, help="Folder with train/, index/ and query/, or the root URL of a dataset.")
@click.option("--home", type=FILE, help="Folder for the results.  [default: home/NAME of the photos]")
@click.option("--profile", help="Group of settings: photos, demo or gldv2.  [default: the home's, else photos]")
@click.option("--backbone", help="Network from timm: the setting network.backbone.")
@click.option("--weights", help="First weights: a safetensors or pth file, or `hub`: the setting network.weights.")
@click.option(
    "--local-features", help="Local features that cleaning matches photos by: the setting local_features.kind."
)
@click.option("--store", help="Folder or URL (s3://…) for the results.  [default: the home's, else HOME/store]")
@click.option(
    "--shards",
    help="Shards of a dataset to use, such as train/000-009,index/000-001,query/000-000: the setting dataset.shards.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any setting, such as training.epochs=20; again for each. `landmark-dag settings` lists them all.",
)
@click.option("--settings-only", is_flag=True, help="Store the settings and stop, because a cluster does the work.")
@json_option
def run(
    home: Path | None, assignments: Sequence[str], settings_only: bool, as_json: bool, **options: str | None
) -> None:
    """Run the whole pipeline on your photos.

    Results that are stored already are not computed again. Settings that you give are stored in HOME/settings.toml and
    hold for later runs, the Dagster UI and searches too.
    """
    given = [f"{_SETTINGS[option]}={text}" for option, text in options.items() if text is not None]
    values = assigned([*given, *assignments])
    home = home or Path("home") / values["photos"].rstrip("/").rsplit("/", 1)[-1]
    places = {name: values.pop(name) for name in PLACES if name in values}
    settings = HomeSettings(**places, values=values)
    if settings_only:
        from landmark_dag.orchestration.in_process import prepare_home

        prepare_home(home.absolute(), settings)
        show({"home": str(home.absolute()), "store": settings.store or None}, as_json)
    else:
        _run(home, settings, as_json)


def _run(home: Path, settings: HomeSettings, as_json: bool) -> None:
    """Prepare the home, run the pipeline under a progress bar, and print the main results."""
    from landmark_dag.orchestration.in_process import prepare_home, run_pipeline, summary

    started = time.monotonic()
    prepare_home(home.absolute(), settings)
    from landmark_dag.definitions import defs  # reads the home that prepare_home sets

    with ProgressBar() as bar:
        run_pipeline(defs(), bar)
    result = summary(time.monotonic() - started)
    if as_json:
        click.echo(json.dumps(result))
        return
    rows = [[f"mAP@100 {step}", value] for step, value in result["map_at_100"].items()]
    kept = f"{result['cleaning']['kept']} of {result['cleaning']['photos']} train photos"
    print_table(["", ""], [*rows, ["kept by cleaning", kept], ["seconds", result["seconds"]]])
    click.echo(f"Gallery: {result['gallery']}")
    click.echo(f"Open the Dagster UI on this home: make dev LANDMARK_HOME={home}")
