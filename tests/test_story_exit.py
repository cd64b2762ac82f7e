"""A story: the interpreter exits while ortx is in some state. The exit code is as expected and nothing is printed.

States of submitted and awaited runs and of batchers are also in test_async.py, test_run_async.py and test_batcher.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import models
import pytest
from test_async import COUNTING

Run = Callable[..., subprocess.CompletedProcess[str]]

# `session` is of a small model, `counting` of one that works as long as it is told to: ENDLESS is for ever.
PREPARE = """
import asyncio, atexit, gc, os, signal, sys, threading, time
import numpy as np
import ortx
x, zero, ENDLESS = np.ones((3, 2), np.float32), np.zeros(1, np.float32), 2**62
session = ortx.session(sys.argv[1], intra_op_num_threads=2)
counting = ortx.session(sys.argv[2], intra_op_num_threads=2, max_concurrency=1)
def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)
def daemon(work):
    threading.Thread(target=work, daemon=True).start()
def for_ever(work, threads=2):
    "Let daemon threads do something again and again; return when each has done it."
    begun = [threading.Event() for _ in range(threads)]
    def go(event):
        while True:
            work()
            event.set()
    for event in begun:
        daemon(lambda event=event: go(event))
    for event in begun:
        assert event.wait(60)
"""

# What an object does that hangs in a cycle, so that it goes when the interpreter is nearly gone.
LAST_WILL = """
class Last:
    def __del__(self, session=session, counting=counting, x=x, ortx=ortx, Error=ortx.Error, path=sys.argv[1], os=os):
        {}
        os.write(1, b"done\\n")
last = Last()
last.cycle = last
"""


class Ending(NamedTuple):
    """What a program does, and how it ends."""

    code: str
    exit_code: int = 0
    printed: str = ""
    is_prepared: bool = True


ENDINGS = {
    "nothing was loaded": Ending("import ortx", is_prepared=False),
    "sessions are open": Ending(""),
    "a session has run": Ending("y = session.run([x])"),
    "a session was closed": Ending("session.close()"),
    "an output outlives its session": Ending("y = session.run([x])[0]; del session; gc.collect()"),
    "a session hangs in a cycle": Ending("cycle = [session]; cycle.append(cycle); del session"),
    "a session is kept by a module": Ending("sys.kept = session; sys.outputs = session.run([x])"),
    "a session is kept by a class": Ending("class Model: session, outputs = session, session.run([x])"),
    "a session is kept by a module made by hand": Ending(
        "import types; module = types.ModuleType('m'); sys.modules['m'] = module; module.session = session"
    ),
    "everything else is alive": Ending("""
binding = session.create_io_binding(); binding.bind_input("x", x); binding.bind_output("y")
kept = [binding.run(), binding, ortx.run_options(), ortx.tensor(x), ortx.PrepackedWeights(), ortx.optional(x)]
kept += [ortx.SessionPool(sys.argv[1], 2), ortx.Batcher(session), memoryview(session.run([x])[0]), kept]
kept += [session.run([x])[0].__dlpack__(), session.submit([x]), session.run_async([x]).close()]
"""),
    "nothing can be collected": Ending("kept = [session, session.run([x])]; kept.append(kept); gc.freeze()"),
    "the collector is off": Ending("gc.disable(); kept = [session]; kept.append(kept); del session"),
    "modules are imported anew": Ending(
        "import importlib; importlib.reload(ortx); again = ortx.session(sys.argv[1])\n"
        "for name in [name for name in sys.modules if name.startswith('ortx')]: del sys.modules[name]"
    ),
    "a session is profiled": Ending(
        "os.chdir(os.path.dirname(sys.argv[1]))\n"
        "profiled = ortx.session(sys.argv[1], profile_file_prefix='p'); profiled.run([x])"
    ),
    "ORT says everything it has to say": Ending(
        "import logging, ortx; logging.getLogger('ortx').setLevel(1); ortx.configure(log_severity_level=0)" + PREPARE,
        is_prepared=False,
    ),
    "there is nowhere to print": Ending("sys.stdout.close(); sys.stderr.close(); os.close(1); os.close(2)"),
    "faulthandler watches": Ending(
        "import faulthandler; faulthandler.enable(); faulthandler.dump_traceback_later(1000); session.run([x])"
    ),
    # --- codes
    "sys.exit says 3": Ending("sys.exit(3)", 3),
    "os._exit says 4": Ending("os._exit(4)", 4),
    "SystemExit is raised while a run is in flight": Ending(
        "f = counting.submit([zero, 20_000]); raise SystemExit(5)", 5
    ),
    "a callback of a future says sys.exit": Ending(
        "f = counting.submit([zero, 20_000]); f.add_done_callback(lambda f: sys.exit(3))\n"
        "counting.submit([zero, 9]).add_done_callback(lambda f: print('the next run', flush=True))",
        printed="the next run\n",
    ),
    "a callback of a task says sys.exit": Ending(
        "async def main():\n"
        "    task = asyncio.ensure_future(session.run_async([x])); task.add_done_callback(lambda task: sys.exit(6))\n"
        "    await asyncio.sleep(1000)\n"
        "asyncio.run(main())",
        6,
    ),
    "a handler of the log says sys.exit": Ending(
        "import logging, sys, ortx\n"
        "class Handler(logging.Handler):\n"
        "    def emit(self, record): sys.exit(8)\n"
        "logging.getLogger('ortx').addHandler(Handler()); logging.getLogger('ortx').setLevel(1)\n"
        "ortx.configure(log_severity_level=0); ortx.session(sys.argv[1])",
        8,
        is_prepared=False,
    ),
    "an exit handler says os._exit": Ending("atexit.register(os._exit, 9); f = counting.submit([zero, 9])", 9),
    "SIGTERM comes": Ending("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -15),
    "SIGTERM comes while runs are in flight": Ending(
        "counting.submit([zero, ENDLESS]); threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        "counting.run([zero, ENDLESS])",
        -15,
    ),
    "the handler of SIGTERM says sys.exit": Ending(
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9)); f = counting.submit([zero, 20_000])\n"
        "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
        9,
    ),
    # --- exit handlers
    "an exit handler uses a session": Ending("atexit.register(lambda: session.run([x])[0].sum())"),
    "an earlier exit handler uses a session": Ending(
        "import atexit\n"
        "atexit.register(lambda: (session.run([x]), session.run([x], timeout=60), ortx.Batcher(session)))" + PREPARE,
        is_prepared=False,
    ),
    "an earlier exit handler opens the first session": Ending(
        "import atexit, sys\natexit.register(lambda: ortx.session(sys.argv[1]).run([[[1, 2]]]))\nimport ortx",
        is_prepared=False,
    ),
    "an exit handler awaits": Ending(
        "atexit.register(lambda: print(asyncio.run(session.run_async([x]))[0].sum()))", printed="6.0\n"
    ),
    "an earlier exit handler awaits": Ending(
        "import atexit\n"
        "def late():\n"
        "    try: asyncio.run(session.run_async([x]))\n"
        "    except ortx.Error as error: print(error)\n"
        "atexit.register(late)" + PREPARE,
        printed="run_async: the interpreter is exiting\n",
        is_prepared=False,
    ),
    "an exit handler closes the sessions": Ending("atexit.register(session.close); atexit.register(counting.close)"),
    # --- when the interpreter is nearly gone
    "a finalizer runs a model": Ending(LAST_WILL.format("session.run([x])"), printed="done\n"),
    "a finalizer closes sessions": Ending(LAST_WILL.format("session.close(); counting.close()"), printed="done\n"),
    "a finalizer does what takes threads": Ending(
        LAST_WILL.format("""
        for call in (
            lambda: session.submit([x]), lambda: session.run([x], timeout=1), lambda: session.run_async([x]).send(None),
            lambda: session.create_io_binding().run(timeout=1), lambda: ortx.session(path),
        ):
            try: call()
            except Error as error: os.write(1, str(error).encode() + b"\\n")
"""),
        printed=(
            "submit: the interpreter is exiting\nrun: the interpreter is exiting\n"
            "run_async: the interpreter is exiting\nrun_with_iobinding: the interpreter is exiting\n"
            "ortx.session: the interpreter is exiting\ndone\n"
        ),
    ),
    "a finalizer does it for the first time": Ending(
        "import os, sys, ortx\npath = sys.argv[1]\n"
        "class Last:\n"
        "    def __del__(self, ortx=ortx, path=path, Error=ortx.Error):\n"
        "        try: ortx.session(path)\n"
        "        except Error as error: os.write(1, str(error).encode())\n"
        "last = Last()",
        printed="ortx.session: the interpreter is exiting",
        is_prepared=False,
    ),
    # --- threads that the interpreter waits for
    "a thread has just ended": Ending("t = threading.Thread(target=session.run, args=([x],)); t.start(); t.join()"),
    "a thread still runs": Ending("threading.Thread(target=lambda: [session.run([x]) for _ in range(20000)]).start()"),
    "a thread ends with sys.exit": Ending("threading.Thread(target=lambda: (session.run([x]), sys.exit(3))).start()"),
    "a pool of threads is at work": Ending(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "pool = ThreadPoolExecutor(4)\n"
        "for _ in range(20):\n"
        "    pool.submit(counting.run, [zero, 500]); pool.submit(lambda: asyncio.run(session.run_async([x])))"
    ),
    # --- daemon threads, which it does not wait for: what they do may last as long as it likes
    "a daemon thread runs for ever": Ending(
        "daemon(lambda: counting.run([zero, ENDLESS])); until(lambda: counting.running)"
    ),
    "a daemon thread runs with a timeout": Ending(
        "daemon(lambda: counting.run([zero, ENDLESS], timeout=1000)); until(lambda: counting.running)"
    ),
    "a daemon thread awaits for ever": Ending(
        "daemon(lambda: asyncio.run(counting.run_async([zero, ENDLESS]))); until(lambda: counting.running)"
    ),
    "a loop is left with an endless run": Ending(
        "loop = asyncio.new_event_loop(); task = loop.create_task(counting.run_async([zero, ENDLESS]))\n"
        "loop.run_until_complete(asyncio.sleep(0.01)); assert counting.running"
    ),
    "daemon threads run a model": Ending("for_ever(lambda: session.run([x]))"),
    "daemon threads run a model for a while each": Ending("for_ever(lambda: counting.run([zero, 100]))"),
    "daemon threads run with timeouts": Ending("for_ever(lambda: session.run([x], timeout=60))"),
    "daemon threads submit": Ending("for_ever(lambda: session.submit([x]).result())"),
    "daemon threads wait for room to submit": Ending(
        "full = ortx.session(sys.argv[2], max_concurrency=1, max_queued_runs=1)\n"
        "for_ever(lambda: full.submit([zero, 500]))"
    ),
    "daemon threads await": Ending("for_ever(lambda: asyncio.run(session.run_async([x], timeout=60)))"),
    "a loop in a daemon thread awaits": Ending(
        "async def main():\n    while True: await session.run_async([x])\n"
        "daemon(lambda: asyncio.run(main())); time.sleep(0.02)"
    ),
    "daemon threads ask a batcher": Ending(
        "batcher = ortx.Batcher(session)\nfor_ever(lambda: batcher.run_blocking([x]))"
    ),
    "daemon threads open sessions": Ending("for_ever(lambda: ortx.session(sys.argv[2], intra_op_num_threads=2))"),
    "a daemon thread waits for a session to close": Ending(
        "daemon(lambda: counting.run([zero, ENDLESS])); until(lambda: counting.running); daemon(counting.close)"
    ),
}


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "square.onnx").write_bytes(models.square())
    (tmp_path / "counting.onnx").write_bytes(COUNTING)
    return tmp_path / "square.onnx", tmp_path / "counting.onnx"


@pytest.mark.parametrize("state", ENDINGS)
def test_the_interpreter_exits_quietly_when(state: str, run_python: Run, paths: tuple[Path, Path]):
    ending = ENDINGS[state]
    if "SIGTERM" in state and sys.platform == "win32":
        pytest.skip("needs signals of POSIX, which Windows does not have")
    done = run_python((PREPARE if ending.is_prepared else "") + ending.code, *paths)
    assert (done.returncode, done.stdout, done.stderr) == (ending.exit_code, ending.printed, "")


@pytest.mark.parametrize("state", ["everything else is alive", "a pool of threads is at work", "daemon threads submit"])
def test_in_development_mode_there_is_nothing_to_say_either(state: str, run_python: Run, paths: tuple[Path, Path]):
    done = run_python(PREPARE + ENDINGS[state].code, *paths, PYTHONDEVMODE="1", PYTHONMALLOC="malloc_debug")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("pause", [0, 0.004, 0.008, 0.012])
def test_a_daemon_thread_may_be_setting_up_onnx_runtime(pause: float, run_python: Run, paths: tuple[Path, Path]):
    # Without a lock, one in twenty of these crashed: it takes down what a thread sets up.
    code = f"""
import sys, threading, time, ortx
begun = threading.Event()
threading.Thread(target=lambda: (begun.set(), ortx.session(sys.argv[1], intra_op_num_threads=2)), daemon=True).start()
begun.wait(); time.sleep({pause})
"""
    for _ in range(2):
        done = run_python(code, *paths)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- exceptions: their traceback is all that is printed

EXCEPTIONS: dict[str, tuple[str, int, str]] = {
    "of the main program": (
        "session.run([])",
        1,
        "CallError: run: input 'x': missing; expected float32 of shape (n, 2)",
    ),
    "while a run is in flight": (
        "f = counting.submit([zero, 20_000]); 1 / 0",
        1,
        "ZeroDivisionError: division by zero",
    ),
    "in a thread": (
        "t = threading.Thread(target=session.run, args=([],)); t.start()",
        0,
        "CallError: run: input 'x': missing; expected float32 of shape (n, 2)",
    ),
    "in a callback": (
        "f = counting.submit([zero, 20_000]); f.add_done_callback(lambda f: 1 / 0)",
        0,
        "ZeroDivisionError: division by zero",
    ),
    "in a handler of the log": (
        "import logging\n"
        "class Handler(logging.Handler):\n"
        "    def emit(self, record): 1 / 0\n"
        "logging.getLogger('ortx').addHandler(Handler())\n"
        "try: ortx.session_from_bytes(bytes(10))\n"
        "except ortx.Error: pass\n"
        "counting.submit([zero, 20_000])",
        0,
        "",  # whether ORT has something to log is not the point
    ),
    "in a finalizer at the very end": (
        "class Last:\n    def __del__(self): session.run([])\nlast = Last()",
        0,
        "CallError: run: input 'x': missing; expected float32 of shape (n, 2)",
    ),
    "Ctrl-C in a run with a timeout": (
        "threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "session.run([x], timeout=1000); counting.run([zero, ENDLESS], timeout=1000)",
        -2,
        "KeyboardInterrupt",
    ),
    "Ctrl-C in an event loop": (
        "threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "asyncio.run(counting.run_async([zero, ENDLESS]))",
        -2,
        "KeyboardInterrupt",
    ),
    "Ctrl-C while the exit waits for an endless run": (
        "counting.submit([zero, ENDLESS])\n"
        "timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)); timer.daemon = True; timer.start()",
        0,
        "KeyboardInterrupt: ",
    ),
}


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX, which Windows does not have")
@pytest.mark.parametrize("state", EXCEPTIONS)
def test_of_an_exception_the_traceback_is_all_that_is_printed(state: str, run_python: Run, paths: tuple[Path, Path]):
    code, exit_code, last_line = EXCEPTIONS[state]
    done = run_python(PREPARE + code, *paths)
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert done.stderr.count("Traceback") <= (2 if state == "Ctrl-C in an event loop" else 1)
    if last_line:
        assert last_line in done.stderr.splitlines()[-1]


# --- children, and other interpreters


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which Windows does not have")
@pytest.mark.parametrize("in_flight", ["nothing", "a submitted run", "a run of a daemon thread"])
def test_a_child_of_a_process_with_sessions_leaves_with_the_code_it_says(in_flight, run_python: Run, paths):
    begin = {
        "nothing": "",
        "a submitted run": "f = counting.submit([zero, 50_000])",
        "a run of a daemon thread": "daemon(lambda: counting.run([zero, ENDLESS])); until(lambda: counting.running)",
    }
    code = f"""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python's: there are threads, and fork does not take them along
{begin[in_flight]}
child = os.fork()
if child == 0:
    try:
        session.run([x])
    except ortx.ForkedSession:
        with ortx.session(sys.argv[1], intra_op_num_threads=1) as own:
            os._exit(7 if own.run([x])[0].sum() == 6 else 1)
    os._exit(2)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), session.run([x])[0].sum())
"""
    done = run_python(PREPARE + code, *paths)
    assert (done.returncode, done.stdout, done.stderr) == (0, "7 6.0\n", "")


def test_a_second_interpreter_of_the_process_cannot_import_ortx_and_the_first_goes_on(run_python: Run, paths):
    code = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
other = interpreters.create()
code = "try: import ortx\\nexcept ImportError: raise SystemError('refused') from None"
try:
    print(interpreters.run_string(other, code))
except Exception as error:
    print(error)
interpreters.destroy(other)
print(session.run([x])[0].sum())
"""
    done = run_python(PREPARE + code, *paths)
    assert done.returncode == 0, done.stderr
    refused, went_on = done.stdout.splitlines()
    assert "refused" in refused
    assert went_on == "6.0"
