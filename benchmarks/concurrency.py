"""Requests per second of many concurrent callers on one event loop: ``python -m benchmarks.concurrency``.

Each caller awaits one run after another of a small network: ortx by ``await session.run_async``, the official package
behind ``loop.run_in_executor``, which is how it is used from asyncio. Both get one intra-op thread and as many runs at
once as there are CPUs. They take turns within each round, so that what else the machine does concerns both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

import ortx
from ortx import cpus

Call = Callable[[], Awaitable[Any]]

OURS, EXECUTOR, DEFAULT = "ortx, run_async", "official, run_in_executor, a thread per CPU", "official, default executor"


def network() -> bytes:
    """Return a network of two dense layers, 256 - 1024 - 256, with weights from a fixed seed."""
    random = np.random.default_rng(1)
    weights = [
        onnx.numpy_helper.from_array((random.standard_normal(shape) / 32).astype(np.float32), name)
        for name, shape in (("a", (256, 1024)), ("b", (1024, 256)))
    ]
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "a"], ["sums"]),
        onnx.helper.make_node("Relu", ["sums"], ["hidden"]),
        onnx.helper.make_node("MatMul", ["hidden", "b"], ["y"]),
    ]
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 256]) for name in "xy")
    graph = onnx.helper.make_graph(nodes, "mlp", [x], [y], weights)
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 13)])
    serialized: bytes = model.SerializeToString()
    return serialized


@contextlib.contextmanager
def opened(model: bytes, x: npt.NDArray[np.float32]) -> Iterator[dict[str, Call]]:
    """Open both sides' sessions, see that they compute the same, and give what each awaits."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    official = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with (
        ortx.session_from_bytes(model, intra_op_num_threads=1) as session,
        ThreadPoolExecutor(cpus.available()) as executor,
    ):
        feed = {"x": x}
        np.testing.assert_allclose(session.run(feed)[0], official.run(None, feed)[0], rtol=1e-4, atol=1e-5)

        def ours() -> Awaitable[Any]:
            return session.run_async(feed)

        def behind_executor() -> Awaitable[Any]:
            return asyncio.get_running_loop().run_in_executor(executor, official.run, None, feed)

        def behind_default() -> Awaitable[Any]:
            return asyncio.get_running_loop().run_in_executor(None, official.run, None, feed)

        yield {OURS: ours, EXECUTOR: behind_executor, DEFAULT: behind_default}


async def requests_per_second(call: Call, callers: int, seconds: float) -> float:
    """Let callers await one call after another for a while."""
    count = 0
    start = time.perf_counter()

    async def caller() -> None:
        nonlocal count
        while time.perf_counter() - start < seconds:
            await call()
            count += 1

    await asyncio.gather(*(caller() for _ in range(callers)))
    return count / (time.perf_counter() - start)


async def measure(calls: dict[str, Call], callers: int, seconds: float, rounds: int) -> dict[str, list[float]]:
    """Measure each in turn, in every round in another order; the first round warms up and is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for round_number in range(rounds + 1):
        for name in names:
            rate = await requests_per_second(calls[name], callers, seconds / (rounds * len(names)))
            if round_number:
                rates[name].append(rate)
        names.append(names.pop(0))
    return rates


def run(callers: int, seconds: float, rounds: int, use_uvloop: bool) -> dict[str, Any]:
    """Measure, and return what came out, as it goes into a file."""
    model, x = network(), np.ones((1, 256), np.float32)
    factory = None
    if use_uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    with opened(model, x) as calls, asyncio.Runner(loop_factory=factory) as runner:
        rates = runner.run(measure(calls, callers, seconds, rounds))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    return {
        "callers": callers,
        "cpus": cpus.available(),
        "loop": "uvloop" if use_uvloop else "asyncio",
        "python": sys.version.split()[0],
        "onnxruntime": onnxruntime.__version__,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "requests_per_second": medians,
        "rounds": rates,
        # The median over rounds of the ratio within one: what else the machine does concerns both alike.
        "times_the_official": {
            name: statistics.median(ours / other for ours, other in zip(rates[OURS], rates[name], strict=True))
            for name in (EXECUTOR, DEFAULT)
        },
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Print what came out."""
    table = Table(title=f"{result['callers']} callers, {result['cpus']} CPUs, {result['loop']}")
    table.add_column("way")
    table.add_column("requests/s", justify="right")
    table.add_column("ortx is faster by", justify="right")
    for name, rate in result["requests_per_second"].items():
        times = result["times_the_official"].get(name)
        table.add_row(name, f"{rate:,.0f}", "" if times is None else f"{times:.2f}x")
    console.print(table)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--callers", type=int, default=64, help="concurrent callers (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=12.0, help="to measure for (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=8, help="rounds in that time (default: %(default)s)")
    parser.add_argument("--uvloop", action="store_true", help="measure on uvloop instead of asyncio's own loop")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    given = parser.parse_args(arguments)
    result = run(given.callers, given.seconds, given.rounds, given.uvloop)
    show(result, Console())
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
