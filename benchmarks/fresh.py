"""Time statements that can be run only once in a process, such as imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import suite


@dataclass(frozen=True)
class ImportMeasurement:
    """The raw numbers of one statement: nanoseconds in each process."""

    row: suite.Import
    nanoseconds: npt.NDArray[np.int64]


def measure(rows: Sequence[suite.Import], processes: int) -> list[ImportMeasurement]:
    """Time each statement in this many fresh processes, in turns.

    The clock runs inside the process, around the statement: starting the interpreter is not
    counted. One process of each goes before and is not counted either; it fills the disk cache and
    writes byte code.
    """
    times: dict[str, list[int]] = {row.key: [] for row in rows}
    for _ in range(processes + 1):
        for row in rows:
            times[row.key].append(_time_once(row))
    return [ImportMeasurement(row, np.array(times[row.key][1:], np.int64)) for row in rows]


def _time_once(row: suite.Import) -> int:
    program = "\n".join(
        (
            "from time import perf_counter_ns",
            row.setup,
            "start = perf_counter_ns()",
            row.statement,
            "print(perf_counter_ns() - start)",
        )
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(finished.stdout)
