"""Draw how the cost of a call grows: a small picture with curves for each thing that grows."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from .growth import Result, shown_point, statement
from .picture import COLOURS, NAMES, STYLE, described, without_date

COLUMNS, EACH = 2, (5.2, 3.1)  # inches


def draw(result: Result, path: Path) -> None:
    """Write one picture of all curves."""
    sweeps = result["sweeps"]
    rows = -(-len(sweeps) // COLUMNS)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMNS * EACH[0], rows * EACH[1] + 0.8), facecolor="white", layout="constrained")
        grid = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axes, sweep in zip(grid, sweeps, strict=False):
            _draw(axes, sweep)
        for axes in grid[len(sweeps) :]:
            axes.axis("off")
        handles, labels = grid[0].get_legend_handles_labels()
        spare = grid[-1] if len(grid) > len(sweeps) else None
        (spare or figure).legend(handles, labels, loc="center" if spare else "upper right", frameon=False)
        figure.suptitle("How the cost of a call grows", x=0.02, ha="left", fontsize=12, fontweight="bold")
        figure.supxlabel(described(result["machine"]), fontsize=7, color="#666666", x=0.98, ha="right")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=160, metadata=without_date(path))


def _draw(axes: Axes, sweep: Result) -> None:
    by_callers = sweep["of"] == "callers"
    points = sweep["points"]
    for who, side in sweep["sides"].items():
        times = side["median_ns"]
        values = [1e6 / time for time in times] if by_callers else [time / 1000 for time in times]
        axes.plot(points, values, marker="o", markersize=3.5, color=COLOURS[who], label=NAMES[who])
    if sweep["key"] == "size":
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.set_xticks(points if len(points) < 6 else points[:: 2 if sweep["key"] == "size" else 1])
    if sweep["key"] in ("inputs", "outputs"):
        axes.set_xticks([point for point in points if point >= 20 or point == 1])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: shown_point(sweep, int(value))))
    if sweep["key"] != "size":
        axes.set_ylim(bottom=0)
    axes.set_xlabel(sweep["title"])
    axes.set_ylabel("calls per ms" if by_callers else "µs a call")
    axes.set_title(statement(sweep), fontsize=7, loc="left", color="#444444", wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
