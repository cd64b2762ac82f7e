"""Load a large model in every way there is, and look at the memory that it takes: ``python -m benchmarks.loading``.

Each way has a process of its own. The model is made for this, of random weights, in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from . import machine, models
from .models import IR_VERSION, OPSET
from .publish import replaced, table

DOCS = Path(__file__).parents[1] / "docs" / "memory.md"
COMMAND = "benchmarks.loading --write-docs"
MEGABYTES = 500
SIZE = 5120  # rows and columns of a weight, of 100 MiB

# A first session makes what the process needs once.
ORTX = "import ortx; ortx.session(tiny).close()"
OFFICIAL = "import onnxruntime; onnxruntime.InferenceSession(tiny)"
ONE_THREAD = "intra_op_num_threads=1"
IN_PLACE = (
    "config_entries={'session.use_external_initializer_file_buffers_directly': '1', 'session.disable_prepacking': '1'}"
)
NOT_PACKED = "config_entries={'session.disable_prepacking': '1'}"
EXTERNAL = "external_data={'model.data': data}"

# What is read before, and how the session is opened; `whole` and `split` are files, `data` the weights of the latter.
WAYS: Mapping[str, tuple[str, str, str]] = {
    "a path": (ORTX, "", f"ortx.session(whole, {ONE_THREAD})"),
    "mmap": (ORTX, "data = mapped(whole)", f"ortx.session_from_bytes(data, {ONE_THREAD})"),
    "bytes": (ORTX, "data = open(whole, 'rb').read()", f"ortx.session_from_bytes(data, {ONE_THREAD})"),
    "a numpy array, mapped": (
        ORTX,
        "data = numpy.memmap(whole, numpy.uint8, 'r')",
        f"ortx.session_from_bytes(data, {ONE_THREAD})",
    ),
    "a path, external data": (ORTX, "", f"ortx.session(split, {ONE_THREAD})"),
    "a path, external data, not packed": (ORTX, "", f"ortx.session(split, {ONE_THREAD}, {NOT_PACKED})"),
    "`external_data`, mmap": (
        ORTX,
        "data = mapped(weights)",
        f"ortx.session(split, {ONE_THREAD}, {EXTERNAL})",
    ),
    "`external_data`, bytes": (
        ORTX,
        "data = open(weights, 'rb').read()",
        f"ortx.session(split, {ONE_THREAD}, {EXTERNAL})",
    ),
    "`external_data`, mmap, in place": (
        ORTX,
        "data = mapped(weights)",
        f"ortx.session(split, {ONE_THREAD}, {EXTERNAL}, {IN_PLACE})",
    ),
    "official package, a path": (OFFICIAL, "", "onnxruntime.InferenceSession(whole, options())"),
    "official package, bytes": (
        OFFICIAL,
        "data = open(whole, 'rb').read()",
        "onnxruntime.InferenceSession(data, options())",
    ),
    "official package, a path, external data": (OFFICIAL, "", "onnxruntime.InferenceSession(split, options())"),
}

PROGRAM = """
import gc, json, mmap, re, sys, time
import numpy
whole, split, weights, tiny = sys.argv[1:]
data = None
{ready}

def options():
    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads = 1
    return made

def mapped(path):
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

def memory():
    with open("/proc/self/status") as file:
        return {{name: int(size) * 1024 for name, size in re.findall(r"(\\w+):\\s+(\\d+) kB", file.read())}}

before = memory()
{read}
began = time.perf_counter()
session = {open}
seconds = time.perf_counter() - began
opened = memory()
del data
gc.collect()
dropped = memory()
x = numpy.zeros((1, {size}), numpy.float32)
session.run(*([None, {{"t0": x}}] if "onnxruntime" in sys.modules else [[x]]))
print(json.dumps([seconds, before, opened, dropped, memory()]))
"""


def size_of(megabytes: int) -> int:
    """Return how many rows and columns a weight has."""
    return SIZE if megabytes >= 100 else 256


def make_models(folder: Path, megabytes: int) -> tuple[Path, ...]:
    """Write one model twice: with its weights, and with these in a file of their own; and a tiny one."""
    random = np.random.default_rng(1)
    count, size = max(1, megabytes // 100), size_of(megabytes)
    names = [f"t{i}" for i in range(count + 1)]
    weights = [
        numpy_helper.from_array(random.standard_normal((size, size), np.float32) / size, f"w{i}") for i in range(count)
    ]
    graph = helper.make_graph(
        [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(count)],
        "graph",
        [helper.make_tensor_value_info(names[0], onnx.TensorProto.FLOAT, [None, size])],
        [helper.make_tensor_value_info(names[-1], onnx.TensorProto.FLOAT, [None, size])],
        weights,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    whole, split, data = folder / "whole.onnx", folder / "split.onnx", folder / "model.data"
    onnx.save(model, whole)
    onnx.save(model, split, save_as_external_data=True, location=data.name, size_threshold=0)
    onnx.save(models.tiny().proto, folder / "tiny.onnx")
    return whole, split, data, folder / "tiny.onnx"


def measure(megabytes: int) -> Iterator[dict[str, Any]]:
    """Load the model in each way."""
    with tempfile.TemporaryDirectory(prefix="ortx-loading-") as folder:
        files = make_models(Path(folder), megabytes)
        for title, (ready, read, opening) in WAYS.items():
            for file in files:  # into the system's cache: it is memory that counts here
                with file.open("rb") as opened:
                    while opened.read(1 << 24):
                        pass
            code = PROGRAM.format(ready=ready, read=read, open=opening, size=size_of(megabytes))
            environment = os.environ | {"ORT_DISABLE_TELEMETRY": "1"}
            done = subprocess.run(
                [sys.executable, "-c", code, *map(str, files)],
                capture_output=True,
                text=True,
                check=False,
                env=environment,
            )
            if done.returncode:
                raise RuntimeError(f"{title}: {done.stderr.strip()}")
            seconds, before, opened_, dropped, run = json.loads(done.stdout)
            yield {
                "way": title,
                "seconds": seconds,
                "peak": opened_["VmHWM"] - before["VmRSS"],
                "opened": opened_["VmRSS"] - before["VmRSS"],
                "dropped": dropped["VmRSS"] - before["VmRSS"],
                "run": run["VmRSS"] - before["VmRSS"],
                "private": run["RssAnon"] - before["RssAnon"],
            }


def as_markdown(result: Mapping[str, Any]) -> str:
    """Return the table, and what it was measured with."""
    lines = [
        (
            row["way"],
            *(f"{row[key] / 1e6:.0f} MB" for key in ("peak", "dropped", "run", "private")),
        )
        for row in result["ways"]
    ]
    where = result["machine"]
    head = ("loaded from", "peak", "once open", "after a run", "of that, no pages of files")
    return (
        f"{table(head, lines, left=1)}\n\nA model of {result['bytes'] / 1e6:.0f} MB, {result['nodes']} MatMul, one "
        f"thread. ortx {where['ortx']}, ONNX Runtime {where['ONNX Runtime']}, Python {where['Python']}, "
        f"{where['system']}, {where['CPU']}."
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; write where the command line says."""
    parser = argparse.ArgumentParser("python -m benchmarks.loading", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=MEGABYTES, help=f"of weights (default: {MEGABYTES})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures into a file")
    parser.add_argument("--write-docs", action="store_true", help=f"write the table into docs/{DOCS.name}")
    given = parser.parse_args(arguments)
    if sys.platform != "linux":
        parser.exit(1, f"{parser.prog}: reads /proc/self/status, which only Linux has\n")
    count, size = max(1, given.megabytes // 100), size_of(given.megabytes)
    rows = list(measure(given.megabytes))
    result = {"machine": machine.describe(), "bytes": count * size * size * 4, "nodes": count, "ways": rows}
    print(as_markdown(result))
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(result, indent=1), "utf-8")
    if given.write_docs:
        DOCS.write_text(replaced(DOCS.read_text("utf-8"), "loading", as_markdown(result), COMMAND), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
