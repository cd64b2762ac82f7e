"""Turn measurements into a result, which is plain data: figures, and the raw numbers behind them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import fresh, machine, measure, memory, suite

Result = dict[str, Any]

FORMAT = 2
LEAST_SINGLES = 100  # for a 99th percentile


@dataclass
class Measured:
    """All that was measured."""

    calls: list[measure.Measurement] = field(default_factory=list)
    imports: list[fresh.ImportMeasurement] = field(default_factory=list)
    starts: list[fresh.StartMeasurement] = field(default_factory=list)
    memory: list[memory.MemoryMeasurement] = field(default_factory=list)


def summarise(measured: Measured, pace: suite.Pace, load_before: float, seconds: float) -> Result:
    """Return the result: the machine, the settings, the figures and the raw numbers."""
    return {
        "format": FORMAT,
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "machine": machine.describe(),
        "load": {"before": load_before, "after": machine.load()},
        "settings": {
            "rounds": pace.rounds,
            "calls": pace.calls,
            "seconds": pace.seconds,
            "imports": pace.imports,
            "seed": measure.SEED,
        },
        "cases": _cases(measured.calls),
        "calls": [_call_row(row, measured.calls) for row in measured.calls],
        "imports": [_import_row(row, measured.imports[0]) for row in measured.imports],
        "starts": [_start_row(row, measured.starts) for row in measured.starts],
        "memory": [_memory_row(row) for row in measured.memory],
    }


def write_json(result: Result, path: Path) -> None:
    """Write the whole result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result) + "\n", "utf-8")


def read_json(path: Path) -> Result:
    """Read what `write_json` wrote."""
    result: Result = json.loads(path.read_text("utf-8"))
    if result.get("format") != FORMAT:
        raise ValueError(f"{path}: format {result.get('format')}; expected {FORMAT}: measure anew")
    return result


def works_of(result: Result, case: str) -> list[list[Result]]:
    """Return the rows of each of a case's works, in the suite's order."""
    works: dict[str, list[Result]] = {}
    for row in result["calls"]:
        if row["case"] == case:
            works.setdefault(row["work"], []).append(row)
    return list(works.values())


# --- calls ------------------------------------------------------------------------------------------------------------


def _cases(rows: Sequence[measure.Measurement]) -> list[Result]:
    cases = []
    for case in dict.fromkeys(row.case for row in rows):
        mine = [row for row in rows if row.case is case]
        cases.append(
            {
                "key": case.key,
                "title": case.title,
                "threads": case.threads,
                "rounds": len(mine[0].series.batches),
                "noise": _noise(mine),
            }
        )
    return cases


def _noise(rows: Sequence[measure.Measurement]) -> Result:
    """Say how wide the middle half of the first floor is, and how far the same again is from it."""
    floor = next(row for row in rows if row.row.who == suite.C)
    values = floor.series.per_call
    low, high = quartiles(values)
    again = next((row for row in rows if row.row.again), None)
    return {
        "row": floor.row.key,
        "relative_iqr": (high - low) / float(np.median(values)),
        "again": again and ratio(floor.row.key, again.series.per_call, values),
    }


def _call_row(row: measure.Measurement, rows: Sequence[measure.Measurement]) -> Result:
    def found(wanted: suite.Row | None) -> measure.Measurement | None:
        return next((other for other in rows if other.case is row.case and other.row is wanted), None)

    def compared_with(other: measure.Measurement | None) -> Result | None:
        return None if other is None else ratio(other.row.key, row.series.per_call, other.series.per_call)

    of_ortx, of_c = row.row.who == suite.ORTX, row.row.who == suite.C
    floor = None if of_c else found(row.work.reference(suite.C))
    enough = len(row.series.singles) >= LEAST_SINGLES
    scaling = _scaling(row, rows)
    return {
        "key": row.row.key,
        "case": row.case.key,
        "work": row.work.key,
        "work_title": row.work.title,
        "who": row.row.who,
        "call": row.shown,
        "label": row.row.label,
        "callers": row.work.callers,
        "median_ns": float(np.median(row.series.per_call)),
        "quartiles_ns": quartiles(row.series.per_call),
        "p99_ns": float(np.percentile(row.series.singles, 99)) if enough else None,
        "to_floor": compared_with(floor),
        "to_official": compared_with(found(row.work.reference(suite.OFFICIAL))) if of_ortx else None,
        "scaling": None if scaling is None else spread(scaling),
        "scaling_to_floor": _scaling_to_floor(scaling, floor, rows),
        "raw_ns": row.series.batches.tolist(),
        "raw_calls": row.series.calls,
    }


def _scaling(row: measure.Measurement, rows: Sequence[measure.Measurement]) -> npt.NDArray[np.float64] | None:
    """Return how many times the throughput of one caller several have, round by round."""
    if row.work.callers == 1:
        return None
    alone = next(
        other
        for other in rows
        if other.case is row.case
        and other.work.callers == 1
        and (other.row.who, other.row.call) == (row.row.who, row.row.call)
    )
    return alone.series.per_call / row.series.per_call


def _scaling_to_floor(
    scaling: npt.NDArray[np.float64] | None,
    floor: measure.Measurement | None,
    rows: Sequence[measure.Measurement],
) -> Result | None:
    if scaling is None or floor is None:
        return None
    of_floor = _scaling(floor, rows)
    assert of_floor is not None
    return ratio(floor.row.key, scaling, of_floor)


# --- processes --------------------------------------------------------------------------------------------------------


def _import_row(row: fresh.ImportMeasurement, first: fresh.ImportMeasurement) -> Result:
    return {
        "key": row.row.key,
        "statement": row.row.statement,
        "setup": row.row.setup,
        "median_ns": float(np.median(row.nanoseconds)),
        "quartiles_ns": quartiles(row.nanoseconds),
        # As a machine-independent measure, since milliseconds are not.
        "to_first": ratio(first.row.key, row.nanoseconds, first.nanoseconds),
        "raw_ns": row.nanoseconds.tolist(),
    }


def _start_row(row: fresh.StartMeasurement, rows: Sequence[fresh.StartMeasurement]) -> Result:
    """Compare whole processes.

    What a side takes longer than a Python that imports numpy and ends is its own. The floor is the C
    program and that Python together. Not all above it is a binding's to blame for: the same program as
    a function that Python calls takes longer than by itself.
    """
    whole = {other.process.who: other.whole for other in rows if other.start is row.start}
    who = row.process.who
    of_python = who in (suite.PYTHON, suite.ORTX, suite.OFFICIAL)
    floor = whole[suite.C] + whole[fresh.BARE]
    excess = row.whole - whole[fresh.BARE] if of_python else row.whole
    return {
        "start": row.start.key,
        "title": row.start.title,
        "who": who,
        "median_ns": float(np.median(row.whole)),
        "quartiles_ns": quartiles(row.whole),
        "phases_ns": dict(zip(row.process.phases, np.median(row.phases, 0).tolist(), strict=True)),
        "excess_ns": None if who == fresh.BARE else float(np.median(excess)),
        "to_floor": ratio(suite.C, row.whole, floor) if of_python else None,
        "above_floor_ns": float(np.median(row.whole - floor)) if of_python else None,
        "raw_ns": row.whole.tolist(),
    }


def _memory_row(row: memory.MemoryMeasurement) -> Result:
    steps = np.median(row.resident, 0)
    opened = np.diff(steps)[:-1]
    return {
        "memory": row.memory.key,
        "title": row.memory.title,
        "who": row.who,
        "sessions": row.memory.sessions,
        "model_bytes": row.model_bytes,
        "before_bytes": float(steps[0]),
        "first_bytes": float(opened[0]),
        "further_bytes": float(np.median(opened[1:])),
        "left_bytes": float(steps[-1] - steps[0]),
        "raw_bytes": row.resident.tolist(),
    }


# --- figures ----------------------------------------------------------------------------------------------------------


def ratio(reference: str, values: npt.NDArray[Any], reference_values: npt.NDArray[Any]) -> Result:
    """Compare round by round: what slows the machine down slows both sides, and cancels out."""
    return {"row": reference, **spread(values / reference_values)}


def spread(values: npt.NDArray[Any]) -> Result:
    """Return the median and the middle half."""
    return {"median": float(np.median(values)), "quartiles": quartiles(values)}


def quartiles(values: npt.NDArray[Any]) -> list[float]:
    """Return where the middle half begins and ends."""
    return [float(value) for value in np.percentile(values, (25, 75))]
