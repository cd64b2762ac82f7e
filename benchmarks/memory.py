"""Look at a fresh process's memory while it opens sessions."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from . import fresh, suite
from .floor import compile_program

# What the two Python packages do to make ready, and to give a session back.
_READY = {suite.ORTX: "import ortx; ortx.load_library()", suite.OFFICIAL: "import onnxruntime"}
_CLOSE = {suite.ORTX: "for session in sessions: session.close()", suite.OFFICIAL: ""}

_PROGRAM = """
import sys
import numpy as np

def done():
    print("done", flush=True)
    sys.stdin.readline()

{ready}
sessions = []
done()
for _ in range({count}):
    {create}
    {run}
    sessions.append(session)
    done()
{close}
del sessions, session
done()
"""


@dataclass(frozen=True)
class MemoryMeasurement:
    """The raw numbers of one side."""

    memory: suite.Memory
    who: str
    model_bytes: int
    resident: npt.NDArray[
        np.int64
    ]  # bytes: a row for each process; before, with 1, 2, ... sessions, after closing them


def measure(memory: suite.Memory, processes: int) -> list[MemoryMeasurement]:
    """Open and close sessions in fresh processes, in turns; each session is run once."""
    model = memory.model()
    looks: dict[str, list[list[int]]] = {}
    with tempfile.TemporaryDirectory(prefix="ortx-benchmark-") as folder:
        path, program = Path(folder, "model.onnx"), Path(folder, "program")
        onnx.save(model.proto, path)
        compile_program(program)
        commands = {suite.C: fresh.c_command(program, model, path, memory.sessions)}
        for who, phases in fresh.python_phases(model, path).items():
            _, (_, create), (_, run) = phases
            parts = {"ready": _READY[who], "close": _CLOSE[who], "create": create, "run": run}
            commands[who] = (sys.executable, "-c", _PROGRAM.format(count=memory.sessions, **parts))
        for _ in range(processes):
            for who, command in commands.items():
                looks.setdefault(who, []).append(_looked_at(command, memory.sessions + 2))
        size = path.stat().st_size
    return [MemoryMeasurement(memory, who, size, np.array(rows, np.int64)) for who, rows in looks.items()]


def _looked_at(command: Sequence[str], steps: int) -> list[int]:
    """Return a process's memory after each step."""
    looks = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(steps):
            if process.stdout.readline() != "done\n":
                raise RuntimeError(f"{command[0]} ended before it was done; see above")
            looks.append(resident(process.pid))
            process.stdin.write("\n")
            process.stdin.flush()
    return looks


def resident(pid: int) -> int:
    """Return how many bytes of a process lie in memory."""
    if sys.platform == "linux":
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    finished = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(finished.stdout) * 1024
