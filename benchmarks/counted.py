"""The process that is counted: run by `instructions.py`, under callgrind, as a file of its own.

``counted.py describe`` prints what its counts depend on, without calling a model. ``counted.py ortx`` and
``counted.py floor`` make calls in batches, and have callgrind dump its counts after each, under a label that says what
they are of.
"""

from __future__ import annotations

import ctypes
import gc
import json
import platform
import re
import sys
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import ortx
from ortx import _core

# What is guarded. The statement is the name of its count, too.
STATEMENTS = ('session.run({"x": x})', "session.run([x])", "session.run_into(inputs, outputs)", "binding.run()")
EMPTY = "pass"  # the loop around a statement, whose cost is taken away from it
FLOOR_ROWS = {"fresh_allocated": "run in C", "fresh_into": "run_into in C", "bound": "binding in C"}

CALLS = 320  # of the smaller batch; the larger has twice as many. A multiple of 64: each 64th brief run is timed
ROUNDS = 3  # of which the first is thrown away: each batch, and what is around it, has run once before it counts

Batch = Callable[[int], object]


def describe() -> dict[str, Any]:
    """Return what of this process changes the counts, and why it should not be measured (empty: it should)."""
    file = Path(_core.__file__)
    code = file.read_bytes()
    # Asked of the module itself: what is installed now may not be what it was built with.
    compilers = sorted({match.decode() for match in re.findall(rb"(?:GCC: |clang version )[^\0\n]+", code)})
    cython = sorted({match.decode() for match in re.findall(rb"_cython_(\d+_\d+_\w+)", code)})
    library = ortx.load_library()
    return {
        "key": {
            "machine": _machine(),
            "compiler": ", ".join(compilers) or "unknown",
            "Cython": ", ".join(cython).replace("_", ".") or "unknown",
            "Python": f"{platform.python_implementation()} {' '.join(sys.version.split())}",
            "libc": " ".join(platform.libc_ver()),
            "numpy": np.__version__,
            "ONNX Runtime": f"{library.version}, {library.build_info}",
        },
        "folder": str(file.parents[1]),
        "unfit": _unfit(code),
    }


def _machine() -> str:
    """Return the architecture, and what of it libraries choose their functions by; valgrind hides all that is newer."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text("utf-8").split()) if cpuinfo.is_file() else set()
    return " ".join([platform.machine(), *(flag for flag in ("avx", "avx2") if flag in flags)])


def _unfit(code: bytes) -> str:
    if b".debug_info" in code:
        return "it was built with ORTX_DEBUG=1 (or with debug symbols)"
    events = []

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename.endswith((".pyx", ".pxi")):
            events.append(event)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        _core._live_handles()
    finally:
        sys.settrace(before)
    return "it was built with ORTX_LINE_TRACE=1" if events else ""


def ortx_batches(model: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Batch]:
    """Return a loop around each statement, with the variables as locals: as in a program's inner loop."""
    # Under valgrind every run takes long; this is the way that they take outside. And one that waited for a CPU for a
    # millisecond would have eight others timed.
    for limit in ("_brief_limit", "_short_limit"):
        if hasattr(_core, limit):
            getattr(_core, limit)(10**12)
    session = ortx.session(model, intra_op_num_threads=1)
    binding = session.create_io_binding()
    for name, array in inputs.items():
        binding.bind_input(name, array)
    for name, array in outputs.items():
        binding.bind_output(name, array)
    variables = {"session": session, "binding": binding, "inputs": inputs, "outputs": outputs}
    variables |= {**inputs, "repeat": repeat}

    def batch(statement: str) -> Batch:
        functions: dict[str, Any] = {}
        loop = f"def batch(calls, {', '.join(variables)}):\n    for _ in repeat(None, calls):\n        {statement}\n"
        exec(compile(loop, f"<{statement}>", "exec"), functions)
        return lambda calls: functions["batch"](calls, *variables.values())

    return {statement: batch(statement) for statement in (*STATEMENTS, EMPTY)}


def floor_batches(model: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Batch]:
    """Return the loops of ``floor.c`` that do the same work."""
    # The folder of `benchmarks` comes last: it has an `ortx` of its own, perhaps not the one that is counted.
    sys.path.append(str(Path(__file__).parents[1]))
    from benchmarks.floor import Floor

    floor = Floor(Path(model), 1, inputs, outputs)

    def batch(row: str) -> Batch:
        return lambda calls: floor.batch(row, calls)

    return {name: batch(row) for row, name in FLOOR_ROWS.items()}


def count(batches: dict[str, Batch], counter: ctypes.CDLL) -> None:
    """Run each batch of one size and of twice that size, with a dump after each."""
    for batch in batches.values():
        batch(CALLS)  # buffers grow, inline caches of the interpreter and addresses of the loader are filled in
    zero, dump = counter.counter_zero, counter.counter_dump
    # All objects that the loop below needs are there before it starts: allocating costs now more, now less.
    plan = [
        (f"{index} {calls} {round_}".encode(), calls, batch)
        for round_ in range(ROUNDS)
        for index, batch in enumerate(batches.values())
        for calls in (CALLS, 2 * CALLS)
    ]
    gc.collect()
    gc.freeze()
    gc.disable()
    counter.counter_start()
    for label, calls, batch in plan:
        zero()
        batch(calls)
        dump(label)


def main(task: str, counter_path: str = "", model: str = "", array_path: str = "") -> None:
    """Do what `instructions.py` asks for."""
    if task == "describe":
        print(json.dumps(describe()))
        return
    counter = ctypes.CDLL(counter_path)
    if not counter.counter_is_there():
        raise SystemExit("counted.py: has to run under valgrind; use `python -m benchmarks.instructions`")
    with np.load(array_path) as arrays:
        inputs = {name.removeprefix("in_"): arrays[name] for name in arrays if name.startswith("in_")}
        expected = {name.removeprefix("out_"): arrays[name] for name in arrays if name.startswith("out_")}
    outputs = {name: np.full_like(array, np.nan) for name, array in expected.items()}
    batches = {"ortx": ortx_batches, "floor": floor_batches}[task](model, inputs, outputs)
    count(batches, counter)
    for name, array in expected.items():
        if not np.array_equal(outputs[name], array):
            raise SystemExit(f"counted.py: output {name!r} is {outputs[name]!r}; expected {array!r}")
    print(json.dumps(list(batches)))


if __name__ == "__main__":
    main(*sys.argv[1:])
