"""A story: one session, many threads, every result right."""

from __future__ import annotations

import concurrent.futures
import threading
import time

import models
import numpy as np
import pytest

import ortx

SECONDS = 2.0


@pytest.mark.parametrize("threads_inside", [1, 2])
def test_sixteen_threads_on_one_session_never_see_a_wrong_value(threads_inside):
    wrong, counts = [], []
    end = time.monotonic() + SECONDS
    barrier = threading.Barrier(16)

    def work(number: int) -> None:
        x = np.full((number + 1, 2), number, np.float32)
        total, difference = np.empty_like(x), np.empty_like(x)
        barrier.wait()
        count = 0
        while time.monotonic() < end:
            for a, b in (
                session.run({"a": x, "b": x}),
                session.run([x, x.tolist()], ["sum", "difference"]),
                session.run_into([x, x], {"sum": total, "difference": difference}),
            ):
                if a.shape != x.shape or (a != 2 * number).any() or b.any():
                    wrong.append((number, a, b))
            with pytest.raises(ortx.CallError):
                session.run({"a": x})
            assert session.input_names() == ("a", "b")
            repr(session)
            count += 1
        counts.append(count)

    with ortx.session_from_bytes(models.sum_and_difference(), intra_op_num_threads=threads_inside) as session:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    assert len(counts) == 16
    assert min(counts) > 0


def test_other_threads_work_while_a_model_loads_and_runs():
    """The GIL is free meanwhile: a thread that counts gets on."""
    counted, stop = [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            counted[0] += 1

    x = np.eye(256, dtype=np.float32)
    with ortx.session_from_bytes(models.slow(), intra_op_num_threads=1) as session:
        thread = threading.Thread(target=count)
        thread.start()
        before = counted[0]
        session.run([x])
        during = counted[0] - before
        stop.set()
        thread.join()
    assert during > 1000


def test_threads_may_open_sessions_at_the_same_time():
    model, results = models.square(), []

    def work() -> None:
        with ortx.session_from_bytes(model) as session:
            results.append(session.run([[[1, 2]]])[0].tolist())

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[[1, 4]]] * 16


def test_the_first_sessions_of_a_process_may_be_opened_by_many_threads(run_python, tmp_path):
    (tmp_path / "square.onnx").write_bytes(models.square())
    code = """
import sys, threading
import ortx
results = []
barrier = threading.Barrier(8)
def work():
    barrier.wait()
    with ortx.session(sys.argv[1]) as session:
        results.append(session.run([[[3, 3]]])[0][0, 0])
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(sum(results))
"""
    done = run_python(code, tmp_path / "square.onnx")
    assert (done.returncode, done.stdout, done.stderr) == (0, "72.0\n", "")


def work_until_closed(session: ortx.Session, way: str, number: int, barrier: threading.Barrier) -> object:
    """Run again and again; return the type of the error that ends it, or a result that is wrong."""
    x = np.full((2, 2), number, np.float32)
    y = np.empty_like(x)
    binding = session.create_io_binding()
    binding.bind_input("x", x)
    binding.bind_output("y")
    call = {
        "run": lambda: session.run([x]),
        "run_into": lambda: session.run_into([x], [y]),
        "binding": binding.run,
        "submit": lambda: session.submit([x]).result(60),
    }[way]
    barrier.wait()
    try:
        while True:
            outputs = call()
            if (outputs["y"] != number * number).any():
                return outputs
    except ortx.Error as error:
        return type(error)


@pytest.mark.parametrize("options", [{}, {"concurrent_runs": False}], ids=["concurrent", "one at a time"])
@pytest.mark.parametrize("ways", [["run"], ["run", "run_into", "binding", "submit"]], ids=["run", "every way"])
def test_close_while_eight_threads_run_lets_what_has_begun_end_and_refuses_the_rest(options, ways):
    for _ in range(10):
        session = ortx.session_from_bytes(models.square(), intra_op_num_threads=2, **options)
        barrier = threading.Barrier(9)
        with concurrent.futures.ThreadPoolExecutor(10) as threads:
            ends = [
                threads.submit(work_until_closed, session, ways[number % len(ways)], number, barrier)
                for number in range(8)
            ]
            barrier.wait()
            closers = [threads.submit(session.close) for _ in range(2)]
        assert [closer.result() for closer in closers] == [None, None]
        assert [end.result() for end in ends] == [ortx.SessionClosed] * 8
        assert session.running == 0
