"""What is measured. To add a row, add it here (and to ``floor_rows.c``, if it is a new kind of call).

A `Case` is a model and how it is run. A `Work` is something that wants doing; its rows are ways to
do it. The first C row of a work is the floor of the others, the first row of the official package is
what ortx is compared with. So nothing is ever compared with what does less.

Statements are measured as a user writes them, with the look-ups and the dict displays they contain.
They see the model's inputs and outputs as variables, and those of their side (`ways.opened`).
``$inputs`` stands for ``{"x": x}`` and ``$input_list`` for ``[x]``; ``$outputs`` and ``$output_list``
likewise. The variables ``inputs`` and ``outputs`` are such dictionaries, made once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from . import containers, models, networks

C, ORTX, OFFICIAL, PYTHON = "C", "ortx", "onnxruntime", "Python"

# The rows of floor_rows.c whose outputs are gone before anybody could compare them, and the one of these that reads
# them first.
ALLOCATING, READING = {"allocated", "fresh_allocated"}, "fresh_allocated"


@dataclass(frozen=True)
class Row:
    """One way to do it: `call` is a statement or, for C, the name of a row in ``floor_rows.c``."""

    key: str
    who: str
    call: str
    label: str = ""  # in the table, where the call itself says too much or too little
    again: bool = False  # the floor once more: how far its ratio is from 1 is chance


@dataclass(frozen=True)
class Work:
    """Something that wants doing, by so many threads at once."""

    key: str
    title: str
    rows: Sequence[Row]
    callers: int = 1

    def reference(self, who: str) -> Row | None:
        """Return the row that others of this work are compared with."""
        return next((row for row in self.rows if row.who == who), None)


@dataclass(frozen=True)
class Case:
    """A model and how it is run."""

    key: str
    title: str
    model: Callable[[], models.Model]  # large ones are made only when it is their turn
    works: Sequence[Work]
    threads: int = 1  # intra-op; all else is as ONNX Runtime has it by default
    patience: int = 1  # how many times as many calls a batch has: threads need time to meet


@dataclass(frozen=True)
class Import:
    """A statement that is timed in fresh processes, after `setup`, which is not timed."""

    key: str
    statement: str
    setup: str = ""


@dataclass(frozen=True)
class Start:
    """A whole process that does the least: import, load, create a session, run it once, end."""

    key: str
    title: str
    model: Callable[[], models.Model]
    share: float = 1.0  # of the usual number of processes; large models get fewer, a small one needs more


@dataclass(frozen=True)
class Memory:
    """A model that is opened several times in one process, to see what each session costs."""

    key: str
    title: str
    model: Callable[[], models.Model]
    sessions: int = 4


# --- works ------------------------------------------------------------------------------------------------------------

_FLOOR_RUN = Row("floor-run", C, "fresh_allocated", "create inputs, Run, read outputs, release")
_ORTX_RUN = Row("ortx-run-dict", ORTX, "session.run($inputs)")
_ORTX_LIST = Row("ortx-run-list", ORTX, "session.run($input_list)")
_LEAST_RUN = Row("least-run", PYTHON, "run($input_list)", "the same calls as one C function that Python calls")
_OFFICIAL_RUN = Row("official-run", OFFICIAL, "session.run(None, $inputs)")

RUN_TITLE = "the caller's input, an output that ONNX Runtime allocates"
RUN = Work("run", RUN_TITLE, (_FLOOR_RUN, _ORTX_RUN, _ORTX_LIST, _OFFICIAL_RUN))
RUN_SMALL = Work("run", RUN_TITLE, (_FLOOR_RUN, _LEAST_RUN, _ORTX_RUN, _ORTX_LIST, _OFFICIAL_RUN))

RUN_TINY = Work(
    "run",
    RUN_TITLE,
    (
        _FLOOR_RUN,
        _LEAST_RUN,
        _ORTX_RUN,
        Row("ortx-run-made", ORTX, "session.run(inputs)", "session.run(inputs), a dict made before"),
        _ORTX_LIST,
        _OFFICIAL_RUN,
        Row("floor-run-again", C, "fresh_allocated", "the first row once more: what is not 1 is chance", again=True),
    ),
)

RUN_INTO = Work(
    "run_into",
    "the caller's input, the caller's output",
    (
        Row("floor-run-into", C, "fresh_into", "create inputs and outputs, Run, release"),
        Row(
            "least-run-into",
            PYTHON,
            "run_into($input_list, $output_list)",
            "the same calls as one C function that Python calls",
        ),
        Row("ortx-run-into-dict", ORTX, "session.run_into($inputs, $outputs)"),
        Row("ortx-run-into-made", ORTX, "session.run_into(inputs, outputs)", "the same, dicts made before"),
        Row("ortx-run-into-list", ORTX, "session.run_into($input_list, $output_list)"),
        Row(
            "official-bind-and-run",
            OFFICIAL,
            "$bind_inputs; $bind_outputs; session.run_with_iobinding(binding)",
            "bind_cpu_input, bind_output, run_with_iobinding",
        ),
    ),
)

BOUND = Work(
    "bound",
    "input and output bound once, beforehand",
    (
        Row("floor-bound", C, "bound", "RunWithBinding"),
        Row("least-bound", PYTHON, "run_with_binding()", "the same call as one C function that Python calls"),
        Row("ortx-bound", ORTX, "session.run_with_iobinding(binding)"),
        Row("ortx-binding-run", ORTX, "binding.run()"),
        Row("official-bound", OFFICIAL, "session.run_with_iobinding(binding)"),
    ),
)

PARTS = Work(
    "parts",
    "for comparison: without what a caller needs around it",
    (
        Row("floor-prepared", C, "prepared", "Run, input and output made once"),
        Row("floor-allocated", C, "allocated", "Run, input made once, release output"),
        Row("floor-prepared-null", C, "prepared_without_options", "Run, both made once, NULL for run options"),
        Row("floor-bound-null", C, "bound_without_options", "RunWithBinding, NULL for run options"),
    ),
)

LOOP = Work("loop", "contained in every Python row", (Row("empty-loop", PYTHON, "pass", "an empty loop"),))


def _containers(title: str, reading: str) -> tuple[Work]:
    floor = Row("floor-run", C, "fresh_allocated", reading)
    return (Work("run", title, (floor, _ORTX_RUN, _OFFICIAL_RUN)),)


def _callers(*counts: int) -> tuple[Work, ...]:
    """Return the same work for several numbers of threads."""
    return tuple(
        Work(
            f"callers-{count}",
            f"{count} {'thread calls' if count == 1 else 'threads call'} one session",
            tuple(
                Row(f"{row.key}-by-{count}", row.who, row.call, row.label)
                for row in (_FLOOR_RUN, _ORTX_RUN, _OFFICIAL_RUN)
            ),
            count,
        )
        for count in counts
    )


# --- what is measured -------------------------------------------------------------------------------------------------

_MINILM = "a transformer of MiniLM's size (6 layers of 384, 128 tokens)"

CASES = (
    Case("tiny", "y = x * x, float32, shape (3, 2)", models.tiny, (RUN_TINY, RUN_INTO, BOUND, PARTS, LOOP)),
    Case("wide", "100 inputs and 100 outputs of two numbers", models.wide, (RUN_SMALL, RUN_INTO, BOUND)),
    Case("mlp", "a perceptron, 256 to 1024 to 256, batch 1", models.mlp, (RUN_SMALL, RUN_INTO, BOUND)),
    Case("large", "y = a + b, 64 MB come out", models.large_output, (RUN, RUN_INTO)),
    Case("minilm", _MINILM, networks.transformer, (RUN,)),
    Case("resnet", "a network of ResNet-18's size, one picture", networks.resnet, (RUN,)),
    Case(
        "strings-6",
        "10,000 strings of 6 bytes, in and out",
        partial(containers.strings, 6),
        _containers(
            "the caller's strings; from Python `str` to Python `str`", "fill strings, Run, get all their bytes"
        ),
    ),
    Case(
        "strings-18",
        "10,000 strings of 18 bytes, in and out",
        partial(containers.strings, 18),
        _containers(
            "the caller's strings; from Python `str` to Python `str`", "fill strings, Run, get all their bytes"
        ),
    ),
    Case(
        "sequence",
        "a sequence of 1,000 tensors of 4 numbers, in and out",
        containers.sequence,
        _containers("a list of arrays goes in and comes out", "CreateValue, Run, GetValue of each element"),
    ),
    Case(
        "zip-map",
        "a classifier: 10,000 dictionaries of 3 classes",
        containers.zip_map,
        _containers(
            "an array goes in, a list of dictionaries comes out",
            "Run, GetValue of each dictionary, its keys and values",
        ),
    ),
    Case("threads-tiny", "y = x * x by several threads", models.tiny, _callers(1, 2, 4), patience=50),
    Case("threads-mlp", "the perceptron by several threads", models.mlp, _callers(1, 2, 4), patience=50),
)

IMPORTS = (
    Import("import-numpy", "import numpy"),
    Import("import-ortx", "import ortx", setup="import numpy"),
    Import("import-onnxruntime", "import onnxruntime", setup="import numpy"),
)

STARTS = (
    Start("start-tiny", "y = x * x", models.tiny, share=8),
    Start("start-minilm", _MINILM, networks.transformer, share=0.5),
)

MEMORY = (Memory("memory-minilm", _MINILM, networks.transformer),)


# --- how long ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pace:
    """How much is measured: what is reached first ends a case."""

    rounds: int = 400
    calls: int = 200  # of a row in a round; fewer where they take long
    seconds: float = 12.0  # a case
    least: int = 5  # rounds, however long they take
    openings: int = 16  # of each model, which the rounds are divided among
    imports: int = 40  # processes
    memory: int = 3  # processes


QUICK = Pace(rounds=20, calls=50, seconds=0.3, least=2, openings=2, imports=2, memory=1)
