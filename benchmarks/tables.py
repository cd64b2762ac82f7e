"""Show a result as one table in sections."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import suite
from .fresh import BARE
from .result import Result, works_of

WIDTH_IN_A_PIPE = 150
NAMES = {suite.C: "C", suite.ORTX: "ortx", suite.OFFICIAL: "official", BARE: "bare Python", suite.PYTHON: "Python"}


def print_tables(result: Result) -> None:
    """Print what a person wants to see."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_IN_A_PIPE)
    console.print(_calls_table(result))
    console.print(_callers_table(result))
    if result["imports"]:
        console.print(_imports_table(result["imports"]))
    if result["starts"]:
        console.print(_starts_table(result["starts"]))
    if result["memory"]:
        console.print(_memory_table(result["memory"]))
    for line in explained(result):
        console.print(line)


def explained(result: Result) -> Iterator[str]:
    """Say how to read the figures, how noisy the machine was and which it was."""
    settings, load = result["settings"], result["load"]
    yield (
        f"Calls: at most {settings['rounds']} rounds of {settings['calls']} calls, {settings['seconds']:g} s a case; "
        "median of the rounds' means; p99 of single calls, which contain one reading of the clock (none below 100 "
        "calls). Ratios: within each round, of these the median (and the middle half)."
    )
    yield noise(result)
    yield f"Load average {load['before']} before, {load['after']} after; it took {result['seconds']:.0f} s."
    yield ", ".join(f"{name} {value}" for name, value in result["machine"].items()) + "."


def noise(result: Result, brief: bool = False) -> str:
    """Say how noisy the machine was, by what the floor did."""
    widths = {case["key"]: case["noise"]["relative_iqr"] for case in result["cases"]}
    text = "Noise: over the rounds, the middle half of a case's floor spans "
    if brief:
        text += f"{min(widths.values()):.0%} to {max(widths.values()):.0%} of its median."
    else:
        text += ", ".join(f"{width:.0%} ({key})" for key, width in widths.items()) + " of its median."
    again = next((case["noise"]["again"] for case in result["cases"] if case["noise"]["again"]), None)
    if again:
        low, high = again["quartiles"]
        text += (
            f" The same row twice in a round gives a ratio of {again['median']:.3f} ({low:.2f} - {high:.2f}), not 1."
        )
    return text


def _calls_table(result: Result) -> Table:
    table = Table(title="What a call costs", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    table.add_column("call", overflow="fold", ratio=1)
    for title in ("median us", "p99 us", "x floor", "x official"):
        table.add_column(title, justify="right", no_wrap=True)
    for case in result["cases"]:
        works = [rows for rows in works_of(result, case["key"]) if not is_by_callers(result, rows[0])]
        if not works:
            continue
        table.add_section()
        table.add_row("", Text(case_title(case), style="bold underline"))
        for rows in works:
            table.add_row("", Text(rows[0]["work_title"], style="bold"))
            for row in rows:
                table.add_row(
                    NAMES[row["who"]],
                    Text(row["label"] or row["call"]),
                    microseconds(row["median_ns"]),
                    microseconds(row["p99_ns"]) if row["p99_ns"] else "-",
                    _shown_ratio(row["to_floor"]),
                    _shown_ratio(row["to_official"]),
                )
    return table


def _callers_table(result: Result) -> Table:
    table = Table(title="Several threads, one session", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for title in ("threads", "calls per ms", "x floor", "scaling", "scaling x floor's"):
        table.add_column(title, justify="right", no_wrap=True)
    for case in result["cases"]:
        rows = [row for rows in works_of(result, case["key"]) for row in rows if is_by_callers(result, row)]
        if not rows:
            continue
        table.add_section()
        table.add_row(Text(case["title"], style="bold underline"))
        for who in NAMES:
            for row in (row for row in rows if row["who"] == who):
                table.add_row(
                    NAMES[who],
                    str(row["callers"]),
                    f"{1e6 / row['median_ns']:.1f}",
                    _shown_ratio(row["to_floor"]),
                    _shown_ratio(row["scaling"]),
                    _shown_ratio(row["scaling_to_floor"]),
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


def _starts_table(rows: Sequence[Result]) -> Table:
    table = Table(title="A whole process: import, load, create a session, run once, end", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    table.add_column("its phases, ms", overflow="fold")
    for title in ("median ms", "more than bare", "x (C + bare)", "above C + bare"):
        table.add_column(title, justify="right", no_wrap=True)
    for title, group in grouped(rows, "title"):
        table.add_section()
        table.add_row("", Text(title, style="bold underline"))
        for row in group:
            table.add_row(
                NAMES[row["who"]],
                ", ".join(f"{name} {time / 1e6:.1f}" for name, time in row["phases_ns"].items()),
                f"{row['median_ns'] / 1e6:.1f}",
                "" if row["excess_ns"] is None else f"{row['excess_ns'] / 1e6:.1f}",
                _shown_ratio(row["to_floor"]),
                "" if row["above_floor_ns"] is None else f"{row['above_floor_ns'] / 1e6:.1f}",
            )
    return table


def _memory_table(rows: Sequence[Result]) -> Table:
    table = Table(title="Resident memory, MB; each session is run once", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for title in ("before", "first session", "each further one", "left after closing"):
        table.add_column(title, justify="right", no_wrap=True)
    for title, group in grouped(rows, "title"):
        table.add_section()
        table.add_row(Text(f"{title}, {group[0]['model_bytes'] / 1e6:.0f} MB", style="bold underline"))
        for row in group:
            figures = (row["before_bytes"], row["first_bytes"], row["further_bytes"], row["left_bytes"])
            table.add_row(NAMES[row["who"]], *(f"{figure / 1e6:.0f}" for figure in figures))
    return table


# --- parts ------------------------------------------------------------------------------------------------------------


def is_by_callers(result: Result, row: Result) -> bool:
    """Return whether a row belongs to a case about several threads."""
    return any(other["callers"] > 1 for other in result["calls"] if other["case"] == row["case"])


def grouped(rows: Sequence[Result], name: str) -> list[tuple[str, list[Result]]]:
    """Return rows by what they have under a name, in their order."""
    groups: dict[str, list[Result]] = {}
    for row in rows:
        groups.setdefault(row[name], []).append(row)
    return list(groups.items())


def case_title(case: Result) -> str:
    """Return what a case is about."""
    return f"{case['title']}; {counted(case['threads'], 'thread')}"


def microseconds(nanoseconds: float) -> str:
    """Return a time with about three digits."""
    return _three_digits(nanoseconds / 1000)


def with_unit(nanoseconds: float) -> str:
    """Return a time with about three digits, in microseconds or milliseconds."""
    in_milliseconds = nanoseconds >= 1e6
    return f"{_three_digits(nanoseconds / (1e6 if in_milliseconds else 1e3))} {'ms' if in_milliseconds else 'us'}"


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _shown_ratio(ratio: Result | None) -> Text:
    if ratio is None:
        return Text("")
    low, high = ratio["quartiles"]
    return Text.assemble((f"{ratio['median']:.2f}", "bold"), (f"  ({low:.2f} - {high:.2f})", "dim"))


def counted(number: int, noun: str) -> str:
    """Return such as "1 thread" or "2 threads"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
