"""How a profile is shown: tables in a terminal, and a picture."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ._core import InvalidArgument, NotSupported, shown
from .profilerows import Call, Node, Operator, Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table

    from .profiling import Profile

__all__ = ["draw", "print_tables", "tables"]

_COLOURS = 9  # operators that have one of their own
_OTHERS = "#999999"
_OUTLINED = 60  # so many bars in a row have outlines: of more, nothing else would be seen


def _lacks(function: str, package: str) -> NotSupported:
    return NotSupported(f'Profile.{function}: needs the package {package}: pip install "ortx[report]"')


# --- tables ---------------------------------------------------------------------------------------------------------


def print_tables(profile: Profile, most: int) -> None:
    """Print the tables of a profile; see `Profile.print`."""
    try:
        from rich.console import Console
    except ImportError:
        raise _lacks("print", "rich") from None
    console = Console()
    for table in tables(profile, most):
        console.print(table)


def tables(profile: Profile, most: int) -> Iterator[Table]:
    """Yield the tables of the most expensive operators and nodes, for rich."""
    yield _table("operator", profile.operators, most, len(profile.runs))
    yield _table("node", profile.nodes, most, len(profile.runs))


def _table(what: str, rows: tuple[Operator, ...] | tuple[Node, ...], most: int, runs: int) -> Table:
    from rich.table import Table

    table = Table(title=f"{len(rows)} {what}s, {runs} runs", title_justify="left")
    for heading in (what, "operator") if what == "node" else (what,):
        table.add_column(heading, overflow="fold", no_wrap=heading != "node")
    table.add_column("provider", no_wrap=True)
    for heading in ("calls", "ms", "own ms", "share", "mean ms", "max ms"):
        table.add_column(heading, justify="right")
    for row in rows[:most]:
        names = (row.name, row.operator) if isinstance(row, Node) else (row.name,)
        table.add_row(
            *names,
            _short(row.provider),
            str(row.calls),
            _ms(row.seconds),
            _ms(row.own_seconds),
            f"{row.share:.1%}",
            _ms(row.mean_seconds),
            _ms(row.maximum_seconds),
        )
    return table


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3f}"


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")


# --- the picture ----------------------------------------------------------------------------------------------------


def draw(profile: Profile, path: str | os.PathLike[str], most: int, run: int | None) -> None:
    """Draw the picture of a profile; see `Profile.plot`."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise _lacks("plot", "matplotlib") from None
    span = _chosen_run(profile.runs, run)
    names = dict.fromkeys(operator.name for operator in profile.operators)
    colours = {name: f"C{i}" if i < _COLOURS else _OTHERS for i, name in enumerate(names)}
    with rc_context({"font.size": 9, "svg.hashsalt": "ortx"}):  # so that one profile always gives one file
        figure = Figure(figsize=(9, 6), layout="constrained")
        bars, timeline = figure.subplots(2, 1, height_ratios=[3, 2])
        _draw_operators(bars, profile, colours, most)
        _draw_timeline(timeline, profile, colours, span)
        try:
            figure.savefig(path, metadata={"Date": None} if os.fspath(path).endswith(".svg") else None)
        except ValueError as error:
            raise InvalidArgument(f"Profile.plot: path: got {os.fspath(path)!r}: {error}") from None


def _chosen_run(runs: tuple[Span, ...], index: int | None) -> Span | None:
    """Return the run with an index, or a typical one; None if there is none at all."""
    if index is None:
        by_time = sorted(runs, key=lambda span: span.seconds)
        return by_time[len(by_time) // 2] if by_time else None
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(runs):
        raise InvalidArgument(
            f"Profile.plot: run: got {shown(index)}; expected the index of one of {len(runs)} runs, or nothing"
        )
    return runs[index]


def _draw_operators(axes: Axes, profile: Profile, colours: dict[str, str], most: int) -> None:
    rows = profile.operators[:most]
    providers = {row.provider for row in profile.operators}
    labels = [row.name if len(providers) == 1 else f"{row.name} ({_short(row.provider)})" for row in rows]
    times = [1e3 * row.own_seconds for row in rows]
    bars = axes.barh(range(len(rows)), times, color=[colours[row.name] for row in rows])
    axes.bar_label(bars, [f" {row.share:.0%}, {row.calls} calls" for row in rows], fontsize=8)
    axes.set_yticks(range(len(rows)), labels)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel("ms in all runs, without nodes inside of others")
    axes.set_title(f"The most expensive of {len(profile.operators)} operators, {len(profile.runs)} runs", loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_timeline(axes: Axes, profile: Profile, colours: dict[str, str], run: Span | None) -> None:
    """Draw a row for each thread, and below it one for each level of nodes inside of nodes."""
    start, end = (run.start, run.start + run.seconds) if run else (0.0, float("inf"))
    bars: dict[tuple[int, int], list[Call]] = defaultdict(list)
    for call in profile.calls:
        if start <= call.start <= end:
            bars[call.thread, call.depth].append(call)
    rows = sorted(bars)
    for y, row in enumerate(rows):
        axes.broken_barh(
            [(1e3 * (call.start - start), 1e3 * call.seconds) for call in bars[row]],
            (y - 0.4, 0.8),
            facecolors=[colours[call.operator] for call in bars[row]],
            edgecolor="white",
            linewidth=0.3 if len(bars[row]) <= _OUTLINED else 0,
        )
    axes.set_yticks(range(len(rows)), [f"thread {thread}" if depth == 0 else "inside" for thread, depth in rows])
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    if run:
        axes.set_xlim(0, 1e3 * max(run.seconds, 1e-6))
    which = f"Run {profile.runs.index(run)}" if run else "All calls"
    axes.set_title(f"{which}, node by node, in the colours of the operators", loc="left")
    axes.set_xlabel("ms")
    axes.spines[["top", "right"]].set_visible(False)
