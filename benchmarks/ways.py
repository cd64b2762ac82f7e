"""Open each side's session on a model, and turn rows into something that can be timed."""

from __future__ import annotations

import contextlib
import string
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime  # type: ignore[import-untyped]

import ortx

from . import suite
from .floor import Floor
from .models import Arrays, Model

# As little as possible around the statement, as in timeit. The variables are locals, as in a
# program's inner loop.
_TEMPLATE = string.Template("""
def once($variables):
    $before
    return $last

def batch(calls, repeat, clock, $variables):
    iterator = repeat(None, calls)
    start = clock()
    for _ in iterator:
        $statement
    return clock() - start

def stamps(calls, repeat, clock, $variables):
    stamps = [0] * (calls + 1)
    stamps[0] = clock()
    for index in range(1, calls + 1):
        $statement
        stamps[index] = clock()
    return stamps
""")


class Sampler(Protocol):
    """What a row is for the one who measures it."""

    def once(self) -> Any:
        """Make one call; return the outputs, or None if they went into the caller's arrays."""

    def batch(self, calls: int) -> int:
        """Make calls; return the nanoseconds that they take together."""

    def stamps(self, calls: int) -> npt.NDArray[np.int64]:
        """Make calls; return the time before the first and after each."""


@dataclass(frozen=True)
class FloorSampler:
    """Times a row of ``floor.c``, inside C."""

    floor: Floor
    row: str

    def once(self) -> None:
        """Make one call; what it returns stays in C."""
        self.floor.batch(self.row, 1)

    def batch(self, calls: int) -> int:
        """Make calls; return the nanoseconds that they take together."""
        return self.floor.batch(self.row, calls)

    def stamps(self, calls: int) -> npt.NDArray[np.int64]:
        """Make calls; return the time before the first and after each."""
        return self.floor.stamps(self.row, calls)


class StatementSampler:
    """Times a Python statement.

    What the loop itself costs is not subtracted: it is a row of its own, as every row contains it.
    """

    def __init__(self, statement: str, variables: dict[str, Any]) -> None:
        before, _, last = statement.rpartition("; ")
        source = _TEMPLATE.substitute(
            statement=statement,
            before=before or "pass",
            last="None" if last == "pass" else last,
            variables=", ".join(variables),
        )
        functions: dict[str, Any] = {}
        exec(compile(source, f"<{statement}>", "exec"), functions)
        self._functions = functions
        self._variables = tuple(variables.values())

    def once(self) -> Any:
        """Make one call; return what the statement, or the last of several, returns."""
        return self._functions["once"](*self._variables)

    def batch(self, calls: int) -> int:
        """Make calls; return the nanoseconds that they take together."""
        elapsed: int = self._functions["batch"](calls, repeat, time.perf_counter_ns, *self._variables)
        return elapsed

    def stamps(self, calls: int) -> npt.NDArray[np.int64]:
        """Make calls; return the time before the first and after each."""
        return np.array(
            self._functions["stamps"](calls, repeat, time.perf_counter_ns, *self._variables),
            np.int64,
        )


@contextlib.contextmanager
def opened(case: suite.Case) -> Iterator[dict[suite.Row, Sampler]]:
    """Open the case's model on every side, check what each row computes, and give the samplers."""
    model = case.model
    outputs = {name: np.empty_like(array) for name, array in model.expected.items()}
    arrays = model.inputs | outputs
    with contextlib.ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ortx-benchmark-")), "model.onnx")
        onnx.save(model.proto, path)
        # ortx goes before the floor: who makes the environment, which both use, decides on logging.
        session = stack.enter_context(ortx.session(path, intra_op_num_threads=case.threads))
        floor = Floor(path, case.threads, model.inputs, outputs)
        stack.callback(floor.close)
        official = _official_session(path, case.threads)
        variables: dict[str, dict[str, Any]] = {
            suite.ORTX: {
                "session": session,
                "binding": _bound_by_ortx(session, model, outputs),
                "inputs": dict(model.inputs),
                "outputs": dict(outputs),
                **arrays,
            },
            suite.OFFICIAL: {
                "session": official,
                "binding": _bound(official, arrays, model),
                **arrays,
            }
            | {f"{name}_place": _place(array) for name, array in outputs.items()},
            suite.PYTHON: {},
        }
        samplers: dict[suite.Row, Sampler] = {}
        for row in (row for work in case.works for row in work.rows):
            if row.who == suite.C:
                samplers[row] = FloorSampler(floor, row.call)
            else:
                statement = statement_of(row.call, model)
                samplers[row] = StatementSampler(statement, variables[row.who])
            _check(row, samplers[row], model, outputs)
        yield samplers


def statement_of(call: str, model: Model) -> str:
    """Fill in what depends on the model's inputs and outputs; see `suite`."""

    def mapping(names: Arrays) -> str:
        return "{" + ", ".join(f'"{name}": {name}' for name in names) + "}"

    return string.Template(call).substitute(
        inputs=mapping(model.inputs),
        input_list="[" + ", ".join(model.inputs) + "]",
        outputs=mapping(model.expected),
        output_list="[" + ", ".join(model.expected) + "]",
        bind_inputs="; ".join(f'binding.bind_cpu_input("{name}", {name})' for name in model.inputs),
        bind_outputs="; ".join(f'binding.bind_output("{name}", *{name}_place)' for name in model.expected),
    )


def _official_session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _bound(session: Any, arrays: Arrays, model: Model) -> Any:
    binding = session.io_binding()
    for name in model.inputs:
        binding.bind_cpu_input(name, arrays[name])
    for name in model.expected:
        binding.bind_output(name, *_place(arrays[name]))
    return binding


def _bound_by_ortx(session: ortx.Session, model: Model, outputs: Arrays) -> ortx.IOBinding:
    binding = session.create_io_binding()
    for name, array in model.inputs.items():
        binding.bind_input(name, array)
    for name, array in outputs.items():
        binding.bind_output(name, array)
    return binding


def _place(array: npt.NDArray[Any]) -> tuple[object, ...]:
    """Return what ``bind_output`` wants to know about an array.

    It is made beforehand: asking numpy for an address takes a microsecond, which is not its fault.
    """
    return "cpu", 0, array.dtype.type, array.shape, array.ctypes.data


def _check(row: suite.Row, sampler: Sampler, model: Model, outputs: Arrays) -> None:
    """Make one call, and see that it computes what it should."""
    for array in outputs.values():
        array.fill(np.nan)
    result = sampler.once()
    if row.who == suite.PYTHON or (row.who == suite.C and row.call in suite.ALLOCATING):
        return
    produced = outputs.values() if result is None else (result[i] for i in range(len(outputs)))
    for (name, expected), array in zip(model.expected.items(), produced, strict=True):
        if not np.array_equal(array, expected):
            raise AssertionError(f"{row.key}: output {name!r} is {array!r}; expected {expected!r}")
