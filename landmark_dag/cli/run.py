"""The commands that materialize the whole graph: `demo` on rendered photos, `run` on photos of one's own."""

import json
import shutil
import time
from pathlib import Path
from typing import Literal

import click

from landmark_dag.cli.output import FILE, ProgressBar, json_option, print_table, show
from landmark_dag.settings.home import HomeSettings


@click.command()
@click.option("--home", type=FILE, default=Path("home/demo"), show_default=True, help="folder that holds everything")
@json_option
def demo(home: Path, as_json: bool) -> None:
    """Render photos of landmarks that never were, and materialize the whole graph on them."""
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
@click.option("--photos", required=True, help="folder with train/, index/, query/; or the root URL of a dataset")
@click.option("--home", type=FILE, help="folder that holds every result  [default: home/NAME of the photos]")
@click.option("--backbone", default="", help="timm model  [default: the profile's]")
@click.option("--weights", default="", help="its weights: safetensors, pth or `hub`  [default: the profile's]")
@click.option("--profile", default="photos", show_default=True, help="settings: photos, demo or gldv2")
@click.option(
    "--local-features",
    type=click.Choice(["rootsift", "deep"]),
    help="what photos are matched by, cleaning the labels  [default: the profile's]",
)
@click.option("--store", default="", help="folder or URL (s3://…) that keeps the results  [default: in the home]")
@click.option("--shards", default="", help="shards of a dataset to use, such as train/000-009,index/000-001")
@click.option("--settings-only", is_flag=True, help="store these settings and stop: a cluster does the work")
@json_option
def run(
    photos: str,
    home: Path | None,
    backbone: str,
    weights: str,
    profile: str,
    local_features: Literal["rootsift", "deep"] | None,
    store: str,
    shards: str,
    settings_only: bool,
    as_json: bool,
) -> None:
    """Materialize the whole graph on photos; what is stored already is not computed again."""
    if "://" not in photos:
        photos = str(Path(photos).absolute())
    if weights and weights != "hub":
        weights = str(Path(weights).absolute())
    if store and "://" not in store:
        store = str(Path(store).absolute())
    dataset = {"shards": shards.split(",")} if shards else {}
    home = home or Path("home") / photos.rstrip("/").rsplit("/", 1)[-1]
    settings = HomeSettings(photos, profile, backbone, weights, local_features or "", dataset, store)
    if settings_only:
        from landmark_dag.orchestration.in_process import prepare_home

        prepare_home(home.absolute(), settings)
        show({"home": str(home.absolute()), "store": settings.store or None}, as_json)
    else:
        _run(home, settings, as_json)


def _run(home: Path, settings: HomeSettings, as_json: bool) -> None:
    """Prepare the home, run the pipeline under a progress bar, and print what came out."""
    from landmark_dag.orchestration.in_process import prepare_home, run_pipeline, summary

    started = time.monotonic()
    prepare_home(home.absolute(), settings)
    from landmark_dag.definitions import defs  # it reads the home that prepare_home set

    with ProgressBar() as bar:
        run_pipeline(defs(), bar)
    result = summary(time.monotonic() - started)
    if as_json:
        click.echo(json.dumps(result))
        return
    rows = [[f"mAP@100 {step}", value] for step, value in result["map_at_100"].items()]
    kept = f"{result['cleaning']['kept']} of {result['cleaning']['photos']} train photos"
    print_table(["", ""], [*rows, ["cleaning kept", kept], ["seconds", result["seconds"]]])
    click.echo(f"Gallery: {result['gallery']}")
    click.echo(f"To watch and drive it: make dev LANDMARK_HOME={home}")
