"""Draw a result: a line for each thing that wants doing, on it how many times as long as C each side takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from . import suite
from .result import Result, works_of
from .tables import grouped, is_by_callers, with_unit

COLOURS = {suite.C: "#8c8c8c", suite.ORTX: "#1f77b4", suite.OFFICIAL: "#d9822b"}
NAMES = {suite.C: "C, the floor", suite.ORTX: "ortx", suite.OFFICIAL: "onnxruntime, the official package"}
STYLE: dict[Any, Any] = {"font.family": "sans-serif", "font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "ortx"}

# Inches.
WIDTH, LEFT, RIGHT, LINE, HEAD, FOOT = 10.5, 4.5, 2.2, 0.27, 0.8, 0.75
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)


@dataclass(frozen=True)
class Line:
    """One line of the picture; `sides` has ratios to C."""

    title: str
    sides: dict[str, float]
    shown: str  # what C, ortx and the official package need
    heading: bool = False


def draw(result: Result, path: Path) -> None:
    """Write one picture. Ratios are drawn, not times: they change least from one machine to the next."""
    lines = list(_lines(result))
    height = HEAD + LINE * len(lines) + FOOT
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), facecolor="white")
        place = (LEFT / WIDTH, FOOT / height, 1 - (LEFT + RIGHT) / WIDTH, LINE * len(lines) / height)
        _draw_lines(figure.add_axes(place), lines)
        left = 0.2 / WIDTH
        title = "How many times as long as C it takes: further left is better"
        figure.text(left, 1 - 0.15 / height, title, va="top", fontsize=12, fontweight="bold")
        figure.legend(
            handles=[Line2D([], [], marker="o", linestyle="", color=COLOURS[who], label=NAMES[who]) for who in COLOURS],
            loc="upper left",
            bbox_to_anchor=(left, 1 - 0.42 / height),
            borderaxespad=0,
            borderpad=0,
            ncols=len(COLOURS),
            frameon=False,
        )
        figure.text(0.99, 0.12 / height, described(result["machine"]), ha="right", fontsize=7, color="#666666")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=160, metadata=without_date(path))


def described(machine: Result) -> str:
    """Return what a picture says about versions and machine."""
    names = ("ortx", "ONNX Runtime", "onnxruntime", "Python", "CPU", "cores")
    return ", ".join(f"{name} {machine[name]}" for name in names)


def without_date(path: Path) -> dict[str, str | None]:
    """Return metadata that is the same for the same picture."""
    return {"Date": None} if path.suffix == ".svg" else {}


def _draw_lines(axes: Axes, lines: list[Line]) -> None:
    left = axes.get_yaxis_transform()  # x in widths of the axes
    most = max((ratio for line in lines for ratio in line.sides.values()), default=2.0)
    least = min((ratio for line in lines for ratio in line.sides.values()), default=0.5)
    for y, line in enumerate(lines):
        edge = -(LEFT - 0.2) / (WIDTH - LEFT - RIGHT)
        if line.heading:
            axes.text(edge, y, line.title, transform=left, va="center", fontweight="bold")
            continue
        ratios = [1.0, *line.sides.values()]
        axes.plot([min(ratios), max(ratios)], [y, y], color="#dddddd", linewidth=2, zorder=1, solid_capstyle="round")
        for who, ratio in {suite.C: 1.0, **line.sides}.items():
            axes.plot([ratio], [y], marker="o", markersize=6, color=COLOURS[who], zorder=2)
        axes.text(edge + 0.03, y, line.title, transform=left, va="center", fontsize=8.5)
        axes.text(1.03, y, line.shown, transform=left, va="center", fontsize=8, color="#444444")
    axes.axvline(1, color=COLOURS[suite.C], linewidth=0.8, linestyle=":", zorder=0)
    axes.set_xscale("log")
    axes.set_xlim(min(least, 0.8) / 1.15, max(most, 2) * 1.15)
    axes.set_xticks([tick for tick in TICKS if min(least, 0.8) / 1.15 <= tick <= max(most, 2) * 1.15])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_xlabel("times what C needs; right: C / ortx / official")
    axes.spines[["top", "right", "left"]].set_visible(False)


# --- what is drawn ----------------------------------------------------------------------------------------------------


def _lines(result: Result) -> Iterator[Line]:
    for case in result["cases"]:
        works = [rows for rows in works_of(result, case["key"]) if any(row["to_floor"] for row in rows)]
        yield Line(case["title"], {}, "", heading=True)
        for rows in works:
            first = {who: next(row for row in rows if row["who"] == who) for who in COLOURS}
            title = rows[0]["work_title"] if is_by_callers(result, rows[0]) else first[suite.ORTX]["call"]
            times = [with_unit(row["median_ns"]) for row in first.values()]
            yield Line(
                title if len(title) <= 62 else title[:58].rstrip(". ,") + " ...",
                {who: row["to_floor"]["median"] for who, row in first.items() if row["to_floor"]},
                " / ".join(times),
            )
    if result["starts"]:
        yield Line("A whole process, what it takes longer than a Python that imports numpy", {}, "", heading=True)
        yield from _compared(result["starts"], "excess_ns", 1e6, "ms")
    if result["memory"]:
        yield Line("Memory of each further session", {}, "", heading=True)
        yield from _compared(result["memory"], "further_bytes", 1e6, "MB")


def _compared(rows: list[Result], name: str, factor: float, unit: str) -> Iterator[Line]:
    for title, group in grouped(rows, "title"):
        figures = {row["who"]: row[name] for row in group if row["who"] in COLOURS}
        sides = {who: figures[who] / figures[suite.C] for who in (suite.ORTX, suite.OFFICIAL)}
        yield Line(title, sides, " / ".join(f"{figures[who] / factor:.0f}" for who in COLOURS) + f" {unit}")
