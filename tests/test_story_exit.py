"""A story: the interpreter exits while ortx is in some state. The exit code is as expected and nothing is printed."""

from __future__ import annotations

import models
import pytest

PREPARE = """
import atexit, gc, os, sys, threading, time
import numpy as np
import ortx
x = np.ones((3, 2), np.float32)
session = ortx.session(sys.argv[1], intra_op_num_threads=2)
"""

ENDINGS = {
    "nothing was loaded": ("import ortx", 0),
    "a session is open": (PREPARE, 0),
    "a session has run": (PREPARE + "y = session.run([x])", 0),
    "a session was closed": (PREPARE + "session.close()", 0),
    "an output outlives its session": (PREPARE + "y = session.run([x])[0]; del session; gc.collect()", 0),
    "a session hangs in a cycle": (PREPARE + "cycle = [session]; cycle.append(cycle); del session", 0),
    "a session is kept by a module": (PREPARE + "sys.kept = session; sys.outputs = session.run([x])", 0),
    "a session is used by an exit handler": (PREPARE + "atexit.register(lambda: session.run([x])[0].sum())", 0),
    "an earlier exit handler uses a session": (
        "import atexit\natexit.register(lambda: session.run([x])[0].sum())\n" + PREPARE,
        0,
    ),
    "an exit handler closes the session": (PREPARE + "atexit.register(session.close)", 0),
    "sys.exit says 3": (PREPARE + "sys.exit(3)", 3),
    "os._exit says 4": (PREPARE + "os._exit(4)", 4),
    "run options are alive": (PREPARE + "options = ortx.run_options(tag='t')", 0),
    "a thread has just ended": (
        PREPARE + "t = threading.Thread(target=session.run, args=([x],)); t.start(); t.join()",
        0,
    ),
    "a thread still runs": (
        PREPARE + "threading.Thread(target=lambda: [session.run([x]) for _ in range(20000)]).start()",
        0,
    ),
}


@pytest.mark.parametrize("state", ENDINGS)
def test_the_interpreter_exits_quietly_when(state, run_python, tmp_path):
    (tmp_path / "square.onnx").write_bytes(models.square())
    code, exit_code = ENDINGS[state]
    done = run_python(code, tmp_path / "square.onnx")
    assert (done.returncode, done.stdout, done.stderr) == (exit_code, "", "")


def test_an_uncaught_exception_is_all_that_is_printed(run_python, tmp_path):
    (tmp_path / "square.onnx").write_bytes(models.square())
    done = run_python(PREPARE + "session.run([])", tmp_path / "square.onnx")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Traceback")
    assert "CallError: run: input 'x': missing; expected float32 of shape (n, 2)" in done.stderr.splitlines()[-1]
