"""The commands that need no home: `vote` and `rerank` on the user's tables, `match` on two photos."""

import math
from pathlib import Path
from typing import Any

import click

from landmark_dag.cli.output import FILE, json_option, show
from landmark_dag.errors import InputError


@click.command()
@click.option("--neighbours", type=FILE, required=True, help="Input: image_id, train_id, similarity.")
@click.option("--labels", type=FILE, required=True, help="Input: image_id, landmark_id of the train photos.")
@click.option("--out", type=FILE, required=True, help="Output: image_id, landmark_id, confidence.")
@click.option("--k", type=click.IntRange(min=1), default=3, show_default=True, help="Nearest train photos that vote.")
@json_option
def vote(neighbours: Path, labels: Path, out: Path, k: int, as_json: bool) -> None:
    """Vote for the landmark of each photo by its nearest train photos.

    All files are .csv or .parquet. Rows may be in any order.
    """
    from landmark_dag.retrieval.votes import votes_from_neighbours
    from landmark_dag.storage.neighbour_files import read_labels, read_train_neighbours, refuse_strangers
    from landmark_dag.storage.table_files import check_writable, write_table_file

    check_writable(out)
    pairs, known = read_train_neighbours(neighbours), read_labels(labels)
    try:
        votes = votes_from_neighbours(pairs, known, k)
    except InputError:
        refuse_strangers(neighbours, "train_id", labels, known["image_id"])
        raise
    write_table_file(out, votes)
    summary = {
        "photos": len(votes),
        "landmarks": votes["landmark_id"].n_unique(),
        "mean_confidence": votes["confidence"].cast(float).mean(),
        "out": str(out),
    }
    show(summary, as_json)


@click.command()
@click.option("--neighbours", type=FILE, required=True, help="Input: query_id, index_id, similarity.")
@click.option(
    "--query-votes", type=FILE, required=True, help="Input: image_id, landmark_id, confidence of the queries."
)
@click.option("--index-votes", type=FILE, required=True, help="Input: the same for all index photos.")
@click.option("--out", type=FILE, required=True, help="Output: query_id, rank, index_id, similarity, reason.")
@click.option(
    "--step", type=click.Choice(["sort", "insert"]), default="insert", show_default=True, help="Last step to do."
)
@click.option(
    "--threshold",
    type=float,
    default=0.6,
    show_default=True,
    help="Insert a photo if query confidence + index confidence exceeds this.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Length to which a list is cut."
)
@json_option
def rerank(
    neighbours: Path, query_votes: Path, index_votes: Path, out: Path, step: str, as_json: bool, **settings: Any
) -> None:
    """Re-rank neighbours by votes.

    Photos of the query's landmark come first (step `sort`), then photos of it that are not among the neighbours (step
    `insert`), then the rest. All files are .csv or .parquet. Rows may be in any order; lists start with the most
    similar photo.
    """
    import polars as pl

    from landmark_dag.retrieval.reranking.sort_insert import inserted_ranking, sorted_ranking
    from landmark_dag.settings.reranking import InsertSettings
    from landmark_dag.storage.neighbour_files import read_neighbours, read_votes, refuse_strangers
    from landmark_dag.storage.table_files import check_writable, write_table_file

    check_writable(out)
    if not math.isfinite(settings["threshold"]):
        raise InputError(f"The threshold is {settings['threshold']}; it must be a finite number.")
    lists, of_queries, of_index = read_neighbours(neighbours), read_votes(query_votes), read_votes(index_votes)
    try:
        if step == "insert":
            ranking = inserted_ranking(lists, of_queries, of_index, InsertSettings(**settings))
        else:
            ranking = sorted_ranking(lists, of_queries, of_index).filter(pl.col("rank") <= settings["limit"])
    except InputError:
        refuse_strangers(neighbours, "query_id", query_votes, of_queries["image_id"])
        refuse_strangers(neighbours, "index_id", index_votes, of_index["image_id"])
        raise
    write_table_file(out, ranking)
    reasons = dict(sorted(ranking["reason"].value_counts().iter_rows()))
    show({"queries": ranking["query_id"].n_unique(), "rows": len(ranking), **reasons, "out": str(out)}, as_json)


@click.command()
@click.argument("photo_a", type=FILE, metavar="A.jpg")
@click.argument("photo_b", type=FILE, metavar="B.jpg")
@click.option("--picture", type=FILE, help="Write a PNG: both photos, with a line for every inlier.")
@json_option
def match(photo_a: Path, photo_b: Path, picture: Path | None, as_json: bool) -> None:
    """Count the inliers between two photos.

    Inliers are the matches of local features that agree with one affine map.
    """
    from landmark_dag.reports.match_picture import match_photos, match_picture
    from landmark_dag.storage.files import replacing

    result = match_photos(photo_a, photo_b)
    if picture:
        with replacing(picture) as temporary:
            temporary.write_bytes(match_picture(result))
    show({"inliers": result.inliers, "picture": str(picture) if picture else None}, as_json)
