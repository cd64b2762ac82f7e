"""Sessions whose runs wait for each other (`_core.src/serial.pxi`): the option ``concurrent_runs``, and its default."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import models
import numpy as np
import pytest
from test_async import SECONDS, counting, in_threads, wait_until
from test_custom_ops import chain, library_source

import ortx
from ortx import _core

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
    binding = session.create_io_binding()
    binding.bind_input("x", X)
    binding.bind_output("y")
    return binding.run()


def submit(session: ortx.Session) -> ortx.Outputs:
    return session.submit([X]).result(SECONDS)


WAYS = [run, run_into, run_binding, submit]


def run_in_every_way(session: ortx.Session, ways: list[Callable[[ortx.Session], ortx.Outputs]], rounds: int) -> int:
    """Run in two threads for each way, and return how many results were right."""
    right = []

    def work(number: int) -> None:
        for _ in range(rounds):
            right.append((ways[number // 2](session)["y"] == 3 * X).all())

    in_threads(2 * len(ways), work)
    return sum(right)


@pytest.mark.parametrize("way", [run, run_into, run_binding])
def test_runs_of_a_session_meet_where_nothing_is_said(opened, meetings, way):
    """The control: the operator does notice it."""
    with opened(MANY_TURNS, intra_op_num_threads=3) as session:
        assert session.options()["concurrent_runs"] is True
        assert run_in_every_way(session, [way], 1) == 2
        assert meetings[1]() > 0


def test_a_submitted_run_meets_another_run_where_nothing_is_said(opened, meetings):
    with opened(MANY_TURNS, intra_op_num_threads=2) as session:
        future = session.submit([X])
        assert (session.run([X])["y"] == future.result(SECONDS)["y"]).all()
        assert meetings[1]() > 0


def test_runs_of_a_serialised_session_never_meet(opened, meetings):
    with opened(2, intra_op_num_threads=3, concurrent_runs=False) as session:
        assert session.options()["concurrent_runs"] is False
        assert run_in_every_way(session, WAYS, 20) == 2 * len(WAYS) * 20
        assert meetings[1]() == 0


def test_runs_never_meet_after_the_session_was_opened_anew(opened, meetings, compile_shared):
    with opened(2, intra_op_num_threads=3, concurrent_runs=False, keep_model=True) as session:
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
