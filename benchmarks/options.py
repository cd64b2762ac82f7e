"""Measure what session options are worth, and what the presets do: ``python -m benchmarks.options``.

Each option is compared with the defaults, on a tiny model and on real ones, in turns: look at the
ratios, which are taken within each round. The presets are run as a program would run them: back to
back, by several threads at once, and at a pace, where what counts is also the CPU time that a
session takes while nobody asks it anything.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ortx

    from .real_models import RealModel

NEEDED = ("numpy", "onnx", "onnxruntime", "rich")
DOCS = Path(__file__).parents[1] / "docs" / "tuning.md"
SEED = 1
PACES = (45, 100, 200)  # requests a second
DEFAULT = "(defaults)"


@dataclass(frozen=True)
class Group:
    """Options that are compared with the same session."""

    key: str
    title: str
    common: Mapping[str, Any]  # what all its sessions have
    options: Mapping[str, Mapping[str, Any]]  # by how a user writes it


def _entries(*entries: tuple[str, str]) -> dict[str, Mapping[str, Any]]:
    return {f"{key}={value}": {"config_entries": {key: value}} for key, value in entries}


GROUPS = (
    Group(
        "threads",
        "Options of threads, on all CPUs",
        {},
        {
            "intra_op_num_threads=1": {"intra_op_num_threads": 1},
            "intra_op_num_threads=2": {"intra_op_num_threads": 2},
            'execution_mode="parallel"': {"execution_mode": "parallel"},
        }
        | _entries(
            ("session.intra_op.allow_spinning", "0"),
            ("session.intra_op.spin_duration_us", "50"),
            ("session.force_spinning_stop", "1"),
            ("session.dynamic_block_base", "4"),
        ),
    ),
    Group(
        "others",
        "All other options, on one thread",
        {"intra_op_num_threads": 1},  # where no thread that spins is in the way
        {
            "enable_mem_pattern=False": {"enable_mem_pattern": False},
            "enable_cpu_mem_arena=False": {"enable_cpu_mem_arena": False},
            "neither arena nor pattern": {"enable_cpu_mem_arena": False, "enable_mem_pattern": False},
            'graph_optimization_level="disable"': {"graph_optimization_level": "disable"},
            'graph_optimization_level="basic"': {"graph_optimization_level": "basic"},
            'graph_optimization_level="extended"': {"graph_optimization_level": "extended"},
            'graph_optimization_level="layout"': {"graph_optimization_level": "layout"},
            "deterministic_compute=True": {"deterministic_compute": True},
            "session_log_severity_level=4": {"session_log_severity_level": 4},
        }
        | _entries(
            ("session.disable_prepacking", "1"),
            ("session.set_denormal_as_zero", "1"),
            ("session.use_env_allocators", "1"),
            ("session.use_device_allocator_for_initializers", "1"),
        ),
    ),
)


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int  # of calls with each option
    seconds_of_calls: float  # that are timed together in a round
    openings: int  # of a session with each option
    slices: int  # of each preset's ways
    seconds: float  # of a slice
    settling: float  # the most that is waited for before each


USUAL = Plan(rounds=20, seconds_of_calls=0.003, openings=3, slices=3, seconds=0.4, settling=0.25)
QUICK = Plan(rounds=2, seconds_of_calls=0.0003, openings=1, slices=1, seconds=0.03, settling=0.0)


# --- the options ---


def measure_options(model: RealModel, group: Group, plan: Plan) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row for each option, the defaults first, and the names of those that are newer than the library."""
    import numpy as np

    import ortx

    settling = 0.0 if group.common else plan.settling  # one thread leaves none that spins
    with ExitStack() as stack:
        sessions: dict[str, ortx.Session] = {}
        left_out = []
        for name, options in {DEFAULT: {}, **group.options}.items():
            try:
                sessions[name] = stack.enter_context(opened(model, group, options))
            except ortx.NotSupported:
                left_out.append(name)
        settle(plan.settling)
        calls = calls_within(plan.seconds_of_calls, sessions[DEFAULT], model)
        times = in_turns(
            {name: lambda session=session: batch(session, model, calls) for name, session in sessions.items()},
            plan.rounds,
            settling,
        )
    openings = in_turns(
        {name: lambda name=name: opening(model, group, group.options.get(name, {})) for name in times},
        plan.openings,
        settling,
    )
    rows = []
    for name in times:
        ratios = np.divide(times[name], times[DEFAULT])
        rows.append(
            {
                "model": model.key,
                "group": group.key,
                "option": name,
                "median_us": float(np.median(times[name])) / calls * 1e6,
                "ratio": float(np.median(ratios)),
                "quartiles": [float(value) for value in np.percentile(ratios, (25, 75))],
                "open_ms": float(np.median(openings[name])) * 1e3,
                "open_ratio": float(np.median(np.divide(openings[name], openings[DEFAULT]))),
                "calls": calls,
                "raw_seconds": times[name],
                "raw_open_seconds": openings[name],
            }
        )
    return rows, left_out


def opened(model: RealModel, group: Group, options: Mapping[str, Any]) -> ortx.Session:
    """Return a session of the group."""
    import ortx

    return ortx.session_from_bytes(model.content, {**group.common, **options})


def in_turns(samplers: Mapping[str, Callable[[], Any]], rounds: int, settling: float) -> dict[str, list[Any]]:
    """Call each sampler once a round, in an order that changes and with nobody spinning; return what they said."""
    said: dict[str, list[Any]] = {name: [] for name in samplers}
    shuffled = random.Random(SEED)
    turns = list(samplers)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            gc.collect(0)
            shuffled.shuffle(turns)
            for name in turns:
                settle(settling)
                said[name].append(samplers[name]())
    finally:
        if was_enabled:
            gc.enable()
    return said


def settle(most: float) -> None:
    """Wait until the process is quiet: threads of the session that was run last spin for a while.

    Where the machine is busy with others, such a thread may wait for a CPU meanwhile; hence not a single glance.
    """
    deadline = time.perf_counter() + most
    quiet = 0
    while quiet < 4 and time.perf_counter() < deadline:
        before = time.process_time()
        time.sleep(0.004)
        quiet = quiet + 1 if time.process_time() - before < 0.0005 else 0


def calls_within(seconds: float, session: ortx.Session, model: RealModel) -> int:
    """Return how many calls take about so long."""
    batch(session, model, 1)
    return max(1, round(seconds / min(batch(session, model, 1) for _ in range(5))))


def batch(session: ortx.Session, model: RealModel, calls: int) -> float:
    """Return the seconds that calls take together, after some that fill the caches."""
    run, inputs = session.run, [model.x]
    for _ in range(max(1, calls // 10)):
        run(inputs)
    start = time.perf_counter()
    for _ in range(calls):
        run(inputs)
    return time.perf_counter() - start


def opening(model: RealModel, group: Group, options: Mapping[str, Any]) -> float:
    """Return the seconds that opening a session takes."""
    start = time.perf_counter()
    session = opened(model, group, options)
    seconds = time.perf_counter() - start
    session.close()
    return seconds


# --- the presets ---


def measure_presets(model: RealModel, plan: Plan) -> list[dict[str, Any]]:
    """Return a row for each preset, the defaults first."""
    import ortx
    from ortx.presets import PRESETS

    with ExitStack() as stack:
        sessions = {
            name: stack.enter_context(ortx.session_from_bytes(model.content, preset=preset))
            for name, preset in {DEFAULT: None, **dict(zip(PRESETS, PRESETS, strict=True))}.items()
        }
        for session in sessions.values():
            batch(session, model, 3)

        def each(way: Callable[..., Any], *arguments: Any) -> dict[str, list[Any]]:
            samplers = {
                name: lambda session=session: way(session, model, *arguments, plan.seconds)
                for name, session in sessions.items()
            }
            return in_turns(samplers, plan.slices, plan.settling)

        alone = each(back_to_back)
        together = each(by_many_callers, callers())
        paced = {pace: each(at_a_pace, pace) for pace in PACES}
    return [
        {
            "model": model.key,
            "preset": name,
            "alone": latencies(alone[name]),
            "calls_per_second": sorted(together[name])[len(together[name]) // 2],
            "paced": {
                str(pace): latencies([latency for latency, _ in said[name]])
                | {"cpu": sum(cpu for _, cpu in said[name]) / len(said[name])}
                for pace, said in paced.items()
            },
        }
        for name in sessions
    ]


def callers() -> int:
    """Return how many threads call at once: two at least, and otherwise one for each CPU."""
    from ortx import cpus

    return max(2, cpus.available())


def latencies(slices: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return the percentiles of single calls, in microseconds."""
    import numpy as np

    p50, p99 = np.percentile(np.concatenate(slices), (50, 99)) * 1e6
    return {"p50_us": float(p50), "p99_us": float(p99)}


def back_to_back(session: ortx.Session, model: RealModel, seconds: float) -> list[float]:
    """Return what each call took that one thread made, one after another."""
    run, inputs, clock = session.run, [model.x], time.perf_counter
    took = []
    end = clock() + seconds
    while not took or clock() < end:
        start = clock()
        run(inputs)
        took.append(clock() - start)
    return took


def by_many_callers(session: ortx.Session, model: RealModel, threads: int, seconds: float) -> float:
    """Return the calls in a second that several threads made together on one session."""
    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        done = sum(map(len, pool.map(lambda _: back_to_back(session, model, seconds), range(threads))))
        return done / (time.perf_counter() - start)


def at_a_pace(session: ortx.Session, model: RealModel, pace: int, seconds: float) -> tuple[list[float], float]:
    """Make so many calls a second; return what each took, and the process's CPU seconds in each second."""
    run, inputs, clock = session.run, [model.x], time.perf_counter
    took = []
    number = max(2, round(pace * seconds))
    cpu, begin = time.process_time(), clock()
    for index in range(1, number + 1):
        start = clock()
        run(inputs)
        took.append(clock() - start)
        time.sleep(max(0.0, begin + index / pace - clock()))
    return took, (time.process_time() - cpu) / (clock() - begin)


# --- the command line ---


def measure(plan: Plan) -> dict[str, Any]:
    """Measure everything; the result is plain data."""
    from datetime import UTC, datetime

    from . import machine, models, real_models

    tiny = models.tiny()
    measured = (
        real_models.RealModel("tiny", "y = x * x on six numbers", tiny.proto.SerializeToString(), tiny.inputs["x"]),
        real_models.perceptron(),
        real_models.transformer() if plan is USUAL else real_models.transformer(1, 8, 64),
        real_models.convolutional() if plan is USUAL else real_models.convolutional((8, 16), 16),
    )
    result: dict[str, Any] = {
        "format": 1,
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "load": machine.load(),
        "settings": vars(plan) | {"callers": callers(), "paces": list(PACES), "seed": SEED},
        "models": [
            {"key": model.key, "title": model.title, "megabytes": len(model.content) / 1e6} for model in measured
        ],
        "options": [],
        "presets": [],
        "left_out": [],
    }
    for model in measured:
        left_out = []
        for group in GROUPS:
            rows, too_new = measure_options(model, group, plan)
            result["options"] += rows
            left_out += too_new
        result["left_out"] = left_out
        if model.key != "cnn":  # which would say what the transformer says
            result["presets"] += measure_presets(model, plan)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.options", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see whether it works, in some seconds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers, the raw ones too")
    parser.add_argument(
        "--write-docs", type=Path, nargs="?", const=DOCS, metavar="PAGE", help=f"write the tables into {DOCS.name}"
    )
    given = parser.parse_args(arguments)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        parser.exit(1, f"{parser.prog}: needs packages: `pip install {' '.join(missing)}`\n")
    from . import options_report  # only now: it needs what was looked for

    if given.write_docs:
        options_report.page_without_tables(given.write_docs)  # an error now, not after minutes
    result = measure(QUICK if given.quick else USUAL)
    options_report.print_tables(result)
    if given.json:
        options_report.write_json(result, given.json)
    if given.write_docs:
        options_report.write_docs(result, given.write_docs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
