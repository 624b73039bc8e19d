"""The `landmark-dag` command: thin over the project's functions.

Each command prints a table for people, or one JSON object with --json; bad input ends with one sentence on
stderr and exit status 2. Modules that take long to import are imported by the commands that need them.
"""

import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from landmark_dag.errors import InputError
from landmark_dag.settings.home import HomeSettings, home_folder

if TYPE_CHECKING:
    import polars as pl

_FILE = click.Path(path_type=Path)
_USAGES = ("Public", "Private", "all")


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


def _json_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")(command)


@commands.command()
@click.option("--home", type=_FILE, default=Path("home/demo"), show_default=True, help="folder that holds everything")
@_json_option
def demo(home: Path, as_json: bool) -> None:
    """Render photos of landmarks that never were, and materialize the whole graph on them."""
    from landmark_dag.cli.progress import ProgressBar
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


@commands.command()
@click.option("--photos", required=True, help="folder with train/, index/, query/; or the root URL of a dataset")
@click.option("--home", type=_FILE, help="folder that holds every result  [default: home/NAME of the photos]")
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
@_json_option
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
        _show({"home": str(home.absolute()), "store": settings.store or None}, as_json)
    else:
        _run(home, settings, as_json)


def _run(home: Path, settings: HomeSettings, as_json: bool) -> None:
    """Prepare the home, run the pipeline under a progress bar, and print what came out."""
    from landmark_dag.cli.progress import ProgressBar
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
    _print_table(["", ""], [*rows, ["cleaning kept", kept], ["seconds", result["seconds"]]])
    click.echo(f"Gallery: {result['gallery']}")
    click.echo(f"To watch and drive it: make dev LANDMARK_HOME={home}")


@commands.command()
@click.argument("photo_a", type=_FILE, metavar="A.jpg")
@click.argument("photo_b", type=_FILE, metavar="B.jpg")
@click.option("--picture", type=_FILE, help="PNG to write: both photos, a line for every inlier")
@_json_option
def match(photo_a: Path, photo_b: Path, picture: Path | None, as_json: bool) -> None:
    """Count the inliers between two photos: matches that agree with one affine map."""
    from landmark_dag.reports.match_picture import match_photos, match_picture
    from landmark_dag.storage.atomic import replacing

    result = match_photos(photo_a, photo_b)
    if picture:
        with replacing(picture) as temporary:
            temporary.write_bytes(match_picture(result))
    _show({"inliers": result.inliers, "picture": str(picture) if picture else None}, as_json)


@commands.command()
@click.argument("photos", type=_FILE, metavar="PHOTO...", nargs=-1, required=True)
@click.option("--home", type=_FILE, help="folder that holds the results  [default: LANDMARK_HOME or home/demo]")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="results to print")
@click.option("--html", type=_FILE, help="gallery page to write: each photo with its list after every step")
@_json_option
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
        _print_table(list(columns), [[result[name] for name in columns] for result in photo["results"]])


@commands.command()
@click.option("--neighbours", type=_FILE, required=True, help="image_id, train_id, similarity")
@click.option("--labels", type=_FILE, required=True, help="image_id, landmark_id of train photos")
@click.option("--out", type=_FILE, required=True, help="image_id, landmark_id, confidence")
@click.option("--k", type=click.IntRange(min=1), default=3, show_default=True, help="train photos that vote")
@_json_option
def vote(neighbours: Path, labels: Path, out: Path, k: int, as_json: bool) -> None:
    """Vote for the landmark of each photo by its nearest train photos.

    Files are .csv or .parquet, rows in any order.
    """
    from landmark_dag.retrieval.votes import votes_from_neighbours
    from landmark_dag.storage.neighbour_files import read_labels, read_train_neighbours, refuse_unknown
    from landmark_dag.storage.user_tables import check_writable, write_table_file

    check_writable(out)
    pairs, known = read_train_neighbours(neighbours), read_labels(labels)
    try:
        votes = votes_from_neighbours(pairs, known, k)
    except InputError:
        refuse_unknown(neighbours, "train_id", labels, known["image_id"])
        raise
    write_table_file(out, votes)
    summary = {
        "photos": len(votes),
        "landmarks": votes["landmark_id"].n_unique(),
        "mean_confidence": votes["confidence"].cast(float).mean(),
        "out": str(out),
    }
    _show(summary, as_json)


@commands.command()
@click.option("--neighbours", type=_FILE, required=True, help="query_id, index_id, similarity")
@click.option("--query-votes", type=_FILE, required=True, help="image_id, landmark_id, confidence of queries")
@click.option("--index-votes", type=_FILE, required=True, help="the same of all index photos")
@click.option("--out", type=_FILE, required=True, help="query_id, rank, index_id, similarity, reason")
@click.option(
    "--step", type=click.Choice(["sort", "insert"]), default="insert", show_default=True, help="stop after this step"
)
@click.option(
    "--threshold",
    type=float,
    default=0.6,
    show_default=True,
    help="query confidence + index confidence must exceed it to insert",
)
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="longest list")
@_json_option
def rerank(
    neighbours: Path,
    query_votes: Path,
    index_votes: Path,
    out: Path,
    step: str,
    threshold: float,
    limit: int,
    as_json: bool,
) -> None:
    """Re-rank neighbours by votes: photos of the query's landmark first, then those that kNN missed.

    Files are .csv or .parquet, rows in any order; the more similar stands before the less similar.
    """
    import polars as pl

    from landmark_dag.retrieval.reranking.sort_insert import inserted_ranking, sorted_ranking
    from landmark_dag.settings.reranking import InsertSettings
    from landmark_dag.storage.neighbour_files import read_neighbours, read_votes, refuse_unknown
    from landmark_dag.storage.user_tables import check_writable, write_table_file

    check_writable(out)
    if not math.isfinite(threshold):
        raise InputError(f"The threshold is {threshold}; it must be a finite number.")
    lists, of_queries, of_index = read_neighbours(neighbours), read_votes(query_votes), read_votes(index_votes)
    try:
        if step == "insert":
            settings = InsertSettings(threshold=threshold, limit=limit)
            ranking = inserted_ranking(lists, of_queries, of_index, settings)
        else:
            ranking = sorted_ranking(lists, of_queries, of_index).filter(pl.col("rank") <= limit)
    except InputError:
        refuse_unknown(neighbours, "query_id", query_votes, of_queries["image_id"])
        refuse_unknown(neighbours, "index_id", index_votes, of_index["image_id"])
        raise
    write_table_file(out, ranking)
    reasons = dict(sorted(ranking["reason"].value_counts().iter_rows()))
    _show({"queries": ranking["query_id"].n_unique(), "rows": len(ranking), **reasons, "out": str(out)}, as_json)


@commands.group()
def evaluate() -> None:
    """Score results in percent: by the official metrics of Google Landmarks v2, or those of ROxford and RParis."""


@evaluate.command()
@click.option(
    "--ranking",
    type=_FILE,
    required=True,
    help="query_id, rank, index_id, similarity, reason; or a submission id, images",
)
@click.option("--ground-truth", type=_FILE, required=True, help="id, images, Usage")
@_json_option
def retrieval(ranking: Path, ground_truth: Path, as_json: bool) -> None:
    """Print mAP@100 of a ranking with precision and recall, over Public and Private queries and all.

    Beside each metric stands its 95 % bootstrap interval over queries.
    """
    from landmark_dag.evaluation.ground_truth import read_retrieval_ground_truth
    from landmark_dag.evaluation.retrieval_metrics import retrieval_metrics
    from landmark_dag.evaluation.submission import read_ranking

    truth = read_retrieval_ground_truth(ground_truth)
    metrics = retrieval_metrics({"ranking": read_ranking(ranking)}, truth)
    _show_metrics(metrics.drop("step"), _USAGES, as_json)


@evaluate.command()
@click.option(
    "--predictions", type=_FILE, required=True, help="image_id, landmark_id, confidence; or a submission id, landmarks"
)
@click.option("--ground-truth", type=_FILE, required=True, help="id, landmarks, Usage")
@_json_option
def recognition(predictions: Path, ground_truth: Path, as_json: bool) -> None:
    """Print the micro average precision of predicted landmarks, and their accuracy.

    Beside each metric stands its 95 % bootstrap interval over queries.
    """
    from landmark_dag.evaluation.ground_truth import read_recognition_ground_truth
    from landmark_dag.evaluation.recognition_metrics import recognition_metrics
    from landmark_dag.evaluation.submission import read_predictions

    votes, landmark_ids = read_predictions(predictions)
    metrics = recognition_metrics(votes, read_recognition_ground_truth(ground_truth, landmark_ids))
    _show_metrics(metrics, _USAGES, as_json)


@evaluate.command()
@click.option("--ranking", type=_FILE, required=True, help="as for `retrieval`, whole lists")
@click.option("--ground-truth", type=_FILE, required=True, help="gnd_roxford5k.pkl, gnd_rparis6k.pkl, or it as JSON")
@_json_option
def revisited(ranking: Path, ground_truth: Path, as_json: bool) -> None:
    """Print mAP and mP@1, 5, 10 of ROxford or RParis: easy, medium and hard.

    This is their own protocol: trapezoidal AP, junk removed. It is not the mAP@100 of `retrieval`.
    """
    from landmark_dag.evaluation.revisited import PROTOCOLS, read_revisited_ground_truth, revisited_metrics
    from landmark_dag.evaluation.submission import read_ranking

    metrics = revisited_metrics(read_ranking(ranking), read_revisited_ground_truth(ground_truth))
    _show_metrics(metrics, list(PROTOCOLS), as_json)


def _show_metrics(metrics: "pl.DataFrame", groups: Sequence[str], as_json: bool) -> None:
    """Print metrics, with their intervals, by group, the first column: as a table, or as {metric: {group: value}}."""
    from landmark_dag.evaluation.aggregation import metrics_summary

    texts = metrics_summary(metrics)
    names = texts.columns[1:]
    if not as_json:
        told = {row[0]: dict(zip(names, row[1:], strict=True)) for row in texts.iter_rows()}
        cells = [[name.replace("_", " "), *(told.get(group, {}).get(name) for group in groups)] for name in names]
        _print_table(["", *groups], cells)
        return
    rows = dict(zip(metrics.to_series(0), metrics.iter_rows(named=True), strict=True))
    values: dict[str, Any] = {}
    for name in names[:-1]:
        ends = (f"{name}_low", f"{name}_high")
        values[name] = {group: rows.get(group, {}).get(name) for group in groups}
        values[f"{name}_interval"] = {group: [rows[group][end] for end in ends] for group in groups if group in rows}
    values["queries"] = {group: rows.get(group, {}).get("queries", 0) for group in groups}
    click.echo(json.dumps(values))


def _show(summary: dict[str, Any], as_json: bool) -> None:
    """Print a summary as a table of two columns, or as one JSON object."""
    if as_json:
        click.echo(json.dumps(summary))
    else:
        _print_table(["", ""], [[name.replace("_", " "), value] for name, value in summary.items()])


def _print_table(header: list[str], rows: list[list[Any]]) -> None:
    """Print rows for people; numbers to the right, floats with two digits."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, show_header=any(header))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*("-" if x is None else f"{x:.2f}" if isinstance(x, float) else str(x) for x in row))
    Console().print(table)
