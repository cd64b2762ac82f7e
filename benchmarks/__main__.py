"""Measure ortx beside C and the official package, and print one table: ``python -m benchmarks``.

All rows of a case are measured in one process and in turns, so that what the machine does besides
hits all of them alike. Look at the ratios: they are taken within each round, and hold on a busy
machine where the times do not. Nothing is written unless --json or --plot asks for it.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

NEEDED = ("numpy", "onnx", "onnxruntime", "rich")


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=positive, metavar="N", help="most rounds; each measures every row once (400)")
    parser.add_argument("--calls", type=positive, metavar="N", help="most calls of a row in a round (200)")
    parser.add_argument("--seconds", type=float, metavar="S", help="about how long a case may take (12)")
    parser.add_argument("--imports", type=positive, metavar="N", help="fresh processes for each import (40)")
    parser.add_argument("--memory", type=positive, metavar="N", help="fresh processes that open many sessions (3)")
    parser.add_argument("--case", action="append", metavar="KEY", help="only this case, without imports and the like")
    parser.add_argument("--quick", action="store_true", help="see whether it works: everything once, in a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers, the raw ones too")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture; the name's end tells the format")
    options = parser.parse_args(arguments)
    need(parser, [*NEEDED, *(["matplotlib"] if options.plot else [])])
    return options


def need(parser: argparse.ArgumentParser, packages: Sequence[str]) -> None:
    """Leave with an explanation if a package is missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        parser.exit(1, f"{parser.prog}: needs packages: `pip install {' '.join(missing)}`\n")


def positive(text: str) -> int:
    """Read a number that is at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = read_arguments(arguments)
    # Only now: they need what read_arguments looks for.
    from . import fresh, machine, measure, memory, result, suite, tables
    from .floor import FloorError

    cases = {case.key: case for case in suite.CASES}
    if unknown := set(options.case or ()) - set(cases):
        print(f"python -m benchmarks: no case {', '.join(unknown)}; there are {', '.join(cases)}", file=sys.stderr)
        return 2
    usual = suite.QUICK if options.quick else suite.Pace()
    given = {name: getattr(options, name) for name in ("rounds", "calls", "seconds", "imports", "memory")}
    pace = dataclasses.replace(usual, **{name: value for name, value in given.items() if value is not None})
    load, start = machine.load(), time.monotonic()
    measured = result.Measured()
    try:
        for key in options.case or cases:
            measured.calls += measure.measure_case(cases[key], pace)
        if not options.case:
            measured.imports = fresh.measure_imports(suite.IMPORTS, pace.imports)
            for one in suite.STARTS:
                measured.starts += fresh.measure_start(one, max(math.ceil(pace.imports * one.share), 1))
            for each in suite.MEMORY:
                measured.memory += memory.measure(each, pace.memory)
    except FloorError as error:
        print(f"python -m benchmarks: {error}", file=sys.stderr)
        return 1
    summary = result.summarise(measured, pace, load, time.monotonic() - start)
    tables.print_tables(summary)
    if options.json:
        result.write_json(summary, options.json)
    if options.plot:
        from . import picture

        picture.draw(summary, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
