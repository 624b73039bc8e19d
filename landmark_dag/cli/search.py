"""The command `search`: the index photos most like photos of one's own."""

import json
from pathlib import Path

import click

from landmark_dag.cli.output import FILE, json_option, print_table
from landmark_dag.errors import InputError
from landmark_dag.settings.home import home_folder


@click.command()
@click.argument("photos", type=FILE, metavar="PHOTO...", nargs=-1, required=True)
@click.option("--home", type=FILE, help="folder that holds the results  [default: LANDMARK_HOME or home/demo]")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="results to print")
@click.option("--html", type=FILE, help="gallery page to write: each photo with its list after every step")
@json_option
def search(photos: tuple[Path, ...], home: Path | None, top: int, html: Path | None, as_json: bool) -> None:
    """Search the index of a home with photos of your own, and say why each result stands where it does."""
    from landmark_dag.serving.search import search_gallery, search_photos, search_summary

    if html and not html.parent.is_dir():
        raise InputError(f"The folder {html.parent} of {html.name} does not exist; make it first.")
    found = search_photos(home or home_folder(), photos)
    if html:
        from landmark_dag.reports.gallery import render_gallery

        render_gallery(html, search_gallery(found), "Search")
    told = search_summary(found, top)
    if as_json:
        click.echo(json.dumps({"photos": told, "html": str(html) if html else None}))
        return
    for photo in told:
        click.echo(f"{photo['photo']}: {photo['landmark']}, vote confidence {photo['confidence']:.2f}")
        columns = ("rank", "index_id", "landmark", "similarity", "reason")
        print_table(list(columns), [[result[name] for name in columns] for result in photo["results"]])
