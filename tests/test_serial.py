"""Sessions whose runs wait for each other (`_core.src/serial.pxi`): the option ``concurrent_runs``, and its default."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import models
import numpy as np
import pytest
from test_async import ENDLESS, SECONDS, counting, in_threads, wait_until
from test_custom_ops import chain, library_source

import ortx
from ortx import _core, providers

MANY_TURNS = 10_000  # milliseconds
X = np.array([[1, 2], [3, 4]], np.float32)

# The operator says into a pipe when another one is at work already, and waits a while for one to come.
MEETS_OTHERS = """{
  static int inside, met;
  char byte = '!';
  if (__atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST) > 1) {
    __atomic_store_n(&met, 1, __ATOMIC_SEQ_CST);
    write(@REACHED@, &byte, 1);
  }
  for (int i = 0; i < @TURNS@ && !__atomic_load_n(&met, __ATOMIC_SEQ_CST); i++) poll(NULL, 0, 1);
  __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
}"""


@pytest.fixture(autouse=True)
def _completed_runs_are_put_away_before_handles_are_counted() -> Iterator[None]:
    before = _core._live_handles()
    yield
    if not wait_until(lambda: _core._live_handles() == before, 0.2):
        gc.collect()  # an error of a task is in a cycle with its frames
    assert wait_until(lambda: _core._live_handles() == before)


@pytest.fixture
def meetings() -> Iterator[tuple[int, Callable[[], int]]]:
    """Return the pipe that the operator writes to, and how often it has done so."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)

    def count() -> int:
        try:
            return len(os.read(reading, 1 << 16))
        except BlockingIOError:
            return 0

    yield writing, count
    os.close(reading)
    os.close(writing)


@pytest.fixture
def opened(compile_shared, meetings) -> Callable[..., ortx.Session]:
    """Open y = 3 * x, by an operator that waits so many milliseconds for another one to be at work, too."""

    def opened(turns: int, **options: object) -> ortx.Session:
        writing, _ = meetings
        code = MEETS_OTHERS.replace("@REACHED@", str(writing)).replace("@TURNS@", str(turns))
        library: Path = compile_shared(library_source("Triple", in_compute=code), "Triple")
        return ortx.session_from_bytes(chain("Triple"), custom_op_libraries=library, **options)

    return opened


def run(session: ortx.Session) -> ortx.Outputs:
    return session.run([X])


def run_into(session: ortx.Session) -> ortx.Outputs:
    return session.run_into([X], [np.empty_like(X)])


def run_binding(session: ortx.Session) -> ortx.Outputs:
    return bound(session).run()


def submit(session: ortx.Session) -> ortx.Outputs:
    return session.submit([X]).result(SECONDS)


def run_with_timeout(session: ortx.Session) -> ortx.Outputs:
    return session.run([X], timeout=SECONDS)


def run_into_with_timeout(session: ortx.Session) -> ortx.Outputs:
    return session.run_into([X], [np.empty_like(X)], timeout=SECONDS)


def bound(session: ortx.Session) -> ortx.IOBinding:
    binding = session.create_io_binding()
    binding.bind_input("x", X)
    binding.bind_output("y")
    return binding


def run_binding_with_timeout(session: ortx.Session) -> ortx.Outputs:
    return bound(session).run(timeout=SECONDS)


def run_async(session: ortx.Session) -> ortx.Outputs:
    return asyncio.run(session.run_async([X]))


def run_binding_async(session: ortx.Session) -> ortx.Outputs:
    return asyncio.run(bound(session).run_async())


WAYS = [
    run,
    run_into,
    run_binding,
    submit,
    run_with_timeout,
    run_into_with_timeout,
    run_binding_with_timeout,
    run_async,
    run_binding_async,
]


def run_in_every_way(session: ortx.Session, ways: list[Callable[[ortx.Session], ortx.Outputs]], rounds: int) -> int:
    """Run in two threads for each way, and return how many results were right."""
    right = []

    def work(number: int) -> None:
        for _ in range(rounds):
            right.append((ways[number // 2](session)["y"] == 3 * X).all())

    in_threads(2 * len(ways), work)
    return sum(right)


@pytest.mark.parametrize(("given", "expected"), [(None, False), (True, True), (False, False)])
def test_a_session_takes_what_is_known_of_its_providers_unless_it_is_told_otherwise(monkeypatch, given, expected):
    monkeypatch.setitem(providers._ONE_RUN_AT_A_TIME, "cpu", ((), "for this test"))
    with ortx.session_from_bytes(models.square(), providers=["cpu"], concurrent_runs=given) as session:
        assert session.options()["concurrent_runs"] is expected


@pytest.mark.parametrize("way", [way for way in WAYS if way is not submit])
def test_runs_of_a_session_meet_where_nothing_is_said(opened, meetings, way):
    """The control: the operator does notice it."""
    with opened(MANY_TURNS, intra_op_num_threads=3, max_concurrency=2) as session:
        assert session.options()["concurrent_runs"] is True
        assert run_in_every_way(session, [way], 1) == 2
        assert meetings[1]() > 0


def test_a_submitted_run_meets_another_run_where_nothing_is_said(opened, meetings):
    with opened(MANY_TURNS, intra_op_num_threads=2) as session:
        future = session.submit([X])
        assert (session.run([X])["y"] == future.result(SECONDS)["y"]).all()
        assert meetings[1]() > 0


def test_runs_of_a_serialised_session_never_meet(opened, meetings):
    with opened(2, intra_op_num_threads=3, max_concurrency=4, concurrent_runs=False) as session:
        assert session.options()["concurrent_runs"] is False
        assert run_in_every_way(session, WAYS, 10) == 2 * len(WAYS) * 10
        assert meetings[1]() == 0


def test_runs_never_meet_after_the_session_was_opened_anew(opened, meetings, compile_shared):
    with opened(2, intra_op_num_threads=3, max_concurrency=4, concurrent_runs=False, keep_model=True) as session:
        session.register_custom_op_library(compile_shared(library_source("Fivefold"), "Fivefold"))
        assert session.options()["concurrent_runs"] is False
        assert run_in_every_way(session, WAYS, 5) == 2 * len(WAYS) * 5
        assert meetings[1]() == 0


def test_submitted_runs_and_threads_take_turns_and_all_of_them_end():
    with ortx.session_from_bytes(models.square(), intra_op_num_threads=3, concurrent_runs=False) as session:
        assert session.options()["concurrent_runs"] is False
        futures, results = [], []

        def work(number: int) -> None:
            for i in range(100):
                if number % 2:
                    futures.append((i, session.submit([[[i, i]]])))
                else:
                    results.append((i, session.run([[[i, i]]])))

        in_threads(6, work)
        results += [(i, future.result(SECONDS)) for i, future in futures]
    assert len(results) == 600
    assert all((outputs["y"] == i * i).all() for i, outputs in results)


def test_close_waits_for_runs_that_have_not_begun_yet():
    session = ortx.session_from_bytes(counting(), intra_op_num_threads=3, concurrent_runs=False)
    futures = [session.submit([[float(i)], 20_000]) for i in range(4)]
    outputs: list[ortx.Outputs] = []
    thread = threading.Thread(target=lambda: outputs.append(session.run([[0.0], 1])))
    thread.start()
    assert wait_until(lambda: session.running == 5 or bool(outputs))
    session.close()
    assert session.running == 0
    thread.join()
    assert outputs[0]["y"].tolist() == [1.0]
    assert [future.result(SECONDS)["y"].tolist() for future in futures] == [[20_000.0 + i] for i in range(4)]
    with pytest.raises(ortx.SessionClosed):
        session.run([[0.0], 1])


def test_a_run_that_fails_lets_the_next_one_in():
    with ortx.session_from_bytes(counting(), intra_op_num_threads=3, concurrent_runs=False) as session:
        options = ortx.run_options()
        options.terminate()
        for _ in range(3):
            with pytest.raises(ortx.Error, match="terminate"):
                session.run([[0.0], 1], run_options=options)
            assert isinstance(session.submit([[0.0], 1], run_options=options).exception(SECONDS), ortx.Error)
        assert session.run([[0.0], 1])["y"].tolist() == [1.0]


# --- waiting for a turn


@contextlib.contextmanager
def serialised() -> Iterator[ortx.Session]:
    """Open a session whose only turn another thread has, until the block ends."""
    stop, ended = ortx.run_options(), []

    def occupy() -> None:
        with pytest.raises(ortx.RunCancelled):
            session.run([[0.0], ENDLESS], run_options=stop)
        ended.append(True)

    with ortx.session_from_bytes(counting(), intra_op_num_threads=1, concurrent_runs=False) as session:
        thread = threading.Thread(target=occupy)
        thread.start()
        try:
            assert wait_until(lambda: session.running == 1)
            time.sleep(0.02)  # until it has its turn
            yield session
            assert not ended, "the one before had ended: nobody waited"
        finally:
            stop.terminate()
            thread.join()
        assert session.run([[0.0], 2])["y"].tolist() == [2.0]  # the turn was not lost


def bound_to(session: ortx.Session, count: int) -> ortx.IOBinding:
    binding = session.create_io_binding()
    binding.bind_input("x", [0.0])
    binding.bind_input("count", count)
    binding.bind_output("y")
    return binding


WAITING = {
    "run": lambda session, **more: session.run([[0.0], 1], **more),
    "run_into": lambda session, **more: session.run_into([[0.0], 1], [np.zeros(1, np.float32)], **more),
    "run_binding": lambda session, **more: bound_to(session, 1).run(**more),
    "run_async": lambda session, **more: asyncio.run(session.run_async([[0.0], 1], **more)),
    "run_binding_async": lambda session, **more: asyncio.run(bound_to(session, 1).run_async(**more)),
}


def error_in_thread(call: Callable[[], object]) -> type[BaseException] | None:
    """Return the class of what a call raises in another thread than the main one."""
    raised: list[type[BaseException] | None] = []

    def work() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(type(error))
        else:
            raised.append(None)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(SECONDS)
    return raised[0]


@pytest.mark.parametrize("in_main", [True, False], ids=["main thread", "another thread"])
@pytest.mark.parametrize("way", WAITING)
def test_a_timeout_ends_the_wait_for_a_turn(way, in_main):
    with serialised() as session:
        waiting = [threading.Thread(target=lambda: session.run([[0.0], 1]))]  # in front of it
        waiting[0].start()

        def call() -> None:
            with pytest.raises(ortx.RunTimeout, match="before it began"):
                WAITING[way](session, timeout=0.05)

        assert wait_until(lambda: session.running == 2)
        if in_main:
            call()
        else:
            assert error_in_thread(call) is None
        assert session.running == 2
        assert session.stats().timeouts == 1
    waiting[0].join()


@pytest.mark.parametrize("timeout", [None, SECONDS])
@pytest.mark.parametrize("way", [*WAITING, "submit"])
def test_terminate_ends_the_wait_for_a_turn(way, timeout):
    options = ortx.run_options()
    with serialised() as session:

        def call() -> object:
            if way == "submit":
                return session.submit([[0.0], 1], run_options=options).result(SECONDS)
            return WAITING[way](session, run_options=options, timeout=timeout)

        terminating = threading.Thread(
            target=lambda: (wait_until(lambda: session.running == 2), time.sleep(0.02), options.terminate())
        )
        terminating.start()
        assert error_in_thread(call) is ortx.RunCancelled
        terminating.join()
        assert error_in_thread(call) is ortx.RunCancelled  # nor does it begin to wait
        assert session.running == 1
        assert session.stats().cancelled == 2


def test_a_cancelled_task_does_not_wait_for_its_turn():
    async def check(session: ortx.Session) -> None:
        task = asyncio.ensure_future(session.run_async([[0.0], 1]))
        while session.running < 2:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert session.running == 1

    with serialised() as session:
        asyncio.run(check(session))


@pytest.mark.skipif(sys.platform == "win32", reason="needs os.kill with SIGINT, which ends a process on Windows")
@pytest.mark.parametrize("timeout", [None, SECONDS])
@pytest.mark.parametrize("way", ["run", "run_into", "run_binding"])
def test_ctrl_c_ends_the_wait_for_a_turn(way, timeout):
    with serialised() as session:
        interrupting = threading.Thread(
            target=lambda: (
                wait_until(lambda: session.running == 2),
                time.sleep(0.02),
                os.kill(os.getpid(), signal.SIGINT),
            )
        )
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            WAITING[way](session, timeout=timeout)
        interrupting.join()
        assert session.running == 1


def test_turns_come_in_the_order_in_which_they_were_asked_for():
    stop, ended, found = ortx.run_options(), [], []

    def endless() -> None:
        with pytest.raises(ortx.RunCancelled):
            session.run([[0.0], ENDLESS], run_options=stop)

    def brief() -> None:
        session.run([[0.0], 1])
        ended.append(True)

    with serialised() as session:
        threads = [threading.Thread(target=work) for work in (endless, brief)]
        for number, thread in enumerate(threads):
            thread.start()
            assert wait_until(lambda number=number: session.running == 2 + number)
            time.sleep(0.02)

        def look() -> None:
            wait_until(lambda: session.stats().cancelled == 1)  # the one before has ended
            time.sleep(0.05)
            found.append(bool(ended))
            stop.terminate()

        looking = threading.Thread(target=look)
        looking.start()
    for thread in (*threads, looking):
        thread.join()
    assert (found, ended) == ([False], [True])


def test_waiting_for_a_turn_takes_no_processor_time():
    with serialised() as session:
        others = [threading.Thread(target=lambda: session.run([[0.0], 1])) for _ in range(3)]
        for thread in others:
            thread.start()
        assert wait_until(lambda: session.running == 4)
        # The one that runs takes one processor; those that wait should not take others.
        began, used = time.monotonic(), time.process_time()
        time.sleep(0.4)
        assert time.process_time() - used < 1.5 * (time.monotonic() - began)
    for thread in others:
        thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which Windows does not have")
def test_a_child_forked_during_a_run_does_not_wait_for_it_with_its_own_session(run_python, compile_shared, tmp_path):
    (tmp_path / "triple.onnx").write_bytes(chain("Triple"))
    code = """
import os, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python's: there are threads, and fork does not take them along
(reached, reaches), (word, says) = os.pipe(), os.pipe()
assert [reaches, word] == [int(number) for number in sys.argv[3:]]
import ortx
session = ortx.session(sys.argv[1], custom_op_libraries=sys.argv[2], intra_op_num_threads=1, concurrent_runs=False)
results = []
threads = [threading.Thread(target=lambda: results.append(session.run([[[1, 2]]])[0][0, 1].item())) for _ in range(2)]
[thread.start() for thread in threads]
os.read(reached, 1)
while session.running < 2:
    time.sleep(0.001)
child = os.fork()
if child == 0:
    os.write(says, b"!!")  # for itself, and in case that the parent's thread is faster
    session.close()
    new = ortx.session(sys.argv[1], custom_op_libraries=sys.argv[2], intra_op_num_threads=1, concurrent_runs=False)
    print(new.run([[[1, 3]]])[0][0, 1], flush=True)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os.write(says, b"!!")
[thread.join() for thread in threads]
print(results)
"""
    # The numbers of the pipes in a new process: they are made before anything else is opened.
    source = library_source("Triple", in_compute="GATE", reached="4", word="5")
    done = run_python(code, tmp_path / "triple.onnx", compile_shared(source, "Triple"), 4, 5)
    assert (done.returncode, done.stdout, done.stderr) == (0, "9.0\n7\n[6.0, 6.0]\n", "")


@pytest.mark.parametrize("value", [0, 1, "yes", []])
def test_a_value_that_is_neither_true_nor_false_is_refused(value):
    with pytest.raises(ortx.OptionTypeError, match="'concurrent_runs'"):
        ortx.session_from_bytes(models.square(), concurrent_runs=value)
