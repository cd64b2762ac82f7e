"""Time what happens only once in a process: imports, and whole processes from their start to their end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

import ortx

from . import suite
from .floor import compile_program
from .models import Model

BARE = "bare"  # a Python that imports numpy and ends


@dataclass(frozen=True)
class ImportMeasurement:
    """The raw numbers of one statement: nanoseconds in each process."""

    row: suite.Import
    nanoseconds: npt.NDArray[np.int64]


def measure_imports(rows: Sequence[suite.Import], processes: int) -> list[ImportMeasurement]:
    """Time each statement in this many fresh processes, in turns.

    The clock runs inside the process, around the statement: starting the interpreter is not
    counted. One process of each goes before and is not counted either; it fills the disk cache and
    writes byte code.
    """
    times: dict[str, list[int]] = {row.key: [] for row in rows}
    for _ in range(processes + 1):
        for row in rows:
            program = timed((("", row.setup), (row.key, row.statement)))
            command = [sys.executable, "-c", program]
            finished = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=True)
            times[row.key].append(json.loads(finished.stdout)[-1])
    return [ImportMeasurement(row, np.array(times[row.key][1:], np.int64)) for row in rows]


# --- whole processes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """One way to start, run once and end: a command that prints the nanoseconds of its phases."""

    who: str  # or BARE
    phases: Sequence[str]
    command: Sequence[str]


@dataclass(frozen=True)
class StartMeasurement:
    """The raw numbers of one command: nanoseconds in each process."""

    start: suite.Start
    process: Process
    whole: npt.NDArray[np.int64]  # from outside, until the process has ended
    phases: npt.NDArray[np.int64]  # a row for each process, a column for each phase


def measure_start(start: suite.Start, processes: int) -> list[StartMeasurement]:
    """Time each way in fresh processes, in turns of changing order; one of each goes before and is not counted."""
    times: dict[str, list[tuple[int, list[int]]]] = {}
    with opened(start.model()) as commands:
        order = random.Random(processes)  # whoever comes after another finds the caches as that one left them
        for _ in range(processes + 1):
            for process in order.sample(list(commands.values()), len(commands)):
                times.setdefault(process.who, []).append(_time_once(process))
        return [
            StartMeasurement(
                start,
                process,
                np.array([whole for whole, _ in times[who][1:]], np.int64),
                np.array([phases for _, phases in times[who][1:]], np.int64),
            )
            for who, process in commands.items()
        ]


def _time_once(process: Process) -> tuple[int, list[int]]:
    begin = time.perf_counter_ns()
    finished = subprocess.run(process.command, env=_environment(), capture_output=True, text=True, check=False)
    whole = time.perf_counter_ns() - begin
    if finished.returncode != 0:
        raise RuntimeError(f"the process of {process.who} failed: {finished.stderr}")
    return whole, json.loads(
        finished.stdout.splitlines()[-1]
    )  # before it comes what program.c prints, inside of Python


def _environment() -> dict[str, str]:
    """Return this process's environment, but for two things.

    Python may write byte code: whoever installs a package has that. And numpy has one thread: the others of its BLAS
    spin when they are new, beside whatever comes next, which costs each process of Python 2 to 3 ms.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"OPENBLAS_NUM_THREADS": "1"}


@contextlib.contextmanager
def opened(model: Model) -> Iterator[dict[str, Process]]:
    """Write the model and compile the C program; give each side's command."""
    with tempfile.TemporaryDirectory(prefix="ortx-benchmark-") as folder:
        path, program, library = Path(folder, "model.onnx"), Path(folder, "program"), Path(folder, "program.so")
        onnx.save(model.proto, path)
        compile_program(program)
        compile_program(library, shared=True)
        command_of_c = c_command(program, model, path, sessions=0)
        bare = (("import numpy", "import numpy as np"),)
        parts = {who: (*bare, *phases) for who, phases in python_phases(model, path).items()}
        parts[suite.PYTHON] = (*bare, ("the same calls from C", _main_called(library, command_of_c)))
        processes = {
            who: Process(who, [name for name, _ in phases], (sys.executable, "-c", timed(phases)))
            for who, phases in {BARE: bare, **parts}.items()
        }
        of_c = ("load the library", "create the session", "first run")
        yield {suite.C: Process(suite.C, of_c, command_of_c), **processes}


def _main_called(library: Path, command: Sequence[str]) -> str:
    """Return a statement by which Python does all that ``program.c`` does, and nothing of its own."""
    texts = ", ".join(repr(os.fsencode(text)) for text in command)
    call = f"ctypes.CDLL({str(library)!r}).main({len(command)}, (ctypes.c_char_p * {len(command) + 1})({texts}, None))"
    return f"import ctypes; {call}"


def python_phases(model: Model, path: Path) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return what each side's Python program does: names of phases with their statements."""
    inputs = "{" + ", ".join(f"{name!r}: {text}" for name, text in _zeros(model).items()) + "}"
    of_official = (
        "options = onnxruntime.SessionOptions(); options.intra_op_num_threads = 1; "
        f"session = onnxruntime.InferenceSession({str(path)!r}, options, providers=['CPUExecutionProvider'])"
    )
    return {
        suite.ORTX: (
            ("import ortx", "import ortx"),
            ("create the session", f"session = ortx.session({str(path)!r}, intra_op_num_threads=1)"),
            ("first run", f"session.run({inputs})[0]"),
        ),
        suite.OFFICIAL: (
            ("import onnxruntime", "import onnxruntime"),
            ("create the session", of_official),
            ("first run", f"session.run(None, {inputs})[0]"),
        ),
    }


def c_command(program: Path, model: Model, path: Path, sessions: int) -> tuple[str, ...]:
    """Return the command line of ``program.c``."""
    library = ortx.load_library()
    inputs = [
        f"{name}:{onnx.helper.np_dtype_to_tensor_dtype(array.dtype)}:{'x'.join(map(str, array.shape))}"
        for name, array in model.inputs.items()
    ]
    output = next(iter(model.expected))
    places = (str(program), os.fspath(library.path), str(library.api_version), str(path))
    return (*places, str(sessions), *inputs, output)


def timed(phases: Sequence[tuple[str, str]]) -> str:
    """Return a program that executes statements and prints how many nanoseconds each took."""
    lines = ["from time import perf_counter_ns as clock", "stamps = [clock()]"]
    for _, statement in phases:
        lines += [statement, "stamps.append(clock())"]
    return "\n".join([*lines, "print([after - before for before, after in zip(stamps, stamps[1:])])"])


def _zeros(model: Model) -> Mapping[str, str]:
    return {name: f"np.zeros({array.shape}, '{array.dtype.name}')" for name, array in model.inputs.items()}
