"""Measure dynamic batching: ``python -m benchmarks.batching``.

Many callers in one event loop ask a small network for one row each. First as fast as they are answered: requests per
second, all ways in turns, in one process, compared within each round. Then at given rates, whether answers come or not:
how long a request takes. Nothing is written unless --json or --plot asks for it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import json
import random
import selectors
import statistics
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, NamedTuple

NEEDED = ("numpy", "onnx", "onnxruntime", "rich")

WIDTH, HIDDEN = 256, 1024
BATCH = 32
RATES = (500, 1000, 2000, 3000, 4000, 6000, 8000, 12000, 16000, 24000, 32000)
MOST_WAITING = 0.2  # seconds: with more requests unanswered than come in this time, the rate counts as too high

OFFICIAL = "onnxruntime behind run_in_executor"
OFFICIAL_ONE = "the same, one intra-op thread"
EXECUTOR = "ortx.Session.run behind run_in_executor"
BATCHER = "ortx.Batcher"
OPEN_LOOP = (OFFICIAL, EXECUTOR, BATCHER)
COLOURS = {OFFICIAL: "#d9822b", OFFICIAL_ONE: "#e8b06f", EXECUTOR: "#8c8c8c", BATCHER: "#1f77b4"}

Call = Callable[[], Awaitable[Any]]


class Ways(NamedTuple):
    """What makes one request, by the name of the way."""

    calls: dict[str, Call]
    batcher: Any


def network() -> bytes:
    """Return y = relu(x @ a) @ b: a row of 256 numbers in, 1024 inside, 256 out."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    source = np.random.default_rng(1)
    a = source.standard_normal((WIDTH, HIDDEN), np.float32) / 16
    b = source.standard_normal((HIDDEN, WIDTH), np.float32) / 32
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ("batch", WIDTH)) for name in "xy")
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["y"]),
    ]
    weights = [numpy_helper.from_array(a, "a"), numpy_helper.from_array(b, "b")]
    graph = helper.make_graph(nodes, "network", [x], [y], weights)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, ir_version=8, opset_imports=opsets).SerializeToString()


@contextmanager
def opened() -> Iterator[Ways]:
    """Open the model in every way, and see that all give the same."""
    import numpy as np
    import onnxruntime

    import ortx

    model = network()
    x = np.random.default_rng(2).random((1, WIDTH), np.float32)
    one_thread = onnxruntime.SessionOptions()
    one_thread.intra_op_num_threads = 1
    cpu = ["CPUExecutionProvider"]
    official = onnxruntime.InferenceSession(model, providers=cpu)
    official_one = onnxruntime.InferenceSession(model, one_thread, providers=cpu)
    with ExitStack() as stack:
        session = stack.enter_context(ortx.session_from_bytes(model, intra_op_num_threads=1))
        batcher = stack.enter_context(ortx.Batcher(session, max_batch_size=BATCH))

        def behind_executor(run: Callable[..., Any], *arguments: Any) -> Call:
            return lambda: asyncio.get_running_loop().run_in_executor(None, run, *arguments)

        calls: dict[str, Call] = {
            OFFICIAL: behind_executor(official.run, None, {"x": x}),
            OFFICIAL_ONE: behind_executor(official_one.run, None, {"x": x}),
            EXECUTOR: behind_executor(session.run, {"x": x}),
            BATCHER: lambda: batcher.run({"x": x}),
        }

        async def answers() -> list[Any]:
            return [(await call())[0] for call in calls.values()]

        first, *others = asyncio.run(answers())
        for other in others:
            np.testing.assert_allclose(other, first, rtol=1e-3, atol=1e-4)
        yield Ways(calls, batcher)


def settle() -> None:
    """Let what was measured before come to rest: garbage, and threads that spin for more work."""
    gc.collect()
    sleep(0.05)


# --- as fast as they are answered


async def as_fast_as_possible(call: Call, callers: int, seconds: float) -> float:
    """Return the requests per second of so many callers, each of which asks again when it is answered."""
    count = 0
    end = perf_counter() + seconds

    async def caller() -> None:
        nonlocal count
        while perf_counter() < end:
            await call()
            count += 1

    began = perf_counter()
    await asyncio.gather(*[caller() for _ in range(callers)])
    return count / (perf_counter() - began)


def measure_throughput(ways: Ways, rounds: int, callers: int, seconds: float) -> list[dict[str, Any]]:
    """Measure every way once in each round, in an order that changes."""
    raw: dict[str, list[float]] = {name: [] for name in ways.calls}
    order = list(ways.calls)
    shuffled = random.Random(1)
    for _ in range(rounds):
        shuffled.shuffle(order)
        for name in order:
            settle()
            raw[name].append(asyncio.run(as_fast_as_possible(ways.calls[name], callers, seconds)))
    rows = []
    for name, rates in raw.items():
        ratios = [mine / other for mine, other in zip(rates, raw[OFFICIAL], strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4) if rounds > 1 else ratios * 3
        rows.append(
            {
                "way": name,
                "per_second": statistics.median(rates),
                "ratio": statistics.median(ratios),
                "ratio_quartiles": [low, high],
                "raw_per_second": rates,
            }
        )
    return rows


# --- at a given rate


async def at_rate(call: Call, rate: float, seconds: float, seed: int) -> tuple[list[float], bool]:
    """Ask at random moments, whatever the answers do; return seconds from each moment to its answer.

    The other value says whether the answers kept up with the questions.
    """
    source = random.Random(seed)
    latencies: list[float] = []
    tasks: set[asyncio.Task[None]] = set()
    began = perf_counter()

    async def ask(due: float) -> None:
        await call()
        latencies.append(perf_counter() - due)

    due = began
    count, kept_up = 0, True
    while kept_up and (due := due + source.expovariate(rate)) < began + seconds:
        while (early := due - perf_counter()) > 0:
            await asyncio.sleep(early)
        task = asyncio.create_task(ask(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        count += 1
        if not count % 16:
            await asyncio.sleep(0)  # who is late would not let anybody else have a turn
        kept_up = len(tasks) <= max(MOST_WAITING * rate, 64)
    await asyncio.gather(*tasks)
    return latencies, kept_up and perf_counter() - due < MOST_WAITING


def precise_loop() -> asyncio.AbstractEventLoop:
    """Return a loop whose timers are not rounded to milliseconds, as those of epoll are."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def measure_latency(ways: Ways, rates: Sequence[int], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Measure the ways in turns at every rate; one that does not keep up is not asked at higher ones."""
    rows = []
    going = list(OPEN_LOOP)
    for rate in rates:
        latencies: dict[str, list[float]] = {name: [] for name in going}
        kept_up = dict.fromkeys(going, 0)
        for number in range(rounds):
            for name in going if number % 2 else going[::-1]:
                settle()
                with asyncio.Runner(loop_factory=precise_loop) as runner:
                    seen, did = runner.run(at_rate(ways.calls[name], rate, seconds, number))
                latencies[name] += seen
                kept_up[name] += did
        for name in list(going):
            if 2 * kept_up[name] < rounds:
                going.remove(name)
                continue
            cuts = statistics.quantiles(latencies[name], n=100)
            rows.append({"way": name, "rate": rate, "p50_ms": 1000 * cuts[49], "p99_ms": 1000 * cuts[98]})
    return rows


# --- show it


def print_tables(result: dict[str, Any]) -> None:
    """Print what was measured."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title=f"{result['callers']} callers, one row each, {WIDTH}-{HIDDEN}-{WIDTH}")
    for title in ("way", "requests/s", "x official", "middle half"):
        table.add_column(title, justify="left" if title == "way" else "right")
    for row in result["throughput"]:
        low, high = row["ratio_quartiles"]
        table.add_row(row["way"], f"{row['per_second']:,.0f}", f"{row['ratio']:.2f}", f"{low:.2f} to {high:.2f}")
    console.print(table)
    table = Table(title="milliseconds until the answer, p50 / p99")
    table.add_column("requests/s", justify="right")
    for name in OPEN_LOOP:
        table.add_column(name, justify="right")
    for rate in sorted({row["rate"] for row in result["latency"]}):
        cells = {
            row["way"]: f"{row['p50_ms']:.2f} / {row['p99_ms']:.2f}" for row in result["latency"] if row["rate"] == rate
        }
        table.add_row(f"{rate:,}", *[cells.get(name, "too much") for name in OPEN_LOOP])
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in result["machine"].items()))


def draw(result: dict[str, Any], path: Path) -> None:
    """Write the picture: bars of requests per second, and lines of latency against load."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.family": "sans-serif", "font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "ortx"}):
        figure = Figure(figsize=(9, 6.4), facecolor="white", layout="constrained")
        bars, lines = figure.subplots(2, 1, height_ratios=[1, 2.4])
        names = [row["way"] for row in result["throughput"]]
        rates = [row["per_second"] for row in result["throughput"]]
        bars.barh(names, rates, color=[COLOURS[name] for name in names], height=0.7)
        for row in result["throughput"]:
            bars.text(
                row["per_second"], row["way"], f"  {row['per_second']:,.0f}/s  ({row['ratio']:.1f}x)", va="center"
            )
        bars.invert_yaxis()
        bars.set_xlim(0, 1.2 * max(rates))
        bars.set_title(
            f"Requests per second of {result['callers']} callers, one row each", loc="left", fontweight="bold"
        )
        for name in OPEN_LOOP:
            rows = [row for row in result["latency"] if row["way"] == name]
            at = [row["rate"] for row in rows]
            for key, style in (("p50_ms", "-o"), ("p99_ms", ":s")):
                label = f"{name}, {key.removesuffix('_ms')}"
                lines.plot(at, [row[key] for row in rows], style, color=COLOURS[name], label=label, markersize=4)
        lines.set(xlabel="requests per second, at random moments", ylabel="milliseconds")
        if result["latency"]:
            lines.set(xscale="log", yscale="log")
        lines.set_xticks(list(RATES), [f"{rate:,}" for rate in RATES], fontsize=8)
        lines.minorticks_off()
        lines.grid(visible=True, alpha=0.3)
        lines.legend(frameon=False, fontsize=8)
        lines.set_title("How long an answer takes, until a way cannot keep up", loc="left", fontweight="bold")
        for axes in (bars, lines):
            axes.spines[["top", "right"]].set_visible(False)
        shown = ("ortx", "ONNX Runtime", "onnxruntime", "Python", "CPU", "cores")
        text = ", ".join(f"{name} {result['machine'][name]}" for name in shown)
        figure.supxlabel(text, fontsize=7, color="#666666", x=1, ha="right")
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


# --- the command line


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batching", description=__doc__)
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each way (15); a third of them at each rate")
    parser.add_argument("--seconds", type=float, metavar="S", help="of each turn (0.5)")
    parser.add_argument("--callers", type=int, default=64, metavar="N", help="at the same time (64)")
    parser.add_argument("--quick", action="store_true", help="see whether it works: 2 rounds of 0.05 s, two rates")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers, the raw ones too")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture; the name's end tells the format")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (2 if options.quick else 15)
    options.seconds = options.seconds or (0.05 if options.quick else 0.5)
    if options.rounds < 1 or options.callers < 1 or options.seconds <= 0:
        parser.error("--rounds, --callers and --seconds must be positive")
    needed = [*NEEDED, *(["matplotlib"] if options.plot else [])]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        parser.exit(1, f"{parser.prog}: needs packages: `pip install {' '.join(missing)}`\n")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = read_arguments(arguments)
    from . import machine  # only now: it needs what read_arguments looks for

    described = machine.describe()
    del described["compiler of the floor"]
    with opened() as ways:
        throughput = measure_throughput(ways, options.rounds, options.callers, options.seconds)
        rates = RATES[:2] if options.quick else RATES
        latency = measure_latency(ways, rates, max(options.rounds // 3, 1), options.seconds)
    result = {
        "machine": described,
        "load": machine.load(),
        "callers": options.callers,
        "max_batch_size": BATCH,
        "throughput": throughput,
        "latency": latency,
    }
    print_tables(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    if options.plot:
        draw(result, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
