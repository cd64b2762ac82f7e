"""Measure how a call's cost grows: ``python -m benchmarks.growth``.

With the number of inputs, of outputs, with the size of a tensor, the number of threads that call,
and of sessions that are used in turn. All points of a curve are measured in every round, so that
what the machine does besides hits all of them alike; slopes are fitted within each round.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .__main__ import NEEDED, need

Result = dict[str, Any]
Key = tuple[int, str]

FORMAT = 1


@dataclass(frozen=True)
class Sweep:
    """A curve: `of` says what its points vary."""

    key: str
    title: str
    unit: str  # what a slope is per
    points: Sequence[int]
    of: str = "model"  # or "callers", "sessions"
    unit_size: int = 1  # of the points' numbers
    relative: bool = True  # the fit: every point counts by its relative error, else the large ones count most
    model: Callable[[int], Any] | None = None  # None: the tiny one


def sweeps() -> tuple[Sweep, ...]:
    """Return what is measured."""
    from . import models

    sizes = (4, 64, 1024, 16 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20)
    counts = (1, 2, 5, 10, 20, 50, 100, 200)
    return (
        Sweep("inputs", "inputs of one number (Concat)", "input", counts, model=models.many_inputs),
        Sweep("outputs", "outputs of one number (Split)", "output", counts, model=models.many_outputs),
        Sweep("size", "bytes in and out (Neg)", "MiB", sizes, unit_size=1 << 20, model=models.of_size, relative=False),
        Sweep("callers", "threads on one session (Mul)", "thread", (1, 2, 3, 4, 8), of="callers"),
        Sweep("sessions", "sessions used in turn (Mul)", "session", (1, 2, 4, 8, 16), of="sessions"),
    )


def measure_sweep(sweep: Sweep, rounds: int, calls: int, seconds: float) -> Result:
    """Measure one curve on every side."""
    from . import measure, models, suite, ways

    rows = (
        suite.Row("floor", suite.C, "fresh_allocated"),
        suite.Row("ortx", suite.ORTX, "next(turn).run($inputs)" if sweep.of == "sessions" else "session.run($inputs)"),
        suite.Row(
            "official",
            suite.OFFICIAL,
            "next(turn).run(None, $inputs)" if sweep.of == "sessions" else "session.run(None, $inputs)",
        ),
    )
    samplers: dict[Key, ways.Sampler] = {}
    with contextlib.ExitStack() as stack:
        for point in sweep.points:
            model = sweep.model(point) if sweep.model else models.tiny()
            sessions = point if sweep.of == "sessions" else 1
            sides = stack.enter_context(ways.open_sides(model, threads=1, sessions=sessions))
            for row in rows:
                samplers[point, row.who] = sides.sampler(row, point if sweep.of == "callers" else 1)
        many = 50 if sweep.of == "callers" else 1  # threads need time to meet
        longest = 4 * measure.MILLISECOND * (5 if sweep.of == "callers" else 1)
        series = measure.measure(samplers, measure.Limits(rounds, calls * many, seconds, longest=longest))
    return _summarised(sweep, {key: one.per_call for key, one in series.items()})


def _summarised(sweep: Sweep, per_call: dict[Key, npt.NDArray[np.float64]]) -> Result:
    from . import suite
    from .result import ratio, spread

    floor = np.array([per_call[point, suite.C] for point in sweep.points])
    floor_slopes = slopes(sweep, floor)
    # Where nothing grows in C, a ratio of slopes is one of chances.
    grows = float(np.median(floor_slopes)) > 0.01 * float(np.median(floor[0]))
    sides = {}
    for who in (suite.C, suite.ORTX, suite.OFFICIAL):
        times = np.array([per_call[point, who] for point in sweep.points])  # a row for each point
        side_slopes = slopes(sweep, times)
        is_floor, by_callers = who == suite.C, sweep.of == "callers"
        sides[who] = {
            "median_ns": np.median(times, 1).tolist(),
            "to_floor": None if is_floor else [spread(row) for row in times / floor],
            "slope_ns": None if by_callers else spread(side_slopes),
            "slope_to_floor": None
            if by_callers or is_floor or not grows
            else ratio(suite.C, side_slopes, floor_slopes),
            "scaling": [spread(row) for row in times[0] / times] if by_callers else None,
            "scaling_to_floor": [spread(row) for row in (times[0] / times) / (floor[0] / floor)]
            if by_callers
            else None,
        }
    return {
        "key": sweep.key,
        "title": sweep.title,
        "unit": sweep.unit,
        "unit_size": sweep.unit_size,
        "of": sweep.of,
        "points": list(sweep.points),
        "rounds": int(floor.shape[1]),
        "sides": sides,
    }


def slopes(sweep: Sweep, times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return nanoseconds per further unit in each round, by a least-squares fit of a line."""
    points = np.array(sweep.points, np.float64) / sweep.unit_size
    return np.array([np.polyfit(points, one, 1, w=1 / one if sweep.relative else None)[0] for one in times.T])


def statement(sweep: Result) -> str:
    """Say in a sentence how the cost grows."""
    from .tables import NAMES

    sides = sweep["sides"]
    if sweep["of"] == "callers":
        position = sweep["points"].index(2)
        parts = [
            f"{NAMES[who]} {side['scaling'][position]['median']:.2f}"
            + (f" ({side['scaling_to_floor'][position]['median']:.2f} of C's)" if side["to_floor"] else "")
            for who, side in sides.items()
        ]
        return "throughput with 2 threads, with 1 being 1: " + ", ".join(parts)
    parts = [
        f"{NAMES[who]} {side['slope_ns']['median']:,.0f} ns"
        + (f" ({side['slope_to_floor']['median']:.2f} x C)" if side["slope_to_floor"] else "")
        for who, side in sides.items()
    ]
    return f"each further {sweep['unit']}: " + ", ".join(parts)


def print_result(result: Result) -> None:
    """Print a table for each curve, and its statement."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from .tables import NAMES, WIDTH_IN_A_PIPE, microseconds

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_IN_A_PIPE)
    for sweep in result["sweeps"]:
        table = Table(title=f"us a call, by {sweep['title']}; {sweep['rounds']} rounds", box=box.SIMPLE_HEAD)
        table.add_column("")
        for point in sweep["points"]:
            table.add_column(shown_point(sweep, point), justify="right")
        for who, side in sweep["sides"].items():
            table.add_row(NAMES[who], *map(microseconds, side["median_ns"]))
            if side["to_floor"]:
                table.add_row("  x C", *(f"{ratio['median']:.2f}" for ratio in side["to_floor"]))
        console.print(table)
        console.print(statement(sweep))
    load = result["load"]
    console.print(f"\nLoad average {load['before']} before, {load['after']} after; it took {result['seconds']:.0f} s.")
    console.print(", ".join(f"{name} {value}" for name, value in result["machine"].items()) + ".")


def shown_point(sweep: Result, point: int) -> str:
    """Return a point for people: sizes with their units."""
    if sweep["key"] != "size":
        return str(point)
    for unit, size in (("MB", 1 << 20), ("kB", 1 << 10)):
        if point >= size:
            return f"{point // size} {unit}"
    return f"{point} B"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see whether it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture; the name's end tells the format")
    options = parser.parse_args(arguments)
    need(parser, [*NEEDED, *(["matplotlib"] if options.plot else [])])
    from . import machine
    from .floor import FloorError
    from .result import write_json

    rounds, calls, seconds = (3, 10, 0.5) if options.quick else (100, 200, 12.0)
    load, start = machine.load(), time.monotonic()
    try:
        measured = [measure_sweep(sweep, rounds, calls, seconds) for sweep in sweeps()]
    except FloorError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    result = {
        "format": FORMAT,
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - start, 1),
        "machine": machine.describe(),
        "load": {"before": load, "after": machine.load()},
        "sweeps": measured,
    }
    print_result(result)
    if options.json:
        write_json(result, options.json)
    if options.plot:
        from . import growth_picture

        growth_picture.draw(result, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
