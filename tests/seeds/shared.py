"""The table of what the two pages say, and what the proofs have in common."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import models
import numpy as np
import onnx
import onnx.parser
import pytest

import ortx
from ortx import _core

MODULE, C = "session module", "C API"
CPU, COREML = "CPUExecutionProvider", "CoreMLExecutionProvider"

X = np.array([[1, 2], [3, 4]], np.float32)
BIAS = np.array([[10, 20]], np.float32)


class Item(NamedTuple):
    """One thing that a page says, and what proves that it holds in ortx."""

    page: str
    section: str
    name: str
    proof: Callable[..., None]


TABLE: list[Item] = []


def proves(page: str, section: str, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Enter the function below into the table, as the proof of this item."""

    def enter(proof: Callable[..., None]) -> Callable[..., None]:
        TABLE.append(Item(page, section, name, proof))
        return proof

    return enter


def opened(model: bytes, **given: object) -> ortx.Session:
    return ortx.session_from_bytes(model, given)


def parsed(graph: str, **domains: int) -> bytes:
    """Make a model of ONNX's textual form of a graph; `__` in the name of a domain stands for a dot."""
    opsets = {"": 18} | {name.replace("__", "."): version for name, version in domains.items()}
    listed = ", ".join(f'"{name}" : {version}' for name, version in opsets.items())
    return onnx.parser.parse_model(f"<ir_version: 8, opset_import: [{listed}]> {graph}").SerializeToString()


OPTIONAL = parsed("g (optional(float[2]) x) => (bool given) { given = OptionalHasElement(x) }")
SEQUENCE = parsed("g (float[n,2] x) => (seq(float[n,2]) y) { y = SequenceConstruct(x, x) }")
MAPS = parsed(
    "g (float[n,2] x) => (seq(map(int64, float[])) z) { z = ai.onnx.ml.ZipMap <classlabels_int64s = [1, 2]> (x) }",
    ai__onnx__ml=1,
)
SPARSE = parsed(
    "g (sparse_tensor(float[n,3]) a, float[3,2] b) => (float[n,2] y) { y = com.microsoft.SparseToDenseMatMul(a, b) }",
    com__microsoft=1,
)
NEGATIVE_AND_POSITIVE = parsed(
    "g (float[n] x) => (float[n] neg, float[n] pos) { neg, pos = ai.onnx.contrib.NegPos(x) }", ai__onnx__contrib=1
)


def described() -> bytes:
    """y = x * x, with everything that an author can say about a model"""
    model = onnx.load_from_string(models.square())
    model.producer_name, model.model_version, model.domain = "Müller", 7, "org.example"
    model.doc_string, model.graph.doc_string, model.graph.name = "Squares numbers.", "x by x", "squares"
    onnx.helper.set_model_props(model, {"author": "Ada", "größe": "模型"})
    return model.SerializeToString()


@contextmanager
def messages() -> Iterator[list[logging.LogRecord]]:
    """Collect what ONNX Runtime says."""
    records: list[logging.LogRecord] = []
    handler, logger = logging.Handler(), logging.getLogger("ortx")
    handler.emit = records.append
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield records
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def levels_of_failure(run_options: ortx.RunOptions | None = None, **given: object) -> set[str]:
    """Return the levels of what a session says from its opening to the failure of its run."""
    with messages() as said, opened(models.failing(), **given) as session, pytest.raises(ortx.Error):
        session.run([np.ones(4, np.float32)], None, run_options)
    return {record.levelname for record in said}


def session_line(**given: object) -> str:
    """Return the line in which ONNX Runtime itself says with which options it has made a session."""
    with messages() as said:
        opened(models.square(), session_log_severity_level=0, **given).close()
    (line,) = [text for record in said if (text := record.getMessage()).startswith("Session Options {")]
    return line


def nodes_after(path: Path, **given: object) -> list[str]:
    """Return the operators that ONNX Runtime leaves of x -> Identity -> Conv -> Relu."""
    conv = "g (float[1,4,8,8] x) => (float[1,8,6,6] y) { a = Identity(x) b = Conv(a, w) y = Relu(b) }"
    model = onnx.load_from_string(parsed(conv))
    model.graph.initializer.append(models.constant("w", np.ones((8, 4, 3, 3))))
    opened(model.SerializeToString(), optimized_model_path=path, session_log_severity_level=3, **given).close()
    return [f"{node.domain}.{node.op_type}".lstrip(".") for node in onnx.load(path).graph.node]


def threads() -> int:
    """Count the threads of this process, once their number has settled."""
    folder, count = "/proc/self/task", None
    if not os.path.isdir(folder):
        pytest.skip(f"needs {folder}, to count the threads of the process")
    while count != (count := len(os.listdir(folder))):
        time.sleep(0.02)
    return count


def megabytes() -> float:
    """Return how much memory this process uses."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip(f"needs {statm}, to see the memory of the process")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def live(kind: str) -> int:
    gc.collect()
    return _core._live_handles()[kind]


def bound(session: ortx.Session) -> ortx.IOBinding:
    """Bind the inputs of `models.add`."""
    binding = session.create_io_binding()
    binding.bind_input("x", X)
    binding.bind_input("bias", BIAS)
    return binding


def multiplied(*names: str) -> bytes:
    """y = the operators of these names, one after another, of x"""
    steps = [f"x{i + 1} = test.{name}.{name}(x{i})" for i, name in enumerate(names)]
    graph = f"g (float[n,2] x0) => (float[n,2] x{len(names)}) {{ {' '.join(steps)} }}"
    return parsed(graph, **{f"test__{name}": 1 for name in names})


def registrations_of(library: str) -> int:
    return ctypes.c_int.in_dll(ctypes.CDLL(library), "registrations").value


def appended(**given: object) -> list[tuple[str, dict[str, str]]]:
    """Return the providers that a session with these options appends, in order, with their options."""
    read = _core.read_session_options("ortx.session", given, {})
    return [(provider.name, dict(provider.options)) for provider in read.providers]


def running(**given: object) -> tuple[tuple[str, ...], str]:
    """Return the providers that a session runs on, and the text of the fallback warning, if there was one."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        session = opened(models.square(), **given)
    assert session.run([X])["y"].tolist() == (X * X).tolist()
    assert {warning.category for warning in caught} <= {ortx.ProviderFallbackWarning}
    if COREML in session.providers():  # on a Mac
        assert not caught
    return session.providers(), "\n".join(str(warning.message) for warning in caught)
