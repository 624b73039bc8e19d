"""The commands on files of one's own, without a home: `vote` and `rerank` on tables, `match` on two photos."""

import math
from pathlib import Path

import click

from landmark_dag.cli.output import FILE, json_option, show
from landmark_dag.errors import InputError


@click.command()
@click.option("--neighbours", type=FILE, required=True, help="image_id, train_id, similarity")
@click.option("--labels", type=FILE, required=True, help="image_id, landmark_id of train photos")
@click.option("--out", type=FILE, required=True, help="image_id, landmark_id, confidence")
@click.option("--k", type=click.IntRange(min=1), default=3, show_default=True, help="train photos that vote")
@json_option
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
    show(summary, as_json)


@click.command()
@click.option("--neighbours", type=FILE, required=True, help="query_id, index_id, similarity")
@click.option("--query-votes", type=FILE, required=True, help="image_id, landmark_id, confidence of queries")
@click.option("--index-votes", type=FILE, required=True, help="the same of all index photos")
@click.option("--out", type=FILE, required=True, help="query_id, rank, index_id, similarity, reason")
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
@json_option
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

    from landmark_dag.retrieval.reranking.insert import inserted_ranking
    from landmark_dag.retrieval.reranking.sort import sorted_ranking
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
    show({"queries": ranking["query_id"].n_unique(), "rows": len(ranking), **reasons, "out": str(out)}, as_json)


@click.command()
@click.argument("photo_a", type=FILE, metavar="A.jpg")
@click.argument("photo_b", type=FILE, metavar="B.jpg")
@click.option("--picture", type=FILE, help="PNG to write: both photos, a line for every inlier")
@json_option
def match(photo_a: Path, photo_b: Path, picture: Path | None, as_json: bool) -> None:
    """Count the inliers between two photos: matches that agree with one affine map."""
    from landmark_dag.reports.match_picture import match_photos, match_picture
    from landmark_dag.storage.atomic import replacing

    result = match_photos(photo_a, photo_b)
    if picture:
        with replacing(picture) as temporary:
            temporary.write_bytes(match_picture(result))
    show({"inliers": result.inliers, "picture": str(picture) if picture else None}, as_json)
