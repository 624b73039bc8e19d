"""What each step takes from votes to submission, at a share of Google Landmarks v2's size, through Dagster.

    python -m benchmarks.rehearsal [--share 0.01 --share 0.1 --share 1] [--home DIR] [--device cuda] [--json]

Embeddings are synthetic: clusters around landmarks; few landmarks have many photos. 30 % of the index photos and half
of the queries show no landmark of train. They are stored as the assets would store them. The assets then materialize
everything after them, each with its checks in a new process. What is stored is not computed again, so a rehearsal that
was stopped goes on and keeps its measurements.

Columns for each stage: seconds by the clock and of the processors; MB read from disk (its files are dropped from the
page cache before); peak memory, resident and anonymous (that of no file). `floor` is the time of the stage's
multiplications and additions at the speed of the matrix product alone, and of the bytes of its inputs and outputs at
the speed of reading; both speeds are measured in the same run. `product` is the product's share of the processors'
seconds, which holds even where other programs use the processors. The seconds of the checks are listed apart.
"""

import functools
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click

from benchmarks.rehearsal_home import Rehearsal, make_home
from benchmarks.rehearsal_stages import STAGES, Stage, materialize, product_speed, read_speed
from landmark_dag.orchestration.in_process import prepare_home
from landmark_dag.storage.atomic import replacing

COLUMNS = {
    "share": "{share:g}",
    "stage": "{stage}",
    "shards": "{computed} of {of}",
    "seconds": "{seconds:.1f}",
    "processor s": "{processor_seconds:.1f}",
    "floor s": "{floor_seconds:.2f}",
    "of floor": "{of_floor:.0%}",
    "product": "{of_product:.0%}",
    "checks s": "{checks_seconds:.1f}",
    "checks processor s": "{checks_processor_seconds:.1f}",
    "read MB": "{read_mb:.0f}",
    "there MB": "{there_mb:.0f}",
    "peak MB": "{peak_mb:.0f}",
    "anonymous MB": "{anonymous_mb:.0f}",
}

IMPORTED = ["benchmarks.rehearsal_home", "landmark_dag.definitions", "dagster._core.storage.sqlite_storage", "numba"]
"""Modules that the process of a step has imported when the step begins."""


def rehearse(rehearsal: Rehearsal, device: str, together: bool, drawn_votes: bool) -> list[dict[str, Any]]:
    """Make the home, materialize every stage, and return what each took, now or when it was computed.

    Each stage runs in a new process, or all run in one (`together`); both are forked from one that has imported
    IMPORTED. Definitions take their defaults from the home's profile, which is the same in every rehearsal.
    """
    home, notes = str(rehearsal.home), rehearsal.home / "measured.json"
    rehearsal.folder.mkdir(parents=True, exist_ok=True)
    prepare_home(rehearsal.home, rehearsal.home_settings())
    measured: dict[str, dict[str, Any]] = json.loads(notes.read_text()) if notes.exists() else {}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with ProcessPoolExecutor(1, context, max_tasks_per_child=None if together else 1) as pool:

        @functools.cache
        def speeds() -> dict[str, float]:
            product, by_processor = pool.submit(product_speed, device).result()
            return {
                "product_speed": product,
                "product_speed_by_processor": by_processor,
                "read_speed": pool.submit(read_speed, home).result(),
            }

        pool.submit(make_home, rehearsal, drawn_votes).result()
        for stage in [stage for stage in STAGES if not (drawn_votes and stage.split == "index")]:
            taken = pool.submit(materialize, home, stage, device).result()
            if taken["computed"] or stage.asset not in measured:
                measured[stage.asset] = {
                    "share": rehearsal.share,
                    "drawn_votes": drawn_votes,
                    **taken,
                    **_floor(taken, stage, rehearsal, speeds()),
                }
            with replacing(notes) as path:
                path.write_text(json.dumps(measured, indent=2))
            done = f"computed {taken['computed']} of {taken['of']} in {taken['seconds']:.1f} s"
            print(f"{rehearsal.share:g} {stage.asset}: {done}", file=sys.stderr)
    return list(measured.values())


def _floor(taken: dict[str, Any], stage: Stage, rehearsal: Rehearsal, speeds: dict[str, float]) -> dict[str, float]:
    """Return the least seconds that the computed shards can take, and their share of the time measured."""
    counts = rehearsal.counts
    operations = 2 * rehearsal.dimensions * counts[stage.product[0]] * counts[stage.product[1]] if stage.product else 0
    operations *= taken["computed"] / taken["of"]
    floor = operations / speeds["product_speed"] + taken["bytes_there"] / speeds["read_speed"]
    product = operations / speeds["product_speed_by_processor"]
    return {
        "operations": operations,
        **speeds,
        "floor_seconds": floor,
        "of_floor": floor / taken["seconds"],
        "product_processor_seconds": product,
        "of_product": product / taken["processor_seconds"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    for row in rows:
        row = {**row, "read_mb": row["bytes_read"] / 1e6, "there_mb": row["bytes_there"] / 1e6}
        lines.append("| " + " | ".join(cell.format(**row) for cell in COLUMNS.values()) + " |")
    return "\n".join(lines)


@click.command()
@click.option("--share", "shares", multiple=True, default=(0.01,), show_default=True, help="may be repeated")
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), default=Path("home/rehearsal"))
@click.option("--shards", default=0, help="most shards of a split; 0: 50 of train, 50 of index, 20 of query")
@click.option("--device", default="cpu", show_default=True)
@click.option("--together", is_flag=True, help="one process for all stages, as `landmark-dag run` does")
@click.option("--drawn-votes", is_flag=True, help="draw the votes of index photos and leave out the longest search")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object instead of the table")
def main(
    shares: tuple[float, ...], home: Path, shards: int, device: str, together: bool, drawn_votes: bool, as_json: bool
) -> None:
    """Rehearse at each share, each in its own folder under the home, and print what every stage took."""
    rows = []
    for share in shares:
        rows += rehearse(Rehearsal(home.absolute() / f"{share:g}", share, shards), device, together, drawn_votes)
    print(json.dumps({"stages": rows}) if as_json else table(rows))


if __name__ == "__main__":
    main()
