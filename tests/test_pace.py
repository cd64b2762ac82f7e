"""Which runs keep the GIL (`_core.src/pace.pxi`); of which models, is in test_predict.py."""

from __future__ import annotations

import sys
import threading

import models
import numpy as np
import pytest

import ortx
from ortx import _core

ENOUGH = 8
X = np.ones((1, 2), np.float32)


# --- sessions


@pytest.fixture(autouse=True)
def limit():
    """Let no run be too long by chance: the machine may be busy with something else."""
    previous = _core._brief_limit(10**12)
    yield previous
    _core._brief_limit(previous)


def brief(session_or_binding) -> int:
    return _core._brief_runs(session_or_binding)


def test_runs_count_as_brief_only_in_a_row_and_with_one_shape():
    with ortx.session_from_bytes(models.square(), intra_op_num_threads=1) as session:
        run_until_brief(session, [X])
        session.run([np.ones((3, 2), np.float32)])
        assert brief(session) <= 1
        run_until_brief(session, [np.ones((3, 2), np.float32)])


def run_until_brief(session, inputs, run=None):
    for _ in range(ENOUGH + 1):
        (run or session.run)(*([] if run else [inputs]))
    assert brief(session) == ENOUGH


def test_a_brief_run_gives_what_any_other_gives():
    with ortx.session_from_bytes(models.square(), intra_op_num_threads=1) as session:
        run_until_brief(session, [X])
        for number in range(200):
            x = np.full((1, 2), number, np.float32)
            assert session.run([x])["y"].tolist() == [[number**2] * 2]
            y = np.empty_like(x)
            session.run_into([x], [y])
            assert y.tolist() == [[number**2] * 2]


def test_runs_of_a_binding_count_until_something_else_is_bound():
    with ortx.session_from_bytes(models.square(), intra_op_num_threads=1) as session:
        binding = session.create_io_binding()
        binding.bind_input("x", X)
        y = binding.bind_output("y", {"type": "float32", "shape": (1, 2)})
        run_until_brief(binding, None, binding.run)
        binding.bind_input("x", 3 * X)
        assert brief(binding) == 0
        run_until_brief(binding, None, binding.run)
        assert y.tolist() == [[9, 9]]
        binding.bind_output("y")
        assert brief(binding) == 0
        assert brief(session) == 0


@pytest.mark.parametrize("way", ["with options", "submitted", "with a timeout"])
def test_a_run_of_another_kind_with_another_shape_is_no_reason_to_keep_the_gil_at_that_shape(limit, way):
    x = np.ones((3, 2), np.float32)
    with ortx.session_from_bytes(models.square(), intra_op_num_threads=1) as session:
        run_until_brief(session, [X])
        match way:
            case "with options":
                session.run([x], None, ortx.run_options())
            case "submitted":
                session.submit([x]).result(10)
            case _:
                session.run([x], timeout=10)
        assert brief(session) == 0


@pytest.mark.parametrize("how", ["the option", "run options", "an operator", "a long run", "a custom-op library"])
def test_runs_let_go_of_the_gil(how, limit):
    model, options, inputs, run_options = models.square(), {}, [X], None
    if how == "the option":
        options = {"brief_runs_keep_gil": False}
    elif how == "run options":  # somebody may want to terminate the run
        run_options = ortx.run_options()
    elif how == "an operator":
        model, inputs = models.loop(), [np.int64(3)]
    elif how == "a long run":
        _core._brief_limit(limit)
        inputs = [np.ones((200_000, 2), np.float32)]
    else:
        extensions = pytest.importorskip("onnxruntime_extensions", reason="needs the package onnxruntime-extensions")
        options = {"custom_op_libraries": [extensions.get_library_path()]}
    with ortx.session_from_bytes(model, options, intra_op_num_threads=1) as session:
        for _ in range(3 * ENOUGH):
            session.run(inputs, None, run_options)
        assert brief(session) < ENOUGH


def test_a_failing_brief_run_raises():
    with ortx.session_from_bytes(models.chain("Relu"), intra_op_num_threads=1) as session:
        run_until_brief(session, [X])
        for _ in range(100):
            with pytest.raises(ortx.InvalidArgument, match="y"):
                session.run_into([X], [np.empty((7, 2), np.float32)])
        assert session.run([X])["y"].tolist() == [[1, 1]]


def test_another_thread_runs_python_code_while_brief_runs_go_on():
    with ortx.session_from_bytes(models.square(), intra_op_num_threads=1) as session:
        run_until_brief(session, [X])
        reached, stop = [], threading.Event()

        def count():
            while not stop.is_set():
                reached.append(len(reached))

        thread = threading.Thread(target=count)
        thread.start()
        interval = sys.getswitchinterval()
        try:
            while len(reached) < 1000:
                session.run([X])
        finally:
            stop.set()
            thread.join()
        assert sys.getswitchinterval() == interval


def test_close_waits_for_brief_runs_of_other_threads():
    session = ortx.session_from_bytes(models.square(), intra_op_num_threads=1)
    run_until_brief(session, [X])
    errors = []

    def run():
        try:
            while True:
                assert session.run([X])["y"].tolist() == [[1, 1]]
        except ortx.SessionClosed:
            pass
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    session.close()
    for thread in threads:
        thread.join()
    assert not errors


# --- short runs of a thread that is alone

# A thread that Python knows nothing of until it wants the GIL, some time after it was started.
LATE_COMER = """
#include <pthread.h>
#include <time.h>
int PyGILState_Ensure(void);
void PyGILState_Release(int state);
static pthread_t thread;
static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}
static struct timespec delay;
static double got_it;
static void* come(void* unused) {
    nanosleep(&delay, 0);
    const int state = PyGILState_Ensure();
    got_it = seconds();
    PyGILState_Release(state);
    return 0;
}
void start(long nanoseconds) {
    delay.tv_nsec = nanoseconds;
    pthread_create(&thread, 0, come, 0);
}
double end(void) { pthread_join(thread, 0); return got_it; }
"""
WITH_A_LATE_COMER = """
import ctypes, sys, threading, time
import numpy as np
import ortx
from ortx import _core
library = ctypes.CDLL(sys.argv[1])
library.end.restype = ctypes.c_double
_core._brief_limit(0), _core._short_limit(1 << 60)
x = np.eye(256, dtype=np.float32)
session = ortx.session(sys.argv[2], intra_op_num_threads=1)
binding = session.create_io_binding()
binding.bind_input("x", x)
binding.bind_output("y")

def keeps_gil(run):
    "Whether somebody who comes in the middle of a run gets the GIL only when it is over."
    start = time.monotonic()
    run()
    usual = time.monotonic() - start
    start = time.monotonic()
    library.start(ctypes.c_long(int(usual * 1e9 / 4)))
    run()
    elapsed, until_it_came = time.monotonic() - start, library.end() - start
    return until_it_came > 0.8 * elapsed

def of_each_way(*ways):
    return [keeps_gil(way) for way in ways or (lambda: session.run([x]), binding.run)]

for _ in range(8):
    session.run([x]), binding.run()
"""


@pytest.fixture
def ask_late_comer(run_python, compile_shared, tmp_path):
    """Run code behind `WITH_A_LATE_COMER`; return what it printed."""
    model = tmp_path / "slow.onnx"
    model.write_bytes(models.slow(steps=40))
    library = compile_shared(LATE_COMER, "late_comer")

    def ask(code: str) -> str:
        done = run_python(WITH_A_LATE_COMER + code, library, model, ORT_DISABLE_TELEMETRY=1)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return ask


def test_short_runs_keep_the_gil_while_there_is_no_other_thread(ask_late_comer):
    assert (
        ask_late_comer("""
alone = of_each_way()
wake = threading.Event()
thread = threading.Thread(target=wake.wait)
thread.start()
with_a_thread = of_each_way()
wake.set()
thread.join()
print(alone, with_a_thread, of_each_way(), session.stats().timed_runs == session.stats().runs)
""")
        == "[True, True] [False, False] [True, True] True"
    )


def test_runs_with_options_and_those_that_may_take_longer_let_go_of_the_gil_of_a_thread_that_is_alone(ask_late_comer):
    assert (
        ask_late_comer("""
options = ortx.run_options()
with_options = of_each_way(lambda: session.run([x], None, options), lambda: binding.run(options))
_core._short_limit(1000)
session.run([x]), binding.run()
print(with_options, of_each_way())
""")
        == "[False, False] [False, False]"
    )


def test_short_runs_let_go_of_the_gil_if_there_is_another_interpreter(ask_late_comer):
    assert (
        ask_late_comer("""
import importlib
for name in ("_interpreters", "_xxsubinterpreters"):
    try:
        interpreters = importlib.import_module(name)
        break
    except ModuleNotFoundError as error:
        assert error.name == name
other = interpreters.create()
with_another = of_each_way()
interpreters.destroy(other)
print(with_another, of_each_way())
""")
        == "[False, False] [True, True]"
    )
