"""Plots of what happened, as PNG bytes for metadata and for the gallery."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

_BLUE, _ORANGE, _GREEN, _RED, _GREY = "#2f6fde", "#d9730d", "#1c8a4c", "#c9352b", "#8a8d96"


def training_curve(history: Sequence[Mapping[str, float]], value: str = "loss") -> bytes:
    """Plot `value` of every row of the history against its `epoch`."""
    figure, axes = _blank("epoch", value)
    axes.plot([row["epoch"] for row in history], [row[value] for row in history], color=_BLUE, marker="o", markersize=3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _png(figure)


def step_bars(mean_average_precision: Mapping[str, float]) -> bytes:
    """Plot mAP@100 (percent) of every step as a bar."""
    figure, axes = _blank("", "mAP@100, %")
    bars = axes.bar(list(mean_average_precision), list(mean_average_precision.values()), color=[_GREY, _BLUE, _ORANGE])
    axes.bar_label(bars, fmt="%.1f", padding=2)
    axes.set_ylim(0, max(100.0 * (max(mean_average_precision.values(), default=0) > 85), axes.get_ylim()[1] * 1.1))
    return _png(figure)


def vote_confidence(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> bytes:
    """Plot how the confidence float (n,) of right and of wrong votes is distributed."""
    return _two_histograms(confidence[right], confidence[~right], "vote confidence", ("right", "wrong"), "votes")


def similarities(similarity: NDArray[np.float32], relevant: NDArray[np.bool_]) -> bytes:
    """Plot how the similarity float (n,) of neighbours that are relevant and that are not is distributed."""
    labels = ("relevant", "not relevant")
    return _two_histograms(similarity[relevant], similarity[~relevant], "similarity", labels, "neighbours")


def precision_recall(hits: Mapping[str, NDArray[np.bool_]], expected: NDArray[np.int64]) -> bytes:
    """Plot mean interpolated precision against recall for every step.

    `hits` maps each step to bool (queries, ranks), whether the photo at a rank is relevant; `expected` int64
    (queries,) is the number of relevant photos. Precision at a recall is the best at that recall or above.
    """
    figure, axes = _blank("recall", "precision")
    levels = np.linspace(0, 1, 101)
    for (step, found), colour in zip(hits.items(), (_GREY, _BLUE, _ORANGE), strict=False):
        axes.plot(levels, interpolated_precision(found, expected, levels), label=step, color=colour, linewidth=2)
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False)
    return _png(figure)


def interpolated_precision(
    hits: NDArray[np.bool_], expected: NDArray[np.int64], levels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean over queries of the best precision at a recall of at least each level, float64 (levels,)."""
    found = np.cumsum(hits, axis=1)
    precision = found / np.arange(1, hits.shape[1] + 1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    curves = np.zeros((len(hits), len(levels)))
    for query in range(len(hits)):
        ranks = np.searchsorted(found[query], np.ceil(levels * expected[query] - 1e-9).clip(1), side="left")
        reached = ranks < hits.shape[1]
        curves[query, reached] = best[query, ranks[reached]]
    return np.asarray(curves.mean(axis=0))


def precision_by_landmark_size(expected: NDArray[np.int64], precisions: Mapping[str, NDArray[np.float64]]) -> bytes:
    """Plot mAP@100 (percent) against how many relevant photos a query has, one line a step.

    `expected` int64 (queries,); `precisions` maps each step to AP float64 (queries,). Queries are grouped by
    the power of two below their number of relevant photos.
    """
    figure, axes = _blank("relevant photos", "mAP@100, %")
    groups = np.floor(np.log2(np.maximum(expected, 1))).astype(int)
    present = np.unique(groups)
    names = [f"{2**g}" if g == 0 else f"{2**g}–{2 ** (g + 1) - 1}" for g in present.tolist()]
    for (step, precision), colour in zip(precisions.items(), (_GREY, _BLUE, _ORANGE), strict=False):
        means = [float(precision[groups == group].mean()) for group in present]
        axes.plot(names, means, label=step, color=colour, marker="o", linewidth=2)
    axes.set_ylim(0, axes.get_ylim()[1] + 2)
    axes.legend(frameon=False)
    return _png(figure)


def kept_by_landmark(labels: pl.DataFrame, cleaned: pl.DataFrame, most: int = 40) -> bytes:
    """Plot which share of each landmark's photos cleaning kept; of many landmarks, the largest `most`.

    `labels` is schemas.LABELS, `cleaned` is schemas.CLEANED_DATASET.
    """
    marked = labels.join(cleaned.select("image_id", kept=True), on="image_id", how="left")
    shares = marked.group_by("landmark").agg(photos=pl.len(), share=pl.col("kept").fill_null(False).mean())
    shares = shares.sort("photos", "landmark", descending=[True, False]).head(most).sort("share", "landmark")
    figure, axes = _blank("photos kept, %", "", height=max(2.0, 0.22 * len(shares) + 0.8))
    axes.barh(shares["landmark"].to_list(), 100 * shares["share"].to_numpy(), color=_GREEN)
    axes.tick_params(axis="y", labelsize=8, length=0)
    axes.set_xlim(0, 100)
    return _png(figure)


def grid_heat_map(grid: pl.DataFrame, kept: str) -> bytes:
    """Plot the column `kept` (photos or landmarks) of schemas.CLEANING_GRID as a heat map with its numbers."""
    return _heat_map(grid.pivot("min_verified", index="min_inliers", values=kept), "min_verified", "{:,}", 0, 2.4)


def sweep_heat_map(sweep: pl.DataFrame) -> bytes:
    """Plot schemas.RERANKING_SWEEP as a heat map with its numbers, from the lowest to the highest mAP@100."""
    table = sweep.pivot("k", index="threshold", values="map_at_100")
    return _heat_map(table, "k", "{:.1f}", float(sweep["map_at_100"].to_numpy().min()), 4.8)


def _heat_map(table: pl.DataFrame, columns: str, cell: str, lowest: float, height: float) -> bytes:
    """Plot a table whose first column names its rows; `columns` is what the others are values of."""
    rows = table.columns[0]
    table = table.sort(rows)
    values = table.drop(rows).to_numpy()
    figure, axes = _blank(columns, rows, height=height)
    axes.imshow(values, cmap="Greens", vmin=lowest, aspect="auto")
    axes.set_xticks(range(values.shape[1]), table.columns[1:])
    axes.set_yticks(range(values.shape[0]), [str(value) for value in table[rows]])
    axes.grid(visible=False)
    for (row, column), value in np.ndenumerate(values):
        dark = value - lowest > 0.6 * max(values.max() - lowest, 1e-9)
        axes.text(
            column, row, cell.format(value), ha="center", va="center", fontsize=7, color="white" if dark else "black"
        )
    return _png(figure)


def _two_histograms(
    first: NDArray[np.float32], second: NDArray[np.float32], axis: str, labels: tuple[str, str], counted: str
) -> bytes:
    figure, axes = _blank(axis, counted)
    both = np.concatenate([first, second])
    edges = np.histogram_bin_edges(both, bins=30)
    for values, label, colour in zip((first, second), labels, (_GREEN, _RED), strict=True):
        axes.hist(values, bins=list(edges), color=colour, alpha=0.6, label=f"{label} ({len(values):,})")
    axes.legend(frameon=False)
    return _png(figure)


def _blank(x: str, y: str, height: float = 3.2) -> tuple[Figure, Axes]:
    """A figure outside pyplot's global state, with named axes."""
    figure = Figure(figsize=(5.2, height), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", color="#e8e8e6", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _png(figure: Figure) -> bytes:
    """The figure as PNG, without the date or version that would make equal plots differ."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()
