"""Runs in the background: `Session.submit`, its futures, and who lives how long (`_core.src/async.pxi`)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, as_completed, wait

import models
import numpy as np
import pytest
from onnx import helper

import ortx
from ortx import _core

X = np.array([[1, 2], [3, 4]], np.float32)
BIAS = np.array([[10, 20]], np.float32)
SECONDS = 60  # more than anything here takes: who waits longer hangs
ENDLESS = 2**62


def counting() -> bytes:
    """y = x + count, one by one in a loop: takes as long as `count` says, and can be terminated at each step"""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go_on"], ["goes_on"]), helper.make_node("Add", ["v", "one"], ["w"])],
        "body",
        [models.tensor("i", "int64", ()), models.tensor("go_on", "bool", ()), models.tensor("v", shape=("n",))],
        [models.tensor("goes_on", "bool", ()), models.tensor("w", shape=("n",))],
        [models.constant("one", 1.0)],
    )
    return models.build(
        [helper.make_node("Loop", ["count", "", "x"], ["y"], body=body)],
        [models.tensor("x", shape=("n",)), models.tensor("count", "int64", ())],
        [models.tensor("y", shape=("n",))],
    )


COUNTING = counting()


def opened(model: bytes = COUNTING, **options: object) -> ortx.Session:
    """Open a session that runs what is submitted one at a time."""
    return ortx.session_from_bytes(model, {"max_concurrency": 1, "max_queued_runs": 5000} | options)


@pytest.fixture
def session():
    with opened() as session:
        yield session


@pytest.fixture(scope="module")
def add():
    with opened(models.add()) as session:
        yield session


@pytest.fixture(scope="module")
def two_outputs():
    with opened(models.sum_and_difference()) as session:
        yield session


@contextlib.contextmanager
def busy(session: ortx.Session) -> Iterator[Future[ortx.Outputs]]:
    """Occupy the session's only worker: what is submitted meanwhile begins after the block."""
    options = ortx.run_options()
    future = session.submit([[0.0], ENDLESS], run_options=options)
    try:
        yield future
    finally:
        options.terminate()
    assert isinstance(future.exception(SECONDS), ortx.Error)


def value_of(future: Future[ortx.Outputs]) -> float:
    return future.result(SECONDS)["y"][0].item()


def wait_until(condition: Callable[[], bool], seconds: float = SECONDS) -> bool:
    """Look until it is so: for what happens after a future is done, which nothing tells."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.0005)
    return True


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Call `work(number)` in that many threads and wait for them."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.fixture(autouse=True)
def _completed_runs_are_put_away_before_handles_are_counted():
    """A future is done a moment before its run is put away; conftest counts the handles after this."""
    before = _core._live_handles()
    yield
    for seconds in (0.1, 5):
        if _core._live_handles() != before and not wait_until(lambda: _core._live_handles() == before, seconds):
            gc.collect()


# --- results


RESULTS = {
    "a mapping": (models.add, lambda: {"x": X, "bias": BIAS}, None),
    "a mapping in another order": (models.add, lambda: {"bias": BIAS, "x": X}, None),
    "a list": (models.add, lambda: [X, BIAS], None),
    "a tuple": (models.add, lambda: (X, BIAS), None),
    "lists of numbers": (models.add, lambda: [X.tolist(), BIAS.tolist()], None),
    "an array and a list by name": (models.add, lambda: {"bias": [[1, 2]], "x": X}, None),
    "a scalar": (models.identity, lambda: [2.5], None),
    "an empty array": (models.identity, lambda: [np.zeros((0, 3), np.float32)], None),
    "a transposed array": (models.identity, lambda: [np.arange(6, dtype=np.float32).reshape(2, 3).T], None),
    "a memoryview": (models.identity, lambda: [memoryview(X.copy())], None),
    "a Tensor": (models.identity, lambda: [ortx.tensor(X)], None),
    "an initializer left out": (models.overridable, lambda: [X], None),
    "an initializer given": (models.overridable, lambda: {"scale": [3], "x": X}, None),
    "all outputs": (models.sum_and_difference, lambda: [X, BIAS + X], None),
    "outputs in another order": (models.sum_and_difference, lambda: [X, BIAS + X], ["difference", "sum"]),
    "one output": (models.sum_and_difference, lambda: [X, BIAS + X], ("difference",)),
    "16 inputs and outputs": (lambda: models.many(8), lambda: [X + i for i in range(8)], None),
    "18 inputs and outputs": (lambda: models.many(9), lambda: [X + i for i in range(9)], None),
    "200 inputs and outputs": (lambda: models.many(100), lambda: {f"x{i}": X + i for i in range(100)}, None),
    "one output of a hundred": (lambda: models.many(100), lambda: [X + i for i in range(100)], ["y77"]),
    "an input passed through": (models.passed_through, lambda: [X.copy()], None),
    "only an input passed through": (models.passed_through, lambda: {"x": X.tolist()}, ["x"]),
}


@pytest.mark.parametrize("case", RESULTS)
def test_the_future_has_what_run_returns(case):
    model, inputs, names = RESULTS[case]
    with opened(model()) as session:
        expected = session.run(inputs(), names)
        outputs = session.submit(inputs(), names).result(SECONDS)
    assert type(outputs) is ortx.Outputs
    assert outputs.keys() == expected.keys() == tuple(names or session.output_names())
    for output, other in zip(outputs, expected, strict=True):
        assert type(output) is np.ndarray
        assert output.dtype == other.dtype
        assert output.shape == other.shape
        np.testing.assert_array_equal(output, other)


def test_output_names_may_be_an_iterator(two_outputs):
    outputs = two_outputs.submit([X, X], iter(["difference"])).result(SECONDS)
    assert outputs.keys() == ("difference",)
    assert not outputs[0].any()


def test_arguments_go_by_keyword_too(add):
    options = ortx.run_options(tag="t")
    future = add.submit(inputs={"x": X, "bias": BIAS}, output_names=["y"], run_options=options)
    assert future.result(SECONDS)[0].tolist() == (X + BIAS).tolist()


def test_the_future_is_one_of_the_standard_library(add):
    future = add.submit([X, BIAS])
    assert isinstance(future, Future)
    assert future.result(SECONDS) is future.result(SECONDS)


def test_an_output_passed_through_is_no_view_of_the_input():
    x = X.copy()
    with opened(models.passed_through()) as session:
        outputs = session.submit([x]).result(SECONDS)
    assert not np.shares_memory(outputs["x"], x)
    x[:] = 7
    assert outputs["x"].tolist() == X.tolist()


def test_outputs_outlive_session_and_future():
    size = 1 << 18
    session = opened()
    future = session.submit([np.zeros(size, np.float32), 3])
    output = future.result(SECONDS)["y"]
    session.close()
    del session, future
    gc.collect()
    others = [np.full(size, 9, np.float32) for _ in range(4)]  # would take the place of freed memory
    assert (output == 3).all()
    output[0] = 4
    assert len(others) == 4


# --- what is refused at the call


def refusal(call: Callable[..., object], *arguments: object) -> ortx.Error:
    with pytest.raises(ortx.Error) as caught:
        call(*arguments)
    return caught.value


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        [],
        [X],
        [X, BIAS, X],
        {"x": X, "bias": BIAS, 3: X},
        {"x": X, "Bias": BIAS},
        {"x": X.astype("float64"), "biass": BIAS},
        [X[0], BIAS],
        [X, X],
        [X, [["a", "b"]]],
        [X, None],
        X,
        "x",
        None,
    ],
    ids=str,
)
@pytest.mark.parametrize("names", [None, ["y"], ["z", 0]], ids=str)
def test_a_call_that_run_refuses_is_refused_at_once_in_the_same_words(add, inputs, names):
    expected = refusal(add.run, inputs, names)
    error = refusal(add.submit, inputs, names)
    assert type(error) is type(expected) is ortx.CallError
    assert str(expected).startswith("run: ")
    assert str(error) == f"submit: {str(expected).removeprefix('run: ')}"
    assert error.problems == expected.problems
    assert add.running == 0


@pytest.mark.parametrize("names", ["y", 3, [], ["y", "y"]], ids=str)
def test_output_names_that_cannot_be_are_refused_at_once(add, names):
    expected = refusal(add.run, [X, BIAS], names)
    error = refusal(add.submit, [X, BIAS], names)
    assert (type(error), str(error)) == (type(expected), str(expected))
    assert isinstance(error, (ortx.InvalidType, ortx.InvalidArgument))


@pytest.mark.parametrize("run_options", [{"tag": "x"}, "x", 0, False, object()], ids=repr)
def test_run_options_of_the_wrong_type_are_refused_at_once(add, run_options):
    with pytest.raises(ortx.InvalidType, match=r"run_options: got .*; expected an ortx\.RunOptions"):
        add.submit([X, BIAS], None, run_options)


def test_a_closed_session_refuses(session):
    session.close()
    with pytest.raises(ortx.SessionClosed, match="is closed; make a new one"):
        session.submit([[0.0], 0])


class Closing:
    """An input that closes the session while it is being looked at."""

    def __init__(self, session: ortx.Session) -> None:
        self.session = session

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        self.session.close()
        return np.zeros(1, np.float32)


def test_a_session_that_an_input_closes_refuses(session):
    with pytest.raises(ortx.SessionClosed):
        session.submit([Closing(session), 0])
    assert session.running == 0


def test_an_error_of_an_input_is_told_at_once(add):
    class Broken:
        def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
            raise ZeroDivisionError("out of order")

    with pytest.raises(ortx.CallError, match=r"^submit: input 'bias': .*cannot be read as an array \(out of order\)"):
        add.submit([X, Broken()])
    assert add.running == 0


@pytest.mark.parametrize("threads_inside", [1, 2])
def test_the_number_of_intra_op_threads_does_not_matter(threads_inside):
    with ortx.session_from_bytes(models.add(), intra_op_num_threads=threads_inside) as session:
        assert session.submit([X, BIAS]).result(SECONDS)[0].tolist() == (X + BIAS).tolist()


def test_a_refused_call_leaves_nothing_behind(session):
    before = _core._live_handles()
    x = np.zeros(2, np.float32)
    gone = threading.Event()
    weakref.finalize(x, gone.set)
    with pytest.raises(ortx.CallError):
        session.submit({"x": x, "count": 1.5})
    assert session.running == 0
    assert _core._live_handles() == before
    del x
    assert gone.is_set()
    assert value_of(session.submit([[1.0], 2])) == 3


# --- errors in the future


def test_a_model_that_fails_puts_the_error_of_run_into_the_future():
    with opened(models.failing()) as session:
        expected = refusal(session.run, [np.zeros(14, np.float32)])
        for _ in range(3):
            future = session.submit([np.zeros(14, np.float32)])
            error = future.exception(SECONDS)
            assert (type(error), str(error), error.code) == (type(expected), str(expected), expected.code)
            assert "Reshape" in str(error)
            with pytest.raises(ortx.Error) as caught:
                future.result()
            assert caught.value is error
            del caught
        assert session.submit([np.zeros(15, np.float32)]).result(SECONDS)[0].shape == (3, 5)


def test_one_failure_does_not_concern_the_runs_around_it():
    with opened(models.failing()) as session:
        sizes = [15, 14, 15, 14, 15]
        futures = [session.submit([np.zeros(size, np.float32)]) for size in sizes]
        assert [future.exception(SECONDS) is None for future in futures] == [size == 15 for size in sizes]


def test_a_run_that_was_terminated_before_does_not_begin(session):
    options = ortx.run_options()
    options.terminate()
    future = session.submit([[0.0], 5], run_options=options)
    with pytest.raises(ortx.Error, match="terminate flag"):
        future.result(SECONDS)
    options.reset_terminate()
    assert value_of(session.submit([[0.0], 5], run_options=options)) == 5


def test_a_run_can_be_terminated_between_two_nodes():
    options = ortx.run_options()
    with opened(models.slow(steps=2000)) as session:
        future = session.submit([np.eye(256, dtype=np.float32)], run_options=options)
        options.terminate()
        with pytest.raises(ortx.Error, match="terminate flag"):
            future.result(SECONDS)
        options.reset_terminate()


def test_terminate_stops_all_runs_of_its_options_and_no_other(session):
    first, second = ortx.run_options(), ortx.run_options()
    stopped = [session.submit([[0.0], ENDLESS], run_options=first) for _ in range(3)]
    others = [
        session.submit([[0.0], 1]),
        session.submit([[0.0], 2], run_options=second),
        session.submit([[0.0], 3], run_options=ortx.run_options()),
    ]
    assert not stopped[0].done()
    first.terminate()
    assert all("terminate flag" in str(future.exception(SECONDS)) for future in stopped)
    assert [value_of(future) for future in others] == [1, 2, 3]


# --- who lives how long


def test_inputs_may_be_dropped_as_soon_as_submit_has_returned(session):
    size = 1 << 18
    with busy(session):
        arrays = [np.full(size, number, np.float32) for number in range(4)]
        futures = [session.submit([array, np.array(1)]) for array in arrays]
        futures += [session.submit({"x": np.full(size, number, np.float32), "count": 1}) for number in range(4, 8)]
        futures += [session.submit([np.arange(8, 10, dtype=np.float32)[:1], np.array(1)])]
        futures += [session.submit([[9.0], 1])]
        del arrays
        gc.collect()
        others = [np.full(size, 99, np.float32) for _ in range(8)]  # would take the place of freed memory
    for number, future in enumerate(futures):
        assert (future.result(SECONDS)["y"] == number + 1).all()
    assert len(others) == 8


def test_the_callers_containers_may_change_as_soon_as_submit_has_returned(session):
    inputs, names = {"x": np.zeros(1, np.float32), "count": np.array(4)}, ["".join(["", "y"])]
    with busy(session):
        future = session.submit(inputs, names)
        inputs.clear()
        names.clear()
        gc.collect()
    assert future.result(SECONDS).keys() == ("y",)
    assert value_of(future) == 4


@pytest.mark.parametrize("count", [3, ENDLESS], ids=["success", "failure"])
def test_inputs_live_until_the_run_has_ended_and_no_longer(session, count):
    gone, options = threading.Event(), ortx.run_options()
    x = np.zeros(1, np.float32)
    weakref.finalize(x, gone.set)
    with busy(session):
        future = session.submit([x, count], run_options=options)
        del x
        gc.collect()
        assert not gone.is_set()
        if count == ENDLESS:
            options.terminate()
    assert gone.wait(SECONDS)  # though the future is still there
    assert (future.exception(SECONDS) is None) == (count == 3)


def test_inputs_lose_no_and_gain_no_reference(session):
    x, count = np.zeros(1, np.float32), np.array(2)
    before = sys.getrefcount(x), sys.getrefcount(count)
    for _ in range(20):
        assert value_of(session.submit({"x": x, "count": count})) == 2
    assert wait_until(lambda: (sys.getrefcount(x), sys.getrefcount(count)) == before)


@pytest.mark.parametrize("count", [3, ENDLESS], ids=["success", "failure"])
def test_a_future_may_be_dropped_without_a_look_at_it(session, count):
    gone, options = threading.Event(), ortx.run_options()
    with busy(session):
        weakref.finalize(session.submit([[0.0], count], run_options=options), gone.set)
        gc.collect()
        assert session.running == 2
        assert not gone.is_set()
        if count == ENDLESS:
            options.terminate()
    assert gone.wait(SECONDS)
    assert value_of(session.submit([[0.0], 1])) == 1


def test_the_callback_of_a_future_that_nobody_holds_is_called(session):
    values, called = [], threading.Event()

    def keep(future: Future[ortx.Outputs]) -> None:
        values.append(value_of(future))
        called.set()

    with busy(session):
        session.submit([[0.0], 6]).add_done_callback(keep)
        gc.collect()
    assert called.wait(SECONDS)
    assert values == [6]


def test_a_session_without_references_lives_until_its_runs_have_ended():
    before = _core._live_handles()["session"]
    session = opened()
    with busy(session):
        futures = [session.submit([[0.0], number]) for number in range(10)]
        del session
        gc.collect()
        assert _core._live_handles()["session"] == before + 1
    assert [value_of(future) for future in futures] == list(range(10))
    assert wait_until(lambda: _core._live_handles()["session"] == before)  # though the futures are still there


def test_run_options_without_references_live_until_their_runs_have_ended(session):
    with busy(session):
        options = ortx.run_options(tag="short-lived")
        during = _core._live_handles()["run_options"]
        future = session.submit([[0.0], 2], run_options=options)
        del options
        gc.collect()
        assert _core._live_handles()["run_options"] == during
        others = [ortx.run_options(tag="x" * 40) for _ in range(10)]  # would take the place of freed memory
    assert value_of(future) == 2
    assert wait_until(lambda: _core._live_handles()["run_options"] == len(others))


# --- the future


def test_a_future_in_flight_runs_and_cannot_be_cancelled(session):
    with busy(session) as first:
        second = session.submit([[0.0], 1])
        for future in (first, second):
            assert future.running()
            assert not future.done()
            assert not future.cancel()
            assert not future.cancelled()
            with pytest.raises(TimeoutError):
                future.result(timeout=0)
    assert value_of(second) == 1
    for future in (first, second):
        assert future.done()
        assert not future.running()
        assert not future.cancel()


@pytest.mark.parametrize("count", [3, ENDLESS], ids=["success", "failure"])
def test_a_callback_is_called_once_on_the_completion_thread_with_the_future_done(session, count):
    calls, options = [], ortx.run_options()

    def note(future: Future[ortx.Outputs]) -> None:
        calls.append((id(future), future.done(), threading.current_thread().name))

    with busy(session):
        future = session.submit([[0.0], count], run_options=options)
        future.add_done_callback(note)
        future.add_done_callback(note)
        assert not calls
        if count == ENDLESS:
            options.terminate()
    assert value_of(session.submit([[0.0], 1])) == 1  # completed after all callbacks of the one before
    assert calls == [(id(future), True, "ortx-completion")] * 2


def test_one_daemon_thread_completes_the_runs_of_all_sessions(session, add):
    with busy(session):
        assert add.submit([X, BIAS]).result(SECONDS)[0].tolist() == (X + BIAS).tolist()
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "ortx-completion")
    assert thread.daemon


def test_futures_are_completed_in_the_order_in_which_their_runs_end(session):
    numbers = []
    with busy(session):
        futures = [session.submit([[0.0], number]) for number in range(50)]
        for future in futures:
            future.add_done_callback(lambda future: numbers.append(value_of(future)))
    assert value_of(session.submit([[0.0], 0])) == 0
    assert numbers == list(range(50))


def test_an_error_in_a_callback_is_logged_and_disturbs_nothing(session, monkeypatch):
    logged = []
    monkeypatch.setattr(logging.getLogger("concurrent.futures"), "handle", lambda record: logged.append(record.msg))
    called = []

    def fail(future: Future[ortx.Outputs]) -> None:
        raise ZeroDivisionError("in a callback")

    with busy(session):
        future = session.submit([[0.0], 1])
        future.add_done_callback(fail)
        future.add_done_callback(called.append)
    assert value_of(future) == 1
    assert value_of(session.submit([[0.0], 2])) == 2
    assert logged == ["exception calling callback for %r"]
    assert called == [future]


@pytest.mark.parametrize("count", [1, ENDLESS], ids=["success", "failure"])
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_interrupt_in_a_callback_goes_to_the_unraisable_hook_and_sys_exit_nowhere(
    session, monkeypatch, error, count
):
    seen, options = [], ortx.run_options()
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append((args.exc_type, id(args.object))))

    def leave(future: Future[ortx.Outputs]) -> None:
        raise error

    with busy(session):
        future = session.submit([[0.0], count], run_options=options)
        future.add_done_callback(leave)
        if count == ENDLESS:
            options.terminate()
    assert future.done() or wait([future], SECONDS).done
    assert (future.exception() is None) == (count == 1)
    for number in range(5):
        assert value_of(session.submit([[0.0], number])) == number
    assert seen == ([] if error is SystemExit else [(error, id(future))])
    assert session.running == 0


def callback_result(future: Future[ortx.Outputs], call: Callable[[], object]) -> object:
    """Return what `call` returns in a callback of the future."""
    result: Future[object] = Future()

    def callback(future: Future[ortx.Outputs]) -> None:
        try:
            result.set_result((threading.current_thread().name, call()))
        except BaseException as error:
            result.set_exception(error)

    future.add_done_callback(callback)
    return result


CALLBACKS = {
    "runs": lambda session: session.run([[1.0], 2])["y"][0].item(),
    "submits": lambda session: session.submit([[1.0], 2]).add_done_callback(lambda future: None),
    "is refused": lambda session: str(refusal(session.submit, [])).partition(":")[0],
    "looks": lambda session: session.running,
    "closes": lambda session: session.close(),
}


@pytest.mark.parametrize(
    ("call", "result"), [("runs", 3), ("submits", None), ("is refused", "submit"), ("looks", 0), ("closes", None)]
)
def test_a_callback_may_use_the_session(session, call, result):
    with busy(session):
        future = session.submit([[0.0], 1])
        results = callback_result(future, lambda: CALLBACKS[call](session))
    assert results.result(SECONDS) == ("ortx-completion", result)
    assert session.closed == (call == "closes")
    if call != "closes":
        assert value_of(session.submit([[0.0], 5])) == 5


def test_a_callback_may_submit_the_next_run_a_hundred_times(session):
    values, finished = [], threading.Event()

    def go_on(future: Future[ortx.Outputs]) -> None:
        values.append(value_of(future))
        if len(values) == 100:
            finished.set()
        else:
            session.submit([[values[-1]], 1]).add_done_callback(go_on)

    session.submit([[0.0], 1]).add_done_callback(go_on)
    assert finished.wait(SECONDS)
    assert values == list(range(1, 101))


def test_a_callback_may_drop_the_last_reference_to_the_session():
    before = _core._live_handles()["session"]
    held = [opened()]
    with busy(held[0]):
        future = held[0].submit([[0.0], 3])
        future.add_done_callback(lambda future: held.clear())
        last = held[0].submit([[0.0], 4])
    assert value_of(future) == 3
    assert value_of(last) == 4
    assert not held
    assert wait_until(lambda: _core._live_handles()["session"] == before)


def test_wait_and_as_completed_work(session):
    with busy(session) as first:
        futures = {session.submit([[0.0], number]): number for number in range(20)}
        done, waiting = wait([first, *futures], timeout=0)
        assert (len(done), len(waiting)) == (0, 21)
    assert {value_of(future) == futures[future] for future in as_completed(futures, SECONDS)} == {True}
    assert wait([first, *futures], SECONDS, FIRST_COMPLETED).not_done == set()


def test_two_event_loops_in_two_threads_await_their_runs(session, add):
    async def count(number: int) -> list[float]:
        futures = [asyncio.wrap_future(session.submit([[number], step])) for step in range(20)]
        other = asyncio.wrap_future(add.submit([X, BIAS + number]))
        assert (await other)["y"].tolist() == (X + BIAS + number).tolist()
        return [outputs["y"][0].item() for outputs in await asyncio.gather(*futures)]

    async def fail() -> str:
        options = ortx.run_options()
        options.terminate()
        try:
            await asyncio.wrap_future(session.submit([[0.0], 1], run_options=options))
        except ortx.Error as error:
            return str(error)
        return ""

    values, errors = {}, {}

    def work(number: int) -> None:
        values[number] = asyncio.run(asyncio.wait_for(count(number), SECONDS))
        errors[number] = asyncio.run(asyncio.wait_for(fail(), SECONDS))

    in_threads(2, work)
    assert values == {number: [number + step for step in range(20)] for number in range(2)}
    assert all("terminate flag" in errors[number] for number in range(2))


def test_an_awaited_run_that_is_cancelled_ends_on_its_own(session):
    async def give_up() -> Future[ortx.Outputs]:
        future = session.submit([[0.0], 3])
        awaited = asyncio.wrap_future(future)
        awaited.cancel()
        with pytest.raises(asyncio.CancelledError):
            await awaited
        return future

    with busy(session):
        future = asyncio.run(give_up())
        assert future.running()
    assert value_of(future) == 3


# --- close


def test_running_counts_what_is_submitted_and_not_yet_ended(session):
    assert session.running == 0
    with busy(session):
        assert session.running == 1
        futures = [session.submit([[0.0], 1]) for _ in range(3)]
        assert session.running == 4
        with pytest.raises(ortx.CallError):
            session.submit([])
        assert session.running == 4
    wait(futures, SECONDS)
    assert session.running == 0


def test_running_counts_calls_and_submitted_runs_together(session):
    options = ortx.run_options()
    with busy(session):
        thread = threading.Thread(target=refusal, args=(session.run, [[0.0], ENDLESS], None, options))
        thread.start()
        assert wait_until(lambda: session.running == 2)
        options.terminate()
        thread.join()
        assert session.running == 1


@pytest.mark.parametrize("closers", [1, 2, 5])
def test_close_waits_for_submitted_runs_from_any_number_of_threads(session, closers):
    returned, options = [], ortx.run_options()
    futures = [session.submit([[0.0], ENDLESS], run_options=options)]
    futures += [session.submit([[0.0], number]) for number in range(1, 10)]

    def close() -> None:
        session.close()
        returned.append(session.running)

    threads = [threading.Thread(target=close) for _ in range(closers)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: session.closed)
    with pytest.raises(ortx.SessionClosed):
        session.submit([[0.0], 1])
    assert session.running == 10
    assert returned == []
    assert not any(future.done() for future in futures)
    options.terminate()
    for thread in threads:
        thread.join(SECONDS)
    assert returned == [0] * closers
    assert "terminate flag" in str(futures[0].exception(SECONDS))
    assert [value_of(future) for future in futures[1:]] == list(range(1, 10))


def test_close_releases_the_native_session_before_it_returns():
    before = _core._live_handles()["session"]
    session = opened()
    futures = [session.submit([[0.0], 100]) for _ in range(50)]
    session.close()
    assert _core._live_handles()["session"] == before
    assert session.running == 0
    assert [value_of(future) for future in futures] == [100] * 50


def test_close_does_not_wait_for_the_callbacks_of_other_runs(session):
    """They may wait for the very thread that closes."""
    go_on = threading.Event()
    blocked = callback_result(session.submit([[0.0], 1]), lambda: go_on.wait(SECONDS))
    others = [session.submit([[0.0], number]) for number in range(5)]
    session.close()
    assert not any(future.done() for future in others)
    go_on.set()
    assert blocked.result(SECONDS) == ("ortx-completion", True)
    assert [value_of(future) for future in others] == list(range(5))


def test_close_in_a_callback_waits_for_the_runs_behind_it(session):
    before = _core._live_handles()["session"]
    with busy(session):
        first = session.submit([[0.0], 1])
        results = callback_result(first, lambda: (session.close(), session.running, _core._live_handles()["session"]))
        others = [session.submit([[0.0], 20_000]) for _ in range(5)]
    assert results.result(SECONDS) == ("ortx-completion", (None, 0, before - 1))
    assert [value_of(future) for future in others] == [20_000] * 5


def test_close_in_a_callback_and_in_two_threads_at_once(session):
    with busy(session):
        first = session.submit([[0.0], 1])
        results = callback_result(first, session.close)
        others = [session.submit([[0.0], 5_000]) for _ in range(5)]
    in_threads(2, lambda number: session.close())
    assert results.result(SECONDS) == ("ortx-completion", None)
    assert [value_of(future) for future in others] == [5_000] * 5


def test_the_end_of_a_with_block_waits_for_submitted_runs():
    with opened() as session:
        futures = [session.submit([[0.0], 20_000]) for _ in range(5)]
    assert session.closed
    assert session.running == 0
    assert [value_of(future) for future in futures] == [20_000] * 5


def test_sessions_may_be_closed_while_others_submit():
    for _ in range(10):
        session, outcomes, begun = opened(), [], threading.Event()

        def work(number: int, session=session, outcomes=outcomes, begun=begun) -> None:
            futures = []
            with contextlib.suppress(ortx.SessionClosed):
                while len(futures) < 500:
                    futures.append(session.submit([[number], 1]))
                    begun.set()
            outcomes.append(all(value_of(future) == number + 1 for future in futures))

        closer = threading.Thread(target=lambda session=session, begun=begun: (begun.wait(SECONDS), session.close()))
        closer.start()
        in_threads(4, work)
        session.close()
        closer.join()
        assert outcomes == [True] * 4


# --- many at once


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_four_threads_submit_three_hundred_runs_each_and_no_value_is_wrong(at_once):
    values = {}

    def work(number: int) -> None:
        base = 1000 * number
        futures = [session.submit([[base + step], np.array(1)]) for step in range(300)]
        values[number] = [value_of(future) for future in futures]

    with opened(max_concurrency=at_once, intra_op_num_threads=1) as session:
        in_threads(4, work)
        assert session.running == 0
    assert values == {n: [1000 * n + step + 1 for step in range(300)] for n in range(4)}


def test_thousands_of_runs_can_wait(session):
    with busy(session):
        futures = [session.submit([[number], 1]) for number in range(1500)]
    assert [value_of(future) for future in futures] == list(range(1, 1501))
    assert session.running == 0


def test_runs_and_submitted_runs_of_one_session_go_together(session):
    wrong = []

    def work(number: int) -> None:
        for step in range(100):
            future = session.submit([[number], step])
            if session.run([[number], step])["y"][0] != number + step or value_of(future) != number + step:
                wrong.append((number, step))

    in_threads(4, work)
    assert not wrong


def test_two_sessions_share_the_completion_thread(session):
    calls = []
    with opened(models.add()) as other:
        for number in range(100):
            for future in (session.submit([[number], 1]), other.submit([X, BIAS + number])):
                future.add_done_callback(lambda future, number=number: calls.append((number, future.result()["y"])))
        value_of(session.submit([[0.0], 0]))
        other.submit([X, BIAS]).result(SECONDS)
        assert wait_until(lambda: len(calls) == 200)
    for number, y in calls:
        expected = [number + 1] if y.ndim == 1 else (X + BIAS + number).tolist()
        assert y.tolist() == expected


def test_sessions_on_the_global_pools_submit(run_python, tmp_path):
    (tmp_path / "counting.onnx").write_bytes(COUNTING)
    code = """
import sys
import ortx
ortx.configure(use_global_thread_pools=True, global_intra_op_num_threads=int(sys.argv[2]))
sessions = [ortx.session(sys.argv[1], disable_per_session_threads=True) for _ in range(2)]
futures = [sessions[i % 2].submit([[i], 1]) for i in range(400)]
sessions[0].close()
print([future.result(60)[0][0] == i + 1 for i, future in enumerate(futures)] == [True] * 400)
"""
    for threads in (1, 3):
        done = run_python(code, tmp_path / "counting.onnx", threads)
        assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_a_run_that_is_submitted_while_another_one_is_converted_does_not_take_its_worker():
    options, inner = ortx.run_options(), []

    class Submitting:
        def __array__(self, *arguments: object, **keywords: object) -> np.ndarray:
            inner.append(session.submit([[0.0], ENDLESS], run_options=options))
            return np.zeros(1, np.float32)

    with opened(max_concurrency=2) as session:
        value_of(session.submit([[0.0], 1]))
        assert wait_until(lambda: session.running == 0)
        time.sleep(0.05)  # until its worker sleeps
        try:
            outer = session.submit([Submitting(), 1])
            assert value_of(outer) == 1
            assert not inner[0].done()
        finally:
            options.terminate()
        assert isinstance(inner[0].exception(SECONDS), ortx.RunCancelled)


def test_threads_that_have_nothing_to_do_take_no_processor_time(run_python, tmp_path):
    (tmp_path / "counting.onnx").write_bytes(COUNTING)
    code = """
import asyncio, sys, time
import ortx
session = ortx.session(sys.argv[1], max_concurrency=3, intra_op_num_threads=1)
[future.result() for future in [session.submit([[0.0], 1000]) for _ in range(30)]]
asyncio.run(session.run_async([[0.0], 1], timeout=3600))
session.run([[0.0], 1], timeout=3600)
time.sleep(0.2)
used = time.process_time()
time.sleep(1)
print(time.process_time() - used < 0.5)
"""
    done = run_python(code, tmp_path / "counting.onnx")
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


# --- messages


class Messages(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.getMessage())


@pytest.fixture
def messages():
    logger, handler = logging.getLogger("ortx"), Messages()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler.seen
    logger.setLevel(level)
    logger.removeHandler(handler)


def test_a_message_of_a_run_arrives_before_its_future_is_done(messages):
    with opened(models.square(), session_log_severity_level=0) as session:
        for number in range(20):
            messages.clear()
            future = session.submit([X], None, ortx.run_options(tag=f"number {number}"))
            before = callback_result(future, lambda: list(messages))
            _, seen = before.result(SECONDS)  # called on this thread if the run was done already
            assert seen == [f"Running with tag: number {number}"]


@pytest.mark.parametrize(("severity", "count"), [(-1, 1), (3, 1), (4, 0)])
def test_a_failure_is_logged_before_its_future_is_done_if_the_run_options_say_so(messages, severity, count):
    options = ortx.run_options(log_severity_level=severity)
    with opened(models.failing()) as session:
        future = session.submit([np.ones(4, np.float32)], run_options=options)
        _, before = callback_result(future, lambda: list(messages)).result(SECONDS)
    assert [message.strip() for message in before] == [str(future.exception()).strip()] * count


# --- the end of the process


PREPARE = """
import atexit, gc, os, sys, threading
import ortx
session = ortx.session(sys.argv[1], max_concurrency=1)
def show(future):
    print("done" if future.exception() is None else future.exception(), flush=True)
def begin(count=20_000):
    return session.submit([[0.0], count])
"""

# What was begun takes a while: it is still running when the main thread is through.
ENDINGS = {
    "a run is in flight": (PREPARE + "begin()", 0, ""),
    "nobody holds the session or the future": (PREPARE + "begin(); del session; gc.collect()", 0, ""),
    "many runs are in flight": (PREPARE + "futures = [begin(2_000) for _ in range(20)]", 0, ""),
    "all runs have ended": (PREPARE + "show(begin())", 0, "done\n"),
    "the session was closed": (PREPARE + "begin(); session.close()", 0, ""),
    "a callback waits": (PREPARE + "future = begin(); future.add_done_callback(show)", 0, "done\n"),
    "nobody holds the future of a callback": (PREPARE + "begin().add_done_callback(show)", 0, "done\n"),
    "three callbacks wait": (PREPARE + "for _ in range(3): begin().add_done_callback(show)", 0, "done\n" * 3),
    "a run fails": (
        PREPARE + "options = ortx.run_options()\n"
        "session.submit([[0.0], 2**62], None, options).add_done_callback(show)\n"
        "atexit.register(options.terminate)",
        0,
        "terminate flag",  # whether it had begun or not
    ),
    "sys.exit says 3": (PREPARE + "begin().add_done_callback(show); sys.exit(3)", 3, "done\n"),
    "os._exit says 4": (PREPARE + "begin(2**62).add_done_callback(show); os._exit(4)", 4, ""),
    "a callback says os._exit 5": (PREPARE + "begin().add_done_callback(lambda future: os._exit(5))", 5, ""),
    "an exit handler closes the session": (
        PREPARE + "begin().add_done_callback(show); atexit.register(session.close)",
        0,
        "done\n",
    ),
    "an exit handler submits": (
        PREPARE + "begin(); atexit.register(lambda: show(session.submit([[0.0], 1])))",
        0,
        "done\n",
    ),
    "an exit handler from before ortx submits": (
        "import atexit\n"
        "def late():\n    try: begin()\n    except ortx.Error as error: print(error)\n"
        "atexit.register(late)\n" + PREPARE + "begin()",
        0,
        "submit: the interpreter is exiting\n",
    ),
    "a thread still submits": (
        PREPARE + "threading.Thread(target=lambda: [begin(1) for _ in range(2000)]).start()",
        0,
        "",
    ),
    "a daemon thread still submits": (
        PREPARE
        + """
begun = threading.Event()
def work():
    while True:
        try:
            begin(1)
        except ortx.Error:
            return
        begun.set()
threading.Thread(target=work, daemon=True).start()
begun.wait()
""",
        0,
        "",
    ),
    "a thread waits for a run": (
        PREPARE + "threading.Thread(target=lambda: show(begin())).start()",
        0,
        "done\n",
    ),
    "a session hangs in a cycle with its future": (
        PREPARE + "cycle = [session, begin()]; cycle[1].add_done_callback(lambda f, c=cycle: show(f)); del cycle",
        0,
        "done\n",
    ),
}


@pytest.mark.parametrize("state", ENDINGS)
def test_the_interpreter_exits_quietly_when(state, run_python, tmp_path):
    (tmp_path / "counting.onnx").write_bytes(COUNTING)
    code, exit_code, printed = ENDINGS[state]
    done = run_python(code, tmp_path / "counting.onnx")
    assert (done.returncode, done.stderr) == (exit_code, "")
    if state == "a run fails":
        assert printed in done.stdout
    else:
        assert done.stdout == printed


def test_an_uncaught_exception_is_all_that_is_printed_and_the_run_ends(run_python, tmp_path):
    (tmp_path / "counting.onnx").write_bytes(COUNTING)
    done = run_python(PREPARE + "begin().add_done_callback(show); 1 / 0", tmp_path / "counting.onnx")
    assert (done.returncode, done.stdout) == (1, "done\n")
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert done.stderr.count("Error") == 1


# --- fork


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which Windows does not have")


@needs_fork
@pytest.mark.parametrize("leave", ["os._exit", "sys.exit"])
@pytest.mark.parametrize("children", [1, 3])
def test_the_child_of_a_process_that_submitted_can_submit_with_a_new_session(run_python, tmp_path, leave, children):
    (tmp_path / "counting.onnx").write_bytes(COUNTING)
    code = """
import os, signal, sys, warnings
import ortx
warnings.simplefilter("ignore", DeprecationWarning)  # Python's: there are threads, and fork does not take them along
leave, children = eval(sys.argv[2], {"os": os, "sys": sys}), int(sys.argv[3])
session = ortx.session(sys.argv[1], intra_op_num_threads=2)
future = session.submit([[0.0], 4])
assert future.result(60)[0][0] == 4
codes = []
for number in range(children):
    child = os.fork()
    if child == 0:
        signal.alarm(40)  # ends it with -SIGALRM if it hangs
        other = ortx.session(sys.argv[1], intra_op_num_threads=2)
        values = [other.submit([[0.0], count]).result(30)[0][0] for count in range(20)]
        other.close()
        leave(10 + number if values == list(range(20)) and future.result()[0][0] == 4 else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(codes, [session.submit([[0.0], count]).result(60)[0][0] for count in range(20)] == list(range(20)))
"""
    done = run_python(code, tmp_path / "counting.onnx", leave, children)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{list(range(10, 10 + children))} True\n", "")


@needs_fork
def test_a_fork_while_a_run_is_in_flight_harms_neither_the_run_nor_the_child(run_python, tmp_path):
    (tmp_path / "counting.onnx").write_bytes(COUNTING)
    code = """
import os, signal, sys, warnings
import ortx
warnings.simplefilter("ignore", DeprecationWarning)
session = ortx.session(sys.argv[1], max_concurrency=1)
options = ortx.run_options()
endless, queued = session.submit([[0.0], 2**62], None, options), session.submit([[0.0], 4])
child = os.fork()
if child == 0:
    signal.alarm(40)
    other = ortx.session(sys.argv[1], intra_op_num_threads=2)
    os._exit(7 if other.submit([[0.0], 3]).result(30)[0][0] == 3 and queued.done() else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
options.terminate()
print(code, "terminate" in str(endless.exception(60)), queued.result(60)[0][0])
"""
    done = run_python(code, tmp_path / "counting.onnx")
    assert (done.returncode, done.stdout, done.stderr) == (0, "7 True 4.0\n", "")


@needs_fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # 3.12 warns of forking a process with threads
def test_a_child_forked_while_runs_are_in_flight_submits_and_exits_on_its_own(run_python, tmp_path):
    (tmp_path / "slow.onnx").write_bytes(models.slow())
    (tmp_path / "square.onnx").write_bytes(models.square())
    done = run_python(f"""
import os, signal, sys, warnings
import numpy as np, ortx
warnings.simplefilter("ignore", DeprecationWarning)
os.chdir({str(tmp_path)!r})
session = ortx.session("slow.onnx", intra_op_num_threads=2)
future = session.submit([np.eye(256, dtype=np.float32)])
child = os.fork()
if child == 0:
    signal.alarm(30)
    assert ortx.session("square.onnx", intra_op_num_threads=2).submit([[[3, 3]]]).result()[0][0, 0] == 9
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), future.result()[0].shape)
""")
    assert (done.stdout, done.stderr) == ("7 (256, 256)\n", "")


@needs_fork
def test_children_forked_while_another_thread_submits_can_submit(run_python, tmp_path):
    (tmp_path / "square.onnx").write_bytes(models.square())
    done = run_python(f"""
import os, signal, threading, warnings
import ortx
warnings.simplefilter("ignore", DeprecationWarning)
os.chdir({str(tmp_path)!r})
session = ortx.session("square.onnx", intra_op_num_threads=2)
session.submit([[[3, 3]]]).result()  # what it imports is imported: a fork inside an import is Python's own problem
stop = threading.Event()
def submit():
    while not stop.is_set():
        session.submit([[[3, 3]]]).result()
thread = threading.Thread(target=submit)
thread.start()
codes = set()
for _ in range(40):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        new = ortx.session("square.onnx", intra_op_num_threads=2)
        os._exit(int(new.submit([[[3, 3]]]).result()[0][0, 0]))
    codes.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
thread.join()
print(codes)
""")
    assert (done.stdout, done.stderr) == ("{9}\n", "")
