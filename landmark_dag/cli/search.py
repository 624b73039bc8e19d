"""The command `search`: the index photos that are most similar to the user's photos."""

import json
from pathlib import Path

import click

from landmark_dag.cli.output import FILE, json_option, print_table
from landmark_dag.errors import InputError
from landmark_dag.settings.home import home_folder

_COLUMNS = ["rank", "index_id", "landmark", "similarity", "reason"]


@click.command()
@click.argument("photos", type=FILE, metavar="PHOTO...", nargs=-1, required=True)
@click.option("--home", type=FILE, help="Folder with the results.  [default: LANDMARK_HOME, else home/demo]")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="Number of results to print.")
@click.option("--html", type=FILE, help="Write a gallery page: each photo with its list after every step.")
@json_option
def search(photos: tuple[Path, ...], home: Path | None, top: int, html: Path | None, as_json: bool) -> None:
    """Search the index of a home with your photos.

    Every result comes with the reason for its rank.
    """
    from landmark_dag.serving.search import search_gallery, search_photos, search_summary

    if html and not html.parent.is_dir():
        raise InputError(f"The folder {html.parent} of {html.name} does not exist; make it first.")
    found = search_photos(home or home_folder(), photos)
    if html:
        from landmark_dag.reports.gallery import render_gallery

        render_gallery(html, search_gallery(found), "Search")
    results = search_summary(found, top)
    if as_json:
        click.echo(json.dumps({"photos": results, "html": str(html) if html else None}))
        return
    for photo in results:
        click.echo(f"{photo['photo']}: {photo['landmark']}, vote confidence {photo['confidence']:.2f}")
        print_table(_COLUMNS, [[result[name] for name in _COLUMNS] for result in photo["results"]])
