"""Measure calls and imports, and print one table: ``python -m benchmarks``.

All rows are measured in one process and in turns, so that what the machine does besides hits all
of them alike. Look at the ratios: they are taken within each round, and hold on a busy machine
where the nanoseconds do not. Nothing is written unless --json or --plot asks for it.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

NEEDED = ("numpy", "onnx", "onnxruntime", "rich")


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=positive, metavar="N", help="rounds; each measures every row once (400)")
    parser.add_argument("--calls", type=positive, metavar="N", help="calls of a row in a round (200)")
    parser.add_argument("--imports", type=positive, metavar="N", help="fresh processes for each import (20)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="see whether it works: 20 rounds of 50 calls, 3 imports",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers, the raw ones too")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture; the name's end tells the format")
    options = parser.parse_args(arguments)
    for name, usual, quick in (("rounds", 400, 20), ("calls", 200, 50), ("imports", 20, 3)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else usual)
    needed = [*NEEDED, *(["matplotlib"] if options.plot else [])]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        parser.exit(1, f"{parser.prog}: needs packages: `pip install {' '.join(missing)}`\n")
    return options


def positive(text: str) -> int:
    """Read a number that is at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = read_arguments(arguments)
    from . import fresh, measure, report, suite  # only now: they need what read_arguments looks for
    from .floor import FloorError

    try:
        calls = [row for case in suite.CASES for row in measure.measure_case(case, options.rounds, options.calls)]
    except FloorError as error:
        print(f"python -m benchmarks: {error}", file=sys.stderr)
        return 1
    imports = fresh.measure(suite.IMPORTS, options.imports)
    result = report.summarise(calls, imports, options)
    report.print_tables(result)
    if options.json:
        report.write_json(result, options.json)
    if options.plot:
        from . import picture

        picture.draw(result, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
