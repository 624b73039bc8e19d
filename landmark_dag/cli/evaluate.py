"""The commands that score results in percent: `evaluate retrieval`, `recognition` and `revisited`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landmark_dag.cli.output import FILE, json_option, print_table

if TYPE_CHECKING:
    import polars as pl

_USAGES = ("Public", "Private", "all")


@click.group()
def evaluate() -> None:
    """Score results in percent.

    The metrics are those of Google Landmarks v2, or of ROxford and RParis.
    """


@evaluate.command()
@click.option(
    "--ranking",
    type=FILE,
    required=True,
    help="Ranking (query_id, rank, index_id, similarity, reason) or submission (id, images).",
)
@click.option("--ground-truth", type=FILE, required=True, help="id, images, Usage.")
@json_option
def retrieval(ranking: Path, ground_truth: Path, as_json: bool) -> None:
    """Print mAP@100, precision and recall of a ranking.

    Each metric is over the Public queries, the Private queries and all, with its 95 % bootstrap interval over queries.
    """
    from landmark_dag.evaluation.ground_truth import read_retrieval_ground_truth
    from landmark_dag.evaluation.retrieval_metrics import retrieval_metrics
    from landmark_dag.evaluation.submission import read_ranking

    truth = read_retrieval_ground_truth(ground_truth)
    metrics = retrieval_metrics({"ranking": read_ranking(ranking)}, truth)
    _show_metrics(metrics.drop("step"), _USAGES, as_json)


@evaluate.command()
@click.option(
    "--predictions",
    type=FILE,
    required=True,
    help="Votes (image_id, landmark_id, confidence) or submission (id, landmarks).",
)
@click.option("--ground-truth", type=FILE, required=True, help="id, landmarks, Usage.")
@json_option
def recognition(predictions: Path, ground_truth: Path, as_json: bool) -> None:
    """Print micro average precision and accuracy of predictions.

    Each metric is over the Public queries, the Private queries and all, with its 95 % bootstrap interval over queries.
    """
    from landmark_dag.evaluation.ground_truth import read_recognition_ground_truth
    from landmark_dag.evaluation.recognition_metrics import recognition_metrics
    from landmark_dag.evaluation.submission import read_predictions

    votes, landmark_ids = read_predictions(predictions)
    metrics = recognition_metrics(votes, read_recognition_ground_truth(ground_truth, landmark_ids))
    _show_metrics(metrics, _USAGES, as_json)


@evaluate.command()
@click.option("--ranking", type=FILE, required=True, help="As for `retrieval`, with lists that are not cut.")
@click.option(
    "--ground-truth", type=FILE, required=True, help="gnd_roxford5k.pkl, gnd_rparis6k.pkl, or one of them as JSON."
)
@json_option
def revisited(ranking: Path, ground_truth: Path, as_json: bool) -> None:
    """Print mAP and mP@1, 5 and 10 of ROxford or RParis.

    Each metric is over the easy, medium and hard protocols of these data sets: trapezoidal AP, junk removed. It differs
    from the mAP@100 of `retrieval`.
    """
    from landmark_dag.evaluation.revisited import PROTOCOLS, read_revisited_ground_truth, revisited_metrics
    from landmark_dag.evaluation.submission import read_ranking

    metrics = revisited_metrics(read_ranking(ranking), read_revisited_ground_truth(ground_truth))
    _show_metrics(metrics, list(PROTOCOLS), as_json)


def _show_metrics(metrics: "pl.DataFrame", groups: Sequence[str], as_json: bool) -> None:
    """Print metrics and their intervals by group (the first column): as a table, or as {metric: {group: value}}."""
    from landmark_dag.evaluation.aggregation import metrics_summary

    texts = metrics_summary(metrics)
    names = texts.columns[1:]
    if not as_json:
        cells_of = {row[0]: dict(zip(names, row[1:], strict=True)) for row in texts.iter_rows()}
        cells = [[name.replace("_", " "), *(cells_of.get(group, {}).get(name) for group in groups)] for name in names]
        print_table(["", *groups], cells)
        return
    rows = dict(zip(metrics.to_series(0), metrics.iter_rows(named=True), strict=True))
    values: dict[str, Any] = {}
    for name in names[:-1]:
        ends = (f"{name}_low", f"{name}_high")
        values[name] = {group: rows.get(group, {}).get(name) for group in groups}
        values[f"{name}_interval"] = {group: [rows[group][end] for end in ends] for group in groups if group in rows}
    values["queries"] = {group: rows.get(group, {}).get("queries", 0) for group in groups}
    click.echo(json.dumps(values))
