"""Open each side's session on a model, and turn rows into something that can be timed."""

from __future__ import annotations

import contextlib
import itertools
import reprlib
import string
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from .floor import Floor, Kind, kind_of
from .models import Model

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
    return start, clock()

def stamps(calls, repeat, clock, $variables):
    stamps = [0] * (calls + 1)
    stamps[0] = clock()
    for index in range(1, calls + 1):
        $statement
        stamps[index] = clock()
    return stamps
""")

LONGEST_DISPLAY = 4  # inputs or outputs that a shown statement names one by one


class Sampler(Protocol):
    """What a row is for the one who measures it."""

    @property
    def callers(self) -> int:
        """How many threads call at once."""

    def once(self) -> Any:
        """Make one call; return the outputs, or None if they went into the caller's arrays."""

    def batch(self, calls: int) -> int:
        """Let each caller make calls; return the nanoseconds that they take together."""

    def stamps(self, calls: int) -> npt.NDArray[np.int64]:
        """Make calls; return the time before the first and after each."""


@dataclass(frozen=True)
class FloorSampler:
    """Times a row of ``floor_rows.c``, inside C; with others, on one floor after the other."""

    floor: Floor
    row: str
    callers: int = 1
    others: Sequence[Floor] = ()

    def once(self) -> None:
        """Make one call; what it returns stays in C."""
        self.floor.batch(self.row, 1)

    def batch(self, calls: int) -> int:
        """Let each caller make calls; return the nanoseconds that they take together."""
        if self.callers > 1:
            return self.floor.together(self.row, self.callers, calls)
        return self.floor.batch(self.row, calls, self.others)

    def stamps(self, calls: int) -> npt.NDArray[np.int64]:
        """Make calls; return the time before the first and after each."""
        return self.floor.stamps(self.row, calls, self.others)


class StatementSampler:
    """Times a Python statement.

    What the loop itself costs is not subtracted: it is a row of its own, as every row contains it.
    """

    def __init__(self, statement: str, variables: Mapping[str, Any], callers: int = 1) -> None:
        before, _, last = statement.rpartition("; ")
        source = _TEMPLATE.substitute(
            statement=statement,
            before=before or "pass",
            last="None" if last == "pass" else last,
            variables=", ".join(variables),
        )
        functions: dict[str, Any] = {}
        exec(compile(source, f"<{statement[:80]}>", "exec"), functions)
        self._functions = functions
        self._variables = tuple(variables.values())
        self.callers = callers

    def once(self) -> Any:
        """Make one call; return what the statement, or the last of several, returns."""
        return self._functions["once"](*self._variables)

    def batch(self, calls: int) -> int:
        """Let each caller make calls; return the nanoseconds from the first one's start to the last one's end."""
        if self.callers == 1:
            start, end = self._span(calls)
            return end - start
        barrier = threading.Barrier(self.callers)

        def call(_: int) -> tuple[int, int]:
            barrier.wait()
            return self._span(calls)

        with ThreadPoolExecutor(self.callers) as pool:
            spans = list(pool.map(call, range(self.callers)))
        return max(end for _, end in spans) - min(start for start, _ in spans)

    def stamps(self, calls: int) -> npt.NDArray[np.int64]:
        """Make calls; return the time before the first and after each."""
        return np.array(
            self._functions["stamps"](calls, repeat, time.perf_counter_ns, *self._variables),
            np.int64,
        )

    def _span(self, calls: int) -> tuple[int, int]:
        start, end = self._functions["batch"](calls, repeat, time.perf_counter_ns, *self._variables)
        return start, end


@dataclass(frozen=True)
class Sides:
    """One model, opened on every side."""

    model: Model
    outputs: Mapping[str, npt.NDArray[Any]]  # the caller's; none if the model returns anything but numbers
    floors: Sequence[Floor]
    variables: Mapping[str, Mapping[str, Any]]  # of each side

    def sampler(self, row: suite.Row, callers: int = 1) -> Sampler:
        """Turn a row into something that can be timed, and see that it computes what it should."""
        sampler: Sampler
        if row.who == suite.C:
            sampler = FloorSampler(self.floors[0], row.call, callers, self.floors[1:])
        else:
            sampler = StatementSampler(statement_of(row.call, self.model), self.variables[row.who], callers)
        self._check(row, sampler)
        return sampler

    def _check(self, row: suite.Row, sampler: Sampler) -> None:
        """Make one call, and see that it computes what it should."""
        for array in self.outputs.values():
            array.fill(-77)
        result = sampler.once()
        if row.who == suite.C and row.call == suite.READING:
            reads = self.floors[0].reads(row.call)
            if reads != self.model.reads:
                raise AssertionError(f"{row.key}: reads {reads} tensors and bytes; expected {self.model.reads}")
        if row.call == "pass" or (row.who == suite.C and row.call in suite.ALLOCATING):
            return
        count = len(self.model.expected)
        produced = self.outputs.values() if result is None else (result[i] for i in range(count))
        for (name, expected), value in zip(self.model.expected.items(), produced, strict=True):
            if not same(value, expected):
                raise AssertionError(
                    f"{row.key}: output {name!r} is {_shortened(value)}; expected {_shortened(expected)}"
                )


@contextlib.contextmanager
def opened(case: suite.Case, model: Model, turn: int = 0) -> Iterator[dict[suite.Row, Sampler]]:
    """Open the case's model on every side, check what each row computes, and give the samplers."""
    with open_sides(model, case.threads, turn=turn) as sides:
        yield {row: sides.sampler(row, work.callers) for work in case.works for row in work.rows}


@contextlib.contextmanager
def open_sides(model: Model, threads: int, sessions: int = 1, turn: int = 0) -> Iterator[Sides]:
    """Open a model on every side, so many times. Which side goes first depends on whose turn it is."""
    numbers = all(kind_of(value) is Kind.TENSOR for value in (*model.inputs.values(), *model.expected.values()))
    outputs = {name: np.empty_like(array) for name, array in model.expected.items()} if numbers else {}
    with contextlib.ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ortx-benchmark-")), "model.onnx")
        onnx.save(model.proto, path)
        opening: dict[str, Callable[[], Any]] = {
            suite.ORTX: lambda: stack.enter_context(ortx.session(path, intra_op_num_threads=threads)),
            suite.C: lambda: stack.enter_context(
                contextlib.closing(Floor(path, threads, model.inputs, outputs or model.expected))
            ),
            suite.OFFICIAL: lambda: _official_session(path, threads),
        }
        # In a process, ortx goes before the floor: who makes the environment, which both use, decides on logging.
        order = [*opening][turn % 3 :] + [*opening][: turn % 3]
        made = {who: [opening[who]() for _ in range(sessions)] for who in order}
        ours, floors, theirs = made[suite.ORTX], made[suite.C], made[suite.OFFICIAL]
        ortx_variables = {"session": ours[0], "turn": itertools.cycle(ours), "inputs": dict(model.inputs)}
        official_variables = {"session": theirs[0], "turn": itertools.cycle(theirs)}
        if numbers:
            ortx_variables |= {"binding": _bound_by_ortx(ours[0], model, outputs), "outputs": dict(outputs)}
            official_variables |= {"binding": _bound(theirs[0], model, outputs)}
            official_variables |= {f"{name}_place": _place(array) for name, array in outputs.items()}
        values = {**model.inputs, **outputs}
        variables = {
            suite.ORTX: ortx_variables | values,
            suite.OFFICIAL: official_variables | values,
            suite.PYTHON: floors[0].python_functions() | values if numbers else {},
        }
        yield Sides(model, outputs, floors, variables)


# --- statements -------------------------------------------------------------------------------------------------------


def statement_of(call: str, model: Model) -> str:
    """Fill in what depends on the model's inputs and outputs; see `suite`."""
    bind_inputs = "; ".join(f'binding.bind_cpu_input("{name}", {name})' for name in model.inputs)
    bind_outputs = "; ".join(f'binding.bind_output("{name}", *{name}_place)' for name in model.expected)
    return string.Template(call).substitute(
        inputs="{" + ", ".join(f'"{name}": {name}' for name in model.inputs) + "}",
        input_list="[" + ", ".join(model.inputs) + "]",
        outputs="{" + ", ".join(f'"{name}": {name}' for name in model.expected) + "}",
        output_list="[" + ", ".join(model.expected) + "]",
        bind_inputs=bind_inputs,
        bind_outputs=bind_outputs,
    )


def shown(row: suite.Row, model: Model) -> str:
    """Return the row's call for people: a hundred names are written as two."""
    if row.who == suite.C:
        return row.call

    def short(names: Sequence[str], item: str) -> str:
        items = [item.format(name) for name in names]
        return ", ".join(items if len(items) <= LONGEST_DISPLAY else [items[0], "...", items[-1]])

    inputs, outputs = list(model.inputs), list(model.expected)
    return string.Template(row.call).substitute(
        inputs="{" + short(inputs, '"{0}": {0}') + "}",
        input_list="[" + short(inputs, "{}") + "]",
        outputs="{" + short(outputs, '"{0}": {0}') + "}",
        output_list="[" + short(outputs, "{}") + "]",
        bind_inputs=short(inputs, 'binding.bind_cpu_input("{0}", {0})').replace(", ...,", "; ...;"),
        bind_outputs=short(outputs, 'binding.bind_output("{0}", *{0}_place)').replace(", ...,", "; ...;"),
    )


def same(value: Any, expected: Any) -> bool:
    """Compare values; numbers to within rounding, which differs with the order of additions."""
    if isinstance(expected, np.ndarray):
        array = np.asarray(value)
        if array.shape != expected.shape or array.dtype != expected.dtype:
            return False
        if expected.dtype.kind != "f":
            return bool((array == expected).all())
        return bool(np.allclose(array, expected, rtol=1e-4, atol=1e-5 * float(np.abs(expected).max())))
    if isinstance(expected, dict):
        if not isinstance(value, dict) or list(value) != list(expected):
            return False
        return bool(np.allclose(list(value.values()), list(expected.values()), atol=1e-5))
    return len(value) == len(expected) and all(map(same, value, expected))


def _shortened(value: Any) -> str:
    short = reprlib.Repr()
    short.maxother = 200  # arrays
    return short.repr(value)


# --- the sides --------------------------------------------------------------------------------------------------------


def _official_session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _bound(session: Any, model: Model, outputs: Mapping[str, npt.NDArray[Any]]) -> Any:
    binding = session.io_binding()
    for name, array in model.inputs.items():
        binding.bind_cpu_input(name, array)
    for name, array in outputs.items():
        binding.bind_output(name, *_place(array))
    return binding


def _bound_by_ortx(session: ortx.Session, model: Model, outputs: Mapping[str, npt.NDArray[Any]]) -> ortx.IOBinding:
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
