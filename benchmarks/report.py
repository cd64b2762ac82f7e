"""Turn measurements into a result, which is plain data; show it as tables, write it as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import machine, suite, ways
from .fresh import ImportMeasurement
from .measure import SEED, Measurement

Result = dict[str, Any]

WIDTH_IN_A_PIPE = 150


def summarise(
    calls: Sequence[Measurement], imports: Sequence[ImportMeasurement], options: argparse.Namespace
) -> Result:
    """Return the result: the machine, the settings, the figures and the raw numbers behind them."""
    per_call = {(measured.case.key, measured.row.key): measured.per_call for measured in calls}
    return {
        "format": 1,
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "settings": {
            "rounds": options.rounds,
            "calls": options.calls,
            "imports": options.imports,
            "seed": SEED,
        },
        "load": machine.load(),
        "cases": [
            {
                "key": case.key,
                "title": case.model.title,
                "threads": case.threads,
                "noise": _noise(case, per_call),
            }
            for case in suite.CASES
        ],
        "calls": [_call_row(measured, per_call) for measured in calls],
        "imports": [
            {
                "key": measured.row.key,
                "statement": measured.row.statement,
                "setup": measured.row.setup,
                "median_ns": float(np.median(measured.nanoseconds)),
                "quartiles_ns": _quartiles(measured.nanoseconds),
                # As a machine-independent measure, since milliseconds are not.
                "to_first": _ratio(imports[0].row.key, measured.nanoseconds, imports[0].nanoseconds),
                "raw_ns": measured.nanoseconds.tolist(),
            }
            for measured in imports
        ],
    }


def _call_row(measured: Measurement, per_call: dict[tuple[str, str], npt.NDArray[np.float64]]) -> Result:
    def compared_with(reference: suite.Row | None) -> Result | None:
        if reference is None:
            return None
        return _ratio(reference.key, measured.per_call, per_call[measured.case.key, reference.key])

    floor = measured.work.reference(suite.C) if measured.row.who != suite.C else None
    official = measured.work.reference(suite.OFFICIAL) if measured.row.who == suite.ORTX else None
    return {
        "key": measured.row.key,
        "case": measured.case.key,
        "work": measured.work.key,
        "work_title": measured.work.title,
        "who": measured.row.who,
        "call": measured.row.call
        if measured.row.who == suite.C
        else ways.statement_of(measured.row.call, measured.case.model),
        "label": measured.row.label,
        "median_ns": float(np.median(measured.per_call)),
        "quartiles_ns": _quartiles(measured.per_call),
        "p99_ns": float(np.percentile(measured.singles, 99)),
        "to_floor": compared_with(floor),
        "to_official": compared_with(official),
        "raw_ns": measured.batches.tolist(),
        "raw_calls": measured.calls,
    }


def _ratio(reference: str, values: npt.NDArray[Any], reference_values: npt.NDArray[Any]) -> Result:
    """Compare round by round: what slows the machine down slows both sides, and cancels out."""
    ratios = values / reference_values
    return {"row": reference, "median": float(np.median(ratios)), "quartiles": _quartiles(ratios)}


def _noise(case: suite.Case, per_call: dict[tuple[str, str], npt.NDArray[np.float64]]) -> Result | None:
    """Return the middle half's width of the first floor, relative to its median."""
    floor = next((row for work in case.works for row in work.rows if row.who == suite.C), None)
    if floor is None:
        return None
    values = per_call[case.key, floor.key]
    low, high = _quartiles(values)
    return {"row": floor.key, "relative_iqr": (high - low) / float(np.median(values))}


def _quartiles(values: npt.NDArray[Any]) -> list[float]:
    return [float(value) for value in np.percentile(values, (25, 75))]


def write_json(result: Result, path: Path) -> None:
    """Write the whole result."""
    path.write_text(json.dumps(result) + "\n", "utf-8")


def rows_by_work(result: Result, case: str) -> list[tuple[str, list[Result]]]:
    """Return the titles of a case's works, each with its rows, in the suite's order."""
    works: dict[str, list[Result]] = {}
    for row in result["calls"]:
        if row["case"] == case:
            works.setdefault(row["work_title"], []).append(row)
    return list(works.items())


# --- tables ---


def print_tables(result: Result) -> None:
    """Print what a person wants to see."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_IN_A_PIPE)
    for case in result["cases"]:
        console.print(_calls_table(result, case))
    console.print(_imports_table(result["imports"]))
    settings = result["settings"]
    console.print(
        f"Calls: {settings['rounds']} rounds of {settings['calls']} calls; median of the rounds' "
        "means; p99 of single calls, which contain one reading of the clock. Ratios: within each "
        "round, of these the median (and the middle half)."
    )
    for case in result["cases"]:
        if case["noise"]:
            console.print(
                f"Noise: over the rounds, the middle half of {case['noise']['row']} spans "
                f"{case['noise']['relative_iqr']:.1%} of its median; load {result['load']}."
            )
    console.print(", ".join(f"{name} {value}" for name, value in result["machine"].items()))


def _calls_table(result: Result, case: Result) -> Table:
    table = Table(
        title=f"One call of {case['title']}, {counted(case['threads'], 'thread')}",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("", no_wrap=True)
    table.add_column("call", overflow="fold")
    for title in ("median ns", "p99 ns", "x floor", "x official"):
        table.add_column(title, justify="right", no_wrap=True)
    for title, rows in rows_by_work(result, case["key"]):
        table.add_section()
        table.add_row("", Text(title, style="bold"))
        for row in rows:
            table.add_row(
                row["who"],
                Text(row["label"] or row["call"]),
                f"{row['median_ns']:.0f}",
                f"{row['p99_ns']:.0f}",
                _shown_ratio(row["to_floor"]),
                _shown_ratio(row["to_official"]),
            )
    return table


def _imports_table(rows: Sequence[Result]) -> Table:
    table = Table(title="An import in a fresh process", box=box.SIMPLE_HEAD)
    table.add_column("import")
    table.add_column("median ms", justify="right")
    table.add_column("middle half", justify="right")
    table.add_column(f"x {rows[0]['statement']}", justify="right")
    for row in rows:
        name = row["statement"] + (f" after {row['setup']}" if row["setup"] else "")
        low, high = (value / 1e6 for value in row["quartiles_ns"])
        table.add_row(
            Text(name),
            f"{row['median_ns'] / 1e6:.2f}",
            f"{low:.2f} - {high:.2f}",
            _shown_ratio(row["to_first"]),
        )
    return table


def _shown_ratio(ratio: Result | None) -> Text:
    if ratio is None:
        return Text("")
    low, high = ratio["quartiles"]
    return Text.assemble((f"{ratio['median']:.2f}", "bold"), (f"  ({low:.2f} - {high:.2f})", "dim"))


def counted(number: int, noun: str) -> str:
    """Return such as "1 thread" or "2 threads"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
