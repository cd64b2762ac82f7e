"""What is measured. To add a row, add it here (and to ``floor.c``, if it is a new kind of work).

A `Work` is something that wants doing; its rows are ways to do it. The first C row of a work is the
floor of the others, the first row of the official package is what ortx is compared with. So nothing
is ever compared with what does less.

Statements are measured as a user writes them, with the look-ups and the dict displays they contain.
They see the model's inputs and outputs as variables, and those of their side (`ways.opened`).
``$inputs`` stands for ``{"x": x}`` and ``$input_list`` for ``[x]``; ``$outputs`` and ``$output_list``
likewise. The variables ``inputs`` and ``outputs`` are such dictionaries, made once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import models

C, ORTX, OFFICIAL, PYTHON = "C", "ortx", "onnxruntime", "Python"

# The rows of floor.c whose outputs are gone before anybody could compare them.
ALLOCATING = {"allocated", "fresh_allocated"}


@dataclass(frozen=True)
class Row:
    """One way to do it: `call` is a statement or, for C, the name of a row in ``floor.c``."""

    key: str
    who: str
    call: str
    label: str = ""  # in the table, where the call itself says too much or too little


@dataclass(frozen=True)
class Work:
    """Something that wants doing."""

    key: str
    title: str
    rows: Sequence[Row]

    def reference(self, who: str) -> Row | None:
        """Return the row that others of this work are compared with."""
        return next((row for row in self.rows if row.who == who), None)


@dataclass(frozen=True)
class Case:
    """A model and how it is run."""

    key: str
    model: models.Model
    threads: int  # intra-op; all else is as ONNX Runtime has it by default
    works: Sequence[Work]


@dataclass(frozen=True)
class Import:
    """A statement that is timed in fresh processes, after `setup`, which is not timed."""

    key: str
    statement: str
    setup: str = ""


RUN = Work(
    "run",
    "the caller's input, an output that ONNX Runtime allocates",
    (
        Row(
            "floor-run",
            C,
            "fresh_allocated",
            "create input, Run, read output, release",
        ),
        Row("ortx-run-dict", ORTX, "session.run($inputs)"),
        Row("ortx-run-made", ORTX, "session.run(inputs)", "session.run(inputs), a dict made before"),
        Row("ortx-run-list", ORTX, "session.run($input_list)"),
        Row("official-run", OFFICIAL, "session.run(None, $inputs)"),
    ),
)

RUN_INTO = Work(
    "run_into",
    "the caller's input, the caller's output",
    (
        Row("floor-run-into", C, "fresh_into", "create input and output, Run, release"),
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
        Row("ortx-bound", ORTX, "session.run_with_iobinding(binding)"),
        Row("official-bound", OFFICIAL, "session.run_with_iobinding(binding)"),
    ),
)

PARTS = Work(
    "parts",
    "for comparison: without what a caller needs around it",
    (
        Row("floor-prepared", C, "prepared", "Run, input and output made once"),
        Row("floor-allocated", C, "allocated", "Run, input made once, release output"),
    ),
)

LOOP = Work("loop", "contained in every Python row", (Row("empty-loop", PYTHON, "pass", "an empty loop"),))

CASES = (Case("tiny", models.tiny(), 1, (RUN, RUN_INTO, BOUND, PARTS, LOOP)),)

IMPORTS = (
    Import("import-numpy", "import numpy"),
    Import("import-ortx", "import ortx", setup="import numpy"),
    Import("import-onnxruntime", "import onnxruntime", setup="import numpy"),
)
