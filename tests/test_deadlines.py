"""Calls that wait, but not for ever: `timeout=`, Ctrl-C (`deadlines.pxi`, `blocking.pxi`, `interrupt.pxi`)."""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import threading
import time

import models
import numpy as np
import pytest
from test_async import BIAS, COUNTING, ENDLESS, SECONDS, X, in_threads, opened, wait_until

import ortx
from ortx import _core

ZERO = np.zeros(1, np.float32)
LONG = 1_000_000  # takes half a second and more


@pytest.fixture
def session():
    with opened() as session:
        yield session


def bound(session: ortx.Session, count: int) -> ortx.IOBinding:
    binding = session.create_io_binding()
    binding.bind_input("x", ZERO)
    binding.bind_input("count", np.array(count))
    binding.bind_output("y")
    return binding


def result_in_thread(call):
    """Return what a call returns or raises in another thread than the main one."""
    found = []

    def work() -> None:
        try:
            found.append(call())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(SECONDS)
    return found[0]


# Each takes a session and how long the model is to work.
WAYS = {
    "run": lambda session, count, **more: session.run([ZERO, count], **more),
    "run_into": lambda session, count, **more: session.run_into([ZERO, count], {"y": np.zeros(1, np.float32)}, **more),
    "run_with_iobinding": lambda session, count, **more: session.run_with_iobinding(bound(session, count), **more),
    "binding.run": lambda session, count, **more: bound(session, count).run(**more),
}


@pytest.mark.parametrize("in_main", [True, False], ids=["main thread", "another thread"])
@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_ends_in_time_gives_its_result(session, way, in_main):
    def call() -> ortx.Outputs:
        return WAYS[way](session, 5, timeout=SECONDS)

    assert (call() if in_main else result_in_thread(call))["y"].tolist() == [5]
    assert session.running == 0


@pytest.mark.parametrize("in_main", [True, False], ids=["main thread", "another thread"])
@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_is_late_is_ended(session, way, in_main):
    def call() -> ortx.Outputs:
        with pytest.raises(ortx.RunTimeout) as caught:
            WAYS[way](session, ENDLESS, timeout=0.02)
        return caught.value

    error = call() if in_main else result_in_thread(call)
    assert str(error) == f"{'run_with_iobinding' if 'binding' in way else way}: ended by its timeout of 0.02 s"
    assert isinstance(error, ortx.Error)
    assert isinstance(error, TimeoutError)
    assert not isinstance(error, ortx.RunCancelled)
    assert session.running == 0
    assert WAYS[way](session, 3)["y"].tolist() == [3]


@pytest.mark.parametrize("in_main", [True, False], ids=["main thread", "another thread"])
@pytest.mark.parametrize("way", WAYS)
def test_a_timeout_of_zero_runs_nothing(session, way, in_main):
    def call() -> None:
        with pytest.raises(ortx.RunTimeout, match="timeout of 0 s before it began"):
            WAYS[way](session, 1, timeout=0)

    assert (call() if in_main else result_in_thread(call)) is None


def test_infinity_is_no_deadline(session):
    assert session.run([ZERO, 3], timeout=math.inf)["y"].tolist() == [3]
    assert session.run([ZERO, 3], timeout=1e300)["y"].tolist() == [3]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("timeout", "error"), [("1", ortx.InvalidType), (True, ortx.InvalidType), (-1, ValueError)])
def test_what_is_no_timeout_is_refused(session, way, timeout, error):
    with pytest.raises(error, match="timeout: got "):
        WAYS[way](session, 1, timeout=timeout)
    assert session.running == 0


def test_with_a_timeout_a_call_is_refused_in_the_same_words():
    with opened(models.add()) as session:
        for call in (session.run, lambda x, **more: session.run_into(x, [None, None, None], **more)):
            with pytest.raises(ortx.CallError) as expected:
                call([X])
            with pytest.raises(ortx.CallError) as caught:
                call([X], timeout=1)
            assert str(caught.value) == str(expected.value)
        assert session.run([X, BIAS], ["y"], timeout=SECONDS)[0].tolist() == (X + BIAS).tolist()


def test_a_closed_session_refuses(session):
    session.close()
    with pytest.raises(ortx.SessionClosed):
        session.run([ZERO, 1], timeout=1)


def test_a_failure_with_a_timeout_is_the_model_s():
    with opened(models.failing()) as session, pytest.raises(ortx.Error, match="Reshape") as caught:
        session.run([np.zeros(14, np.float32)], timeout=SECONDS)
    assert not isinstance(caught.value, ortx.RunTimeout | ortx.RunCancelled)


def test_a_binding_is_free_again_after_a_timeout(session):
    binding = bound(session, ENDLESS)
    with pytest.raises(ortx.RunTimeout):
        binding.run(timeout=0.01)
    binding.bind_input("count", np.array(4))
    assert binding.run(timeout=SECONDS)["y"].tolist() == [4]


def test_a_kernel_is_not_interrupted_and_what_is_done_then_is_returned():
    """One node, so ONNX Runtime does not look at the flag before its end."""
    node = models.helper.make_node("MatMul", ["x", "x"], ["y"])
    model = models.build([node], [models.tensor("x", shape=("n", "n"))], [models.tensor("y", shape=("n", "n"))])
    x = np.eye(1500, dtype=np.float32)
    with opened(model, intra_op_num_threads=1) as session:
        started = time.monotonic()
        session.run([x])
        full = time.monotonic() - started
        assert session.run([x], timeout=full / 20)["y"].shape == x.shape


# --- what ended it


@pytest.mark.parametrize("timeout", [None, SECONDS])
@pytest.mark.parametrize("in_main", [True, False], ids=["main thread", "another thread"])
def test_terminate_raises_another_error_than_a_timeout(session, timeout, in_main):
    options = ortx.run_options(tag="ended")

    def call() -> Exception:
        with pytest.raises(ortx.RunCancelled, match="terminate flag") as caught:
            session.run([ZERO, ENDLESS], None, options, timeout=timeout)
        return caught.value

    timer = threading.Timer(0.02, options.terminate)
    timer.start()
    error = call() if in_main else result_in_thread(call)
    timer.join()
    assert isinstance(error, ortx.Error)
    assert not isinstance(error, TimeoutError)
    with pytest.raises(ortx.RunCancelled):
        session.run([ZERO, 1], None, options, timeout=timeout)
    options.reset_terminate()
    assert session.run([ZERO, 1], None, options, timeout=timeout)["y"].tolist() == [1]


@pytest.mark.parametrize("version", ["1.20.0", "1.23.2"])
def test_older_libraries_say_it_in_the_same_words(run_python, runtime_wheel, tmp_path, version):
    library = runtime_wheel(version)
    (tmp_path / "counting.onnx").write_bytes(COUNTING)
    (tmp_path / "slow.onnx").write_bytes(models.slow(3000))
    done = run_python(
        """
import sys
import numpy as np
import ortx
for name, inputs in (("counting", [[0.0], 2**62]), ("slow", [np.eye(256, dtype=np.float32)])):
    session = ortx.session(f"{sys.argv[1]}/{name}.onnx")
    try:
        session.run(inputs, timeout=0.01)
    except ortx.RunTimeout:
        print("late")
    options = ortx.run_options()
    options.terminate()
    try:
        session.run(inputs, None, options)
    except ortx.RunCancelled:
        print("cancelled")
""",
        tmp_path,
        ORTX_LIBRARY=library,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "late\ncancelled\n" * 2, "")


def test_a_timeout_concerns_no_other_run_with_the_same_options(session):
    options, ended = ortx.run_options(), []
    other = threading.Thread(
        target=lambda: ended.append(
            result_in_thread(lambda: session.run([ZERO, ENDLESS], None, options, timeout=SECONDS))
        )
    )
    other.start()
    assert wait_until(lambda: session.running == 1)
    with pytest.raises(ortx.RunTimeout):
        session.run([ZERO, ENDLESS], None, options, timeout=0.01)
    assert session.running == 1
    options.terminate()
    other.join(SECONDS)
    assert [type(error) for error in ended] == [ortx.RunCancelled]


# --- many deadlines


def test_many_runs_with_many_deadlines_each_end_as_they_should():
    """A heap that loses one, or stops another's run, would show here."""
    wrong, generator = [], random.Random(1)
    timeouts = [[generator.choice([0.002, 0.005, 0.02, 30, math.inf]) for _ in range(40)] for _ in range(8)]

    def work(number: int) -> None:
        for timeout in timeouts[number]:
            is_late = timeout < 1
            try:
                value = session.run([ZERO, ENDLESS if is_late else 3], timeout=timeout)["y"].item()
            except ortx.RunTimeout:
                value = None
            if value != (None if is_late else 3):
                wrong.append((number, timeout, value))

    with opened(intra_op_num_threads=1) as session:
        in_threads(8, work)
        assert session.running == 0
    assert not wrong


def test_a_call_with_a_timeout_leaves_no_handle(session):
    before = _core._live_handles()
    for _ in range(50):
        session.run([ZERO, 1], None, ortx.run_options(tag="short"), timeout=1000)
    assert _core._live_handles() == before


def test_deadlines_are_watched_by_one_daemon_thread(session):
    for _ in range(3):
        session.run([ZERO, 1], timeout=SECONDS)
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "ortx-deadlines")
    assert thread.daemon


# --- signals

needs_signals = pytest.mark.skipif(
    sys.platform == "win32", reason="needs os.kill with SIGINT, which ends a process on Windows"
)


def interrupt_soon() -> threading.Timer:
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


@needs_signals
@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_ends_a_run_with_a_timeout_in_the_main_thread(session, way):
    timer = interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        WAYS[way](session, ENDLESS, timeout=math.inf)
    timer.join()
    assert session.running == 0
    assert WAYS[way](session, 2)["y"].tolist() == [2]


@needs_signals
@pytest.mark.parametrize("tag", [None, "x"])
@pytest.mark.parametrize("options", [{}, {"concurrent_runs": False}, {"brief_runs_keep_gil": False}], ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_ends_a_plain_run_of_the_main_thread(way, options, tag):
    run_options = tag and ortx.run_options(tag=tag)
    with opened(**options) as session:
        for count in range(3):
            timer = interrupt_soon()
            with pytest.raises(KeyboardInterrupt):
                WAYS[way](session, ENDLESS, run_options=run_options)
            timer.join()
            assert session.running == 0
            assert session.stats().cancelled == count + 1
            assert WAYS[way](session, 2, run_options=run_options)["y"].tolist() == [2]


@needs_signals
def test_ctrl_c_ends_no_run_of_another_thread(session):
    results = []
    threads = [threading.Thread(target=lambda: results.append(session.run([ZERO, LONG])["y"].item())) for _ in "ab"]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: session.running == len(threads))
    timer = interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        session.run([ZERO, ENDLESS])
    timer.join()
    assert not results, "LONG is too short to tell"
    for thread in threads:
        thread.join()
    assert results == [LONG, LONG]


@needs_signals
def test_a_signal_that_means_something_else_ends_no_plain_run(session):
    seen = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(session.running))
    timer = interrupt_soon()
    try:
        assert session.run([ZERO, LONG])["y"].tolist() == [LONG]
    finally:
        signal.signal(signal.SIGINT, before)
        timer.join()
    assert seen == [0]


@needs_signals
def test_after_a_signal_between_two_runs_the_next_one_is_not_ended(session):
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert session.run([ZERO, 2])["y"].tolist() == [2]


@needs_signals
def test_a_handler_that_raises_nothing_does_not_disturb_the_run(session, monkeypatch):
    seen = []

    def handler(number: int, frame: object) -> None:
        seen.append(session.run([ZERO, 4], timeout=SECONDS)["y"].item())

    before = signal.signal(signal.SIGINT, handler)
    options = ortx.run_options()
    timer = interrupt_soon()
    stopper = threading.Thread(target=lambda: (wait_until(lambda: seen), options.terminate()))
    stopper.start()
    try:
        with pytest.raises(ortx.RunCancelled):
            session.run([ZERO, ENDLESS], None, options, timeout=SECONDS)
    finally:
        signal.signal(signal.SIGINT, before)
        timer.join()
        stopper.join()
    assert seen == [4]


@needs_signals
def test_a_handler_may_close_the_session_and_raise(session):
    def handler(number: int, frame: object) -> None:
        threading.Thread(target=session.close).start()
        raise ZeroDivisionError

    before = signal.signal(signal.SIGINT, handler)
    timer = interrupt_soon()
    try:
        with pytest.raises(ZeroDivisionError):
            session.run([ZERO, ENDLESS], timeout=math.inf)
    finally:
        signal.signal(signal.SIGINT, before)
        timer.join()
    assert wait_until(lambda: session.closed and session.running == 0)


@needs_signals
def test_ctrl_c_ends_the_wait_for_room_in_the_queue():
    options = ortx.run_options()
    with opened(max_queued_runs=1) as session:
        futures = [session.submit([ZERO, ENDLESS], run_options=options)]
        assert wait_until(lambda: session.running == 1)
        time.sleep(0.01)  # until a worker has taken it
        futures.append(session.submit([ZERO, 1]))
        timer = interrupt_soon()
        with pytest.raises(KeyboardInterrupt):
            session.submit([ZERO, 2])
        timer.join()
        options.terminate()
        assert isinstance(futures[0].exception(SECONDS), ortx.RunCancelled)
        assert futures[1].result(SECONDS)["y"].tolist() == [1]
        assert session.submit([ZERO, 3]).result(SECONDS)["y"].tolist() == [3]
