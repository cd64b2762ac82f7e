"""Ctrl-C in runs of the main thread (`_core.src/interrupt.pxi`), where others want the signal, too."""

from __future__ import annotations

import os
import sys

import pytest
from test_async import COUNTING

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="needs os.kill with SIGINT, which ends a process on Windows"
)

PREPARE = """
import asyncio, ctypes, os, signal, sys, threading, time
import numpy as np
import ortx

def opened(**options):
    return ortx.session(sys.argv[1], **options)

def interrupt_when_running(session, running=1):
    def work():
        while session.running < running:
            time.sleep(0.001)
        time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=work).start()

def outcome(call, *arguments, **more):
    try:
        return call(*arguments, **more)
    except (KeyboardInterrupt, ortx.Error) as error:
        return type(error).__name__

def unless_deaf(call, seconds=10):
    # Who is still running then has not heard the signal.
    options, ends = ortx.run_options(), []
    timer = threading.Timer(seconds, lambda: (ends.append("deaf"), options.terminate()))
    timer.start()
    ends.append(outcome(call, options))
    timer.cancel()
    return ends[0]

def interrupted(session, seconds=10):
    interrupt_when_running(session)
    return unless_deaf(lambda options: session.run([[0.0], 2**62], run_options=options), seconds)
"""

# A library that puts its own handler in front of what is there, and passes the signal on.
CHAIN = """
#include <signal.h>
static struct sigaction before;
int heard = 0;
static void handler(int number, siginfo_t* info, void* context) {
    heard++;
    if (before.sa_flags & SA_SIGINFO) before.sa_sigaction(number, info, context);
    else before.sa_handler(number);
}
int install(void) {
    struct sigaction mine;
    sigaction(SIGINT, 0, &before);
    mine = before;
    mine.sa_flags |= SA_SIGINFO;
    mine.sa_sigaction = handler;
    return sigaction(SIGINT, &mine, 0);
}
"""


@pytest.fixture
def in_process(run_python, tmp_path):
    """Run code, and return the words that it has printed."""
    (tmp_path / "counting.onnx").write_bytes(COUNTING)

    def in_process(code: str, *arguments: object) -> list[str]:
        done = run_python(PREPARE + code, tmp_path / "counting.onnx", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return in_process


@pytest.mark.parametrize(
    "between", ["opened()", "first.run([[0.0], 20_000])", "time.sleep(0.01); first.run([[0.0], 2])"]
)
def test_a_library_that_passes_the_signal_on_is_not_put_behind_ortx_again(in_process, compile_shared, between):
    """Otherwise each of the two handlers would call the other one, until the stack ends."""
    code = f"""
library = ctypes.CDLL(sys.argv[2])
first = opened()
library.install()
{between}
for session in (first, opened()):
    print(interrupted(session), ctypes.c_int.in_dll(library, "heard").value)
"""
    assert in_process(code, compile_shared(CHAIN, "chain")) == ["KeyboardInterrupt", "1", "KeyboardInterrupt", "2"]


def test_a_library_that_came_before_ortx_keeps_the_signal_until_python_has_it_again(in_process, compile_shared):
    code = """
library = ctypes.CDLL(sys.argv[2])
library.install()
session = opened()
print(interrupted(session, 0.3), ctypes.c_int.in_dll(library, "heard").value)
signal.signal(signal.SIGINT, signal.default_int_handler)
print(interrupted(session), ctypes.c_int.in_dll(library, "heard").value)
"""
    assert in_process(code, compile_shared(CHAIN, "chain")) == ["deaf", "1", "KeyboardInterrupt", "1"]


def test_handlers_that_come_and_go_between_runs_are_heeded(in_process):
    code = """
session, seen = opened(), []
for _ in range(3):
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    print(interrupted(session, 0.3), len(seen))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    time.sleep(0.001)
    print(interrupted(session))
"""
    assert in_process(code) == [word for number in (1, 2, 3) for word in ("deaf", str(number), "KeyboardInterrupt")]


def test_the_first_run_is_ended_after_another_thread_has_opened_the_session(in_process):
    code = """
sessions = []
thread = threading.Thread(target=lambda: sessions.append(opened()))
thread.start()
thread.join()
print(interrupted(sessions[0]))
"""
    assert in_process(code) == ["KeyboardInterrupt"]


def test_the_first_run_is_ended_after_an_event_loop_had_the_signal(in_process):
    code = """
session = opened()
asyncio.run(asyncio.sleep(0.001))  # sets a handler, and Python's again
print(interrupted(session))
"""
    assert in_process(code) == ["KeyboardInterrupt"]


@pytest.mark.parametrize("timeout", [None, "inf"])
def test_a_run_does_not_go_on_if_ctrl_c_came_while_its_inputs_were_converted(in_process, timeout):
    """numpy copies the input here, and looks at no signals; Python has noted it when the run begins."""
    code = f"""
session, x = opened(), np.zeros(1 << 26, np.float32)[::16]
session.run([[0.0], 1], timeout=60)
def kill():
    time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGINT)
thread = threading.Thread(target=kill)
def run(options):
    thread.start()
    session.run([x, 2**62], run_options=options, timeout={timeout and "float('inf')"})
print(unless_deaf(run), session.running)
print(outcome(lambda: session.run([[0.0], 3])[0][0]))
"""
    assert in_process(code) == ["KeyboardInterrupt", "0", "3.0"]


@pytest.mark.parametrize("kind", ["plain", "binding"])
def test_what_the_user_has_terminated_remains_so_after_ctrl_c(in_process, kind):
    code = f"""
session, options = opened(), ortx.run_options()
def run(count):
    if {kind == "plain"}:
        return session.run([[0.0], count], None, options)[0][0]
    binding = session.create_io_binding()
    binding.bind_input("x", [0.0])
    binding.bind_input("count", count)
    binding.bind_output("y")
    return binding.run(options)[0][0]
def work():
    while session.running < 1:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)
    options.terminate()
thread = threading.Thread(target=work)
thread.start()
try:
    first = outcome(run, 2**62)
    thread.join()
except KeyboardInterrupt:
    thread.join()
print(outcome(run, 2))
options.reset_terminate()
interrupt_when_running(session)
print(outcome(run, 2**62))
print(outcome(run, 2))  # Ctrl-C alone leaves nothing behind
"""
    assert in_process(code) == ["RunCancelled", "KeyboardInterrupt", "2.0"]


@pytest.mark.parametrize("kind", ["a call", "a submitted run"])
def test_ctrl_c_ends_the_wait_of_close_but_not_the_runs(in_process, kind):
    code = f"""
from ortx import _core
session, options, ends = opened(), ortx.run_options(), []
def call():
    ends.append(outcome(session.run, [[0.0], 2**62], run_options=options))
if {kind == "a call"}:
    thread = threading.Thread(target=call)
    thread.start()
else:
    session.submit([[0.0], 2**62], run_options=options).add_done_callback(lambda f: ends.append("RunCancelled"))
interrupt_when_running(session)
deaf = threading.Timer(10, options.terminate)
deaf.start()
for _ in range(2):
    print(outcome(session.close), session.closed, session.running, _core._live_handles()["session"])
    print(outcome(session.run, [[0.0], 1]), len(ends))
    interrupt_when_running(session)
    time.sleep(0.001)
print(outcome(session.close), len(ends))
deaf.cancel()
options.terminate()
session.close()
while not ends:
    time.sleep(0.001)
print(session.running, _core._live_handles()["session"], *ends)
"""
    once = ["KeyboardInterrupt", "True", "1", "1", "SessionClosed", "0"]
    assert in_process(code) == [*once, *once, "KeyboardInterrupt", "0", "0", "0", "RunCancelled"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which Windows does not have")
def test_ctrl_c_ends_a_run_in_a_child_that_another_thread_has_forked(in_process):
    """The thread that forks is the main one of the child."""
    code = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python's: there are threads, and fork does not take them along
session = opened()
def fork():
    child = os.fork()
    if child == 0:
        print(interrupted(opened()), flush=True)
        os._exit(3)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
thread = threading.Thread(target=fork)
thread.start()
thread.join()
print(interrupted(session))
"""
    assert in_process(code) == ["KeyboardInterrupt", "3", "KeyboardInterrupt"]
