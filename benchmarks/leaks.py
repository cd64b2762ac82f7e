"""Run every way of running many times, and look at the process's memory: ``python -m benchmarks.leaks``.

After a warm-up the memory is read, and again after so many runs; both times what is free goes back to the system first.
Three readings: what lies in memory, what the C library has given out, and how many blocks Python's allocator has.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import platform
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ortx
from ortx import _core

from . import machine
from .publish import replaced, table

DOCS = Path(__file__).parents[1] / "docs" / "memory.md"
COMMAND = "benchmarks.leaks --write-docs"
RUNS = 1_000_000
MOST = 1 << 20  # bytes that the process may grow by, over all runs of a way
WARM_UP = 1000  # runs at least: what is made once, and caches that have to fill


@dataclass(frozen=True)
class Growth:
    """What changed over the runs of a way; None: not known on this system."""

    way: str
    runs: int
    seconds: float
    resident: int | None  # bytes
    allocated: int | None  # bytes that the C library has given out
    blocks: int  # of Python's allocator
    handles: Mapping[str, int]  # native ones that are left over


@dataclass(frozen=True)
class Reading:
    """The process's memory at a moment."""

    resident: int | None
    allocated: int | None
    blocks: int
    handles: Mapping[str, int]


def read() -> Reading:
    """Read the memory, once everything that is free has gone back."""
    for _ in range(3):
        gc.collect()
        if not any(_core._live_handles().values()):
            break
        time.sleep(0.01)  # a thread may still be putting its last run away
    ortx.trim_memory()
    return Reading(resident(), allocated(), sys.getallocatedblocks(), _core._live_handles())


def resident() -> int | None:
    """Return how many bytes of this process lie in memory and are no file's, if the system says so."""
    if sys.platform != "linux":
        return None
    match = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    return int(match[1]) * 1024 if match else None


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "x")
    ]


def allocated() -> int | None:
    """Return how many bytes glibc has given out, in all its arenas; None with another C library."""
    if platform.libc_ver()[0] != "glibc":
        return None
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):  # before 2.33
        return None
    libc.mallinfo2.restype = _Mallinfo2
    info = libc.mallinfo2()
    return int(info.uordblks + info.hblkhd)


def measure(runs: int, titles: Sequence[str] | None = None) -> Iterator[Growth]:
    """Run the ways, one after another."""
    from .leak_ways import FRACTION, PER_STEP, WAYS  # only now: it needs packages

    for title in titles or WAYS:
        with ExitStack() as stack:
            step, per_step = WAYS[title](stack), PER_STEP[title]
            steps = -(-runs // per_step // FRACTION[title])
            repeat(step, max(WARM_UP // per_step // FRACTION[title], steps // 50))
            before = read()
            began = time.perf_counter()
            repeat(step, steps)
            seconds = time.perf_counter() - began
            after = read()
        yield Growth(
            title,
            steps * per_step,
            round(seconds, 2),
            None if after.resident is None or before.resident is None else after.resident - before.resident,
            None if after.allocated is None or before.allocated is None else after.allocated - before.allocated,
            after.blocks - before.blocks,
            {
                kind: count - before.handles[kind]
                for kind, count in after.handles.items()
                if count != before.handles[kind]
            },
        )


def repeat(step: Any, count: int) -> None:
    for _ in range(count):
        step()


def problem(growth: Growth) -> str:
    """Say what is wrong with a way, or nothing."""
    if growth.handles:
        return f"native handles are left: {dict(growth.handles)}"
    if growth.resident is not None and growth.resident >= MOST:
        return f"the process has grown by {growth.resident} bytes"
    return ""


def as_markdown(result: Mapping[str, Any]) -> str:
    lines = [
        (
            row["way"],
            f"{row['runs']:,}",
            *("?" if row[key] is None else f"{row[key] / 1024:+.0f} KB" for key in ("resident", "allocated")),
            f"{row['blocks']:+d}",
        )
        for row in result["ways"]
    ]
    head = ("way", "runs", "resident memory", "given out by malloc", "Python's blocks")
    where = result["machine"]
    return (
        f"{table(head, lines, left=1)}\n\nONNX Runtime {where['ONNX Runtime']}, numpy {where['numpy']}, Python "
        f"{where['Python']}, {where['system']}; many ways one after another in a process."
    )


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; return 1 if a way lets the process grow too much."""
    parser = argparse.ArgumentParser("python -m benchmarks.leaks", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"runs of each way (default: {RUNS})")
    parser.add_argument("--way", action="append", metavar="TEXT", help="only ways that contain this; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures into a file")
    parser.add_argument("--write-docs", action="store_true", help=f"write the table into docs/{DOCS.name}")
    given = parser.parse_args(arguments)
    from .leak_ways import WAYS

    titles = [title for title in WAYS if not given.way or any(text in title for text in given.way)]
    rows, failed = [], False
    for growth in measure(given.runs, titles):
        rows.append(asdict(growth))
        wrong = problem(growth)
        failed |= bool(wrong)
        print(json.dumps(asdict(growth)), flush=True)
        if wrong:
            print(f"{growth.way}: {wrong}", file=sys.stderr, flush=True)
    result = {"machine": machine.describe(), "ways": rows}
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(result, indent=1), "utf-8")
    if given.write_docs:
        DOCS.write_text(replaced(DOCS.read_text("utf-8"), "leaks", as_markdown(result), COMMAND), "utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
