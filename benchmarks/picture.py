"""Draw the result as bars."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from . import suite
from .report import Result, counted, rows_by_work

COLOURS = {suite.C: "#8c8c8c", suite.ORTX: "#1f77b4", suite.OFFICIAL: "#d9822b"}
LEGEND = {
    suite.C: "C, the floor",
    suite.ORTX: "ortx",
    suite.OFFICIAL: "onnxruntime, the official package",
}

# Inches: the whole width, the room for the calls' names, a bar, a title with the space above it.
WIDTH, LEFT, BAR, TITLE = 9.0, 3.3, 0.3, 0.5
HEAD, FOOT, BETWEEN = 0.75, 0.75, 0.9


def draw(result: Result, path: Path) -> None:
    """Write one picture: for each work a group of bars, the floor's being 1 long.

    Ratios are drawn, not times: they change least from one machine to the next.
    """
    groups = {case["key"]: _groups(result, case["key"]) for case in result["cases"]}
    cases = [case for case in result["cases"] if groups[case["key"]]]
    heights = {case: sum(TITLE + BAR * len(rows) for _, rows in groups[case]) for case in groups}
    height = HEAD + sum(heights[case["key"]] + BETWEEN for case in cases) - BETWEEN + FOOT
    with mpl.rc_context({"font.family": "sans-serif", "font.size": 9, "svg.fonttype": "none"}):
        figure = Figure(figsize=(WIDTH, height), facecolor="white")
        top = height - HEAD
        for case in cases:
            inches = heights[case["key"]]
            place = (
                LEFT / WIDTH,
                (top - inches) / height,
                1 - (LEFT + 0.3) / WIDTH,
                inches / height,
            )
            _draw_case(figure.add_axes(place), case, groups[case["key"]])
            top -= inches + BETWEEN
        figure.text(
            0.2 / WIDTH,
            1 - 0.15 / height,
            "What a call costs, compared with the same work in C",
            va="top",
            fontsize=12,
            fontweight="bold",
        )
        figure.legend(
            handles=[Patch(color=COLOURS[who], label=label) for who, label in LEGEND.items()],
            loc="upper left",
            bbox_to_anchor=(0.2 / WIDTH, 1 - 0.4 / height),
            borderaxespad=0,
            borderpad=0,
            ncols=len(LEGEND),
            frameon=False,
        )
        described = result["machine"]
        names = ("ortx", "ONNX Runtime", "onnxruntime", "Python", "CPU")
        figure.text(
            1 - 0.3 / WIDTH,
            0.12 / height,
            ", ".join(f"{name} {described[name]}" for name in names),
            ha="right",
            fontsize=7,
            color="#666666",
        )
        figure.savefig(path, dpi=160)


def _groups(result: Result, case: str) -> list[tuple[str, list[Result]]]:
    """Return the works that have something to compare."""
    works = rows_by_work(result, case)
    return [(title, rows) for title, rows in works if any(row["to_floor"] for row in rows)]


def _draw_case(axes: Axes, case: Result, groups: list[tuple[str, list[Result]]]) -> None:
    y, widest = 0.0, 1.0
    left = axes.get_yaxis_transform()  # x in widths of the axes, y in inches as everywhere here
    for title, rows in groups:
        y += TITLE
        edge = -(LEFT - 0.2) / (WIDTH - LEFT - 0.3)
        axes.text(edge, y - 0.7 * BAR, title, transform=left, va="bottom", fontweight="bold")
        for row in rows:
            ratio = row["to_floor"]["median"] if row["to_floor"] else 1.0
            widest = max(widest, ratio)
            axes.barh(y, ratio, height=0.8 * BAR, color=COLOURS[row["who"]])
            axes.text(ratio, y, f"  {ratio:.2f}  ({row['median_ns'] / 1000:.2f} µs)", va="center")
            axes.text(0, y, f"{row['label'] or row['call']}  ", va="center", ha="right", fontsize=8)
            y += BAR
    axes.axvline(1, color=COLOURS[suite.C], linewidth=0.8, linestyle=":")
    axes.set_xlim(0, 1.25 * widest)
    axes.set_ylim(y, 0)
    axes.set_yticks([])
    axes.set_xlabel(f"times the floor; {case['title']}, {counted(case['threads'], 'thread')}")
    axes.spines[["top", "right", "left"]].set_visible(False)
