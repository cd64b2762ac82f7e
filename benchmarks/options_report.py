"""Show what `benchmarks.options` measured: tables for a terminal, the same in Markdown for the docs, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from .options import GROUPS

MARKER = "<!-- Below this line: written by python -m benchmarks.options --write-docs; do not edit. -->"
WIDTH_IN_A_PIPE = 150
NOT_USED = {"onnxruntime", "compiler of the floor"}  # by these benchmarks, of what `machine.describe` names

Rows = list[list[str]]


# --- what the tables hold ---


def table_of_options(result: dict[str, Any], group: str, figure: str = "ratio") -> tuple[list[str], Rows]:
    """Return titles and rows: for each option of a group one ratio per model."""
    keys = [model["key"] for model in result["models"]]
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for row in result["options"]:
        if row["group"] == group:
            rows.setdefault(row["option"], {})[row["model"]] = row
    defaults, *others = rows
    absolute, length = {"ratio": ("median_us", 1.0), "open_ratio": ("open_ms", 1e3)}[figure]
    return ["option", *keys], [
        [defaults, *(duration(rows[defaults][key][absolute] * length) for key in keys)],
        *([option, *(f"{rows[option][key][figure]:.2f}" for key in keys)] for option in others),
    ]


def table_of_presets(result: dict[str, Any], model: str) -> tuple[list[str], Rows]:
    """Return titles and rows: for each preset how one model does with it."""
    paces = result["settings"]["paces"]
    titles = ["preset", "back to back", f"{result['settings']['callers']} callers"]
    titles += [f"at {pace}/s" for pace in paces]
    titles += [f"CPU at {pace}/s" for pace in paces]
    return titles, [
        [
            row["preset"],
            _latencies(row["alone"]),
            f"{row['calls_per_second']:,.0f}/s",
            *(_latencies(row["paced"][str(pace)]) for pace in paces),
            *(f"{row['paced'][str(pace)]['cpu']:.1%}" for pace in paces),
        ]
        for row in result["presets"]
        if row["model"] == model
    ]


def _latencies(of: dict[str, float]) -> str:
    return f"{duration(of['p50_us'])}, {duration(of['p99_us'])}"


def duration(microseconds: float) -> str:
    """Write a duration with three digits."""
    for unit, length in (("µs", 1.0), ("ms", 1e3)):
        if microseconds < 999.5 * length:
            return f"{microseconds / length:.3g} {unit}"
    return f"{microseconds / 1e6:.3g} s"


def captioned(result: dict[str, Any]) -> Iterable[tuple[str, str, list[str], Rows]]:
    """Yield all tables, each with a heading and, unless that of the one before holds, with what it says."""
    caption = "The first row is how long a call takes; the others are ratios to it: less than 1 is faster."
    for group in GROUPS:
        yield group.title, caption, *table_of_options(result, group.key)
        caption = ""
    caption = "Likewise for opening a session from bytes."
    yield "To open a session", caption, *table_of_options(result, group.key, "open_ratio")
    caption = (
        "Latencies are the median and the 99th percentile of single calls; CPU is what the whole process burns while "
        "it waits for the next request and answers it, as a part of one CPU. Where a call takes longer than the pace "
        "allows, requests follow back to back."
    )
    for model in result["models"]:
        titles, rows = table_of_presets(result, model["key"])
        if rows:
            yield f"The presets: {model['key']}", caption, titles, rows
            caption = ""


def taken_with(result: dict[str, Any]) -> str:
    """Say on what and how it was measured."""
    settings = result["settings"]
    versions = ", ".join(f"{name} {value}" for name, value in result["machine"].items() if name not in NOT_USED)
    widths = [(row["quartiles"][1] - row["quartiles"][0]) / row["ratio"] for row in result["options"]]
    left_out = f" The library is too old for {', '.join(result['left_out'])}." if result["left_out"] else ""
    return (
        f"Taken on {result['taken'][:10]} with {versions}; load {result['load']} before. "
        f"Options: {settings['rounds']} rounds, medians of the ratios within each, of which the middle half spans "
        f"{sorted(widths)[len(widths) // 2]:.0%} of the median (in the middle one of the rows). "
        f"Presets: {settings['slices']} slices of {settings['seconds']} s for each figure.{left_out}"
    )


# --- where they go ---


def print_tables(result: dict[str, Any]) -> None:
    """Print what a person wants to see."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_IN_A_PIPE)
    for model in _models(result):
        console.print(", ".join(model))
    for heading, caption, titles, rows in captioned(result):
        table = Table(*titles[:1], title=heading, caption=caption, box=box.SIMPLE_HEAD)
        for title in titles[1:]:
            table.add_column(title, justify="right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(taken_with(result))


def write_json(result: dict[str, Any], path: Path) -> None:
    """Write the whole result."""
    path.write_text(json.dumps(result) + "\n", "utf-8")


def write_docs(result: dict[str, Any], page: Path) -> None:
    """Write the tables to the end of a page, in place of those that are there."""
    page.write_text(f"{page_without_tables(page)}{MARKER}\n\n{as_markdown(result)}", "utf-8")


def page_without_tables(page: Path) -> str:
    """Return what stands above the marker."""
    above, marker, _ = page.read_text("utf-8").partition(MARKER)
    if not marker:
        raise SystemExit(f"{page}: there is no line {MARKER!r}, below which the tables are written")
    return above


def as_markdown(result: dict[str, Any]) -> str:
    """Return the tables as the part of a page."""
    parts = ["## Measured", taken_with(result)]
    parts.append(_markdown_table(["model", "what it is", "size"], _models(result), "---"))
    for heading, caption, titles, rows in captioned(result):
        parts += [f"### {heading}", *([caption] if caption else []), _markdown_table(titles, rows)]
    return "\n\n".join(parts) + "\n"


def _models(result: dict[str, Any]) -> Rows:
    return [[model["key"], model["title"], _size(model["megabytes"])] for model in result["models"]]


def _size(megabytes: float) -> str:
    return f"{megabytes:.3g} MB" if megabytes > 0.1 else f"{megabytes * 1e6:.0f} bytes"


def _markdown_table(titles: Sequence[str], rows: Rows, alignment: str = "---:") -> str:
    lines = [titles, ["---", *[alignment] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('*', chr(92) + '*') for cell in line)} |" for line in lines)
