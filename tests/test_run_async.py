"""Awaited runs: `run_async` of sessions and bindings, on any loop (`_core.src/async.pxi`, `_core.src/workers.pxi`)."""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import models
import numpy as np
import pytest
from test_async import BIAS, COUNTING, ENDLESS, SECONDS, X, in_threads, opened, wait_until

import ortx
from ortx import _core

ZERO = np.zeros(1, np.float32)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine to its end, on each kind of loop."""
    factory = None
    if request.param == "uvloop":
        if sys.platform == "win32":
            pytest.skip("needs uvloop, which Windows does not have")
        factory = pytest.importorskip("uvloop", reason="needs the package uvloop").new_event_loop

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        async def limited() -> Any:
            return await asyncio.wait_for(coroutine, SECONDS)

        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(limited())

    return run


@pytest.fixture
def session():
    with opened() as session:
        yield session


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def bound(session: ortx.Session, count: int) -> ortx.IOBinding:
    binding = session.create_io_binding()
    binding.bind_input("x", ZERO)
    binding.bind_input("count", np.array(count))
    binding.bind_output("y")
    return binding


# --- results


def test_it_returns_what_run_returns(run):
    async def check(session: ortx.Session) -> None:
        for names in (None, ["difference"], iter(["difference", "sum"])):
            names = None if names is None else list(names)
            expected = session.run([X, BIAS + X], names)
            outputs = await session.run_async([X, BIAS + X], names)
            assert type(outputs) is ortx.Outputs
            assert outputs.keys() == expected.keys()
            assert [value.tolist() for value in outputs] == [value.tolist() for value in expected]
        by_keyword = await session.run_async(
            inputs={"a": X, "b": X}, output_names=["sum"], run_options=ortx.run_options(tag="t"), timeout=SECONDS
        )
        assert by_keyword["sum"].tolist() == (2 * X).tolist()

    with opened(models.sum_and_difference()) as session:
        names = session.input_names()
        assert names == ("a", "b")
        run(check(session))


@pytest.mark.parametrize("threads_inside", [1, 2])
def test_many_callers_get_their_own_results(run, threads_inside):
    async def caller(session: ortx.Session, number: int) -> list[float]:
        return [(await session.run_async([[number], step]))[0].item() for step in range(20)]

    async def check(session: ortx.Session) -> None:
        found = await asyncio.gather(*(caller(session, number) for number in range(64)))
        assert found == [[number + step for step in range(20)] for number in range(64)]

    for at_once in (1, 2, 5):
        with opened(max_concurrency=at_once, intra_op_num_threads=threads_inside) as session:
            run(check(session))
            assert session.running == 0


def test_it_is_a_coroutine_function_and_does_nothing_before_it_is_awaited(session):
    assert inspect.iscoroutinefunction(session.run_async)
    assert inspect.iscoroutinefunction(session.create_io_binding().run_async)
    coroutine = session.run_async("nonsense")
    assert inspect.iscoroutine(coroutine) or asyncio.iscoroutine(coroutine)
    coroutine.close()


def test_a_binding_is_awaited_and_is_in_use_meanwhile(run, session):
    async def check() -> None:
        options = ortx.run_options()
        busy, free = bound(session, ENDLESS), bound(session, 3)
        task = asyncio.ensure_future(busy.run_async(options))
        await until(lambda: session.running == 1)
        for use in (busy.run, lambda: busy.bind_input("x", ZERO), busy.clear_inputs):
            with pytest.raises(ortx.Error, match="in use"):
                use()
        options.terminate()
        with pytest.raises(ortx.RunCancelled):
            await task
        busy.bind_input("count", np.array(4))
        assert [(await binding.run_async())["y"].tolist() for binding in (busy, free, busy)] == [[4], [3], [4]]
        assert free.get_outputs()["y"].tolist() == [3]

    run(check())


def test_a_binding_writes_into_the_buffers_that_are_bound(run, session):
    async def check() -> None:
        binding, y = bound(session, 7), np.zeros(1, np.float32)
        binding.bind_output("y", y)
        assert (await binding.run_async(timeout=SECONDS))["y"] is y
        assert y.tolist() == [7]

    run(check())


# --- refusals and failures


@pytest.mark.parametrize("inputs", [{}, [X], {"x": X, "Bias": BIAS}, "x", None], ids=str)
def test_a_call_that_run_refuses_is_refused_in_the_same_words(run, inputs):
    with opened(models.add()) as session:
        with pytest.raises(ortx.CallError) as expected:
            session.run(inputs)
        with pytest.raises(ortx.CallError) as caught:
            run(session.run_async(inputs))
        assert str(caught.value) == str(expected.value).replace("run: ", "run_async: ", 1)
        assert session.running == 0
        assert run(session.run_async([X, BIAS]))[0].tolist() == (X + BIAS).tolist()


def test_a_binding_that_lacks_something_is_refused_and_free_again(run, session):
    binding = session.create_io_binding()
    with pytest.raises(ortx.CallError, match="not bound"):
        run(binding.run_async())
    binding.bind_input("x", ZERO)


def test_a_closed_session_refuses(run, session):
    session.close()
    with pytest.raises(ortx.SessionClosed):
        run(session.run_async([ZERO, 1]))


def test_without_a_running_loop_it_says_so(session):
    coroutine = session.run_async([ZERO, 1])
    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)
    assert session.running == 0


def test_a_failure_is_raised_where_it_is_awaited_and_concerns_no_other_run(run):
    async def check(session: ortx.Session) -> None:
        sizes = [15, 14, 15, 14]
        found = await asyncio.gather(
            *(session.run_async([np.zeros(size, np.float32)]) for size in sizes), return_exceptions=True
        )
        assert ["Reshape" in str(outcome) for outcome in found] == [size == 14 for size in sizes]
        assert not any(isinstance(outcome, ortx.RunCancelled | ortx.RunTimeout) for outcome in found)

    with opened(models.failing()) as session:
        run(check(session))


# --- how many at once


def test_no_more_runs_go_on_at_once_than_the_option_says_and_the_loop_is_free(run):
    async def check(session: ortx.Session) -> None:
        options = [ortx.run_options() for _ in range(6)]
        tasks = [asyncio.ensure_future(session.run_async([ZERO, ENDLESS], None, each)) for each in options]
        await until(lambda: session.running == 6)
        workers = [thread for thread in threading.enumerate() if thread.name == "ortx-worker"]
        assert len(workers) <= before + 2
        for each, task in zip(options, tasks, strict=True):
            assert not task.done()
            each.terminate()
            await asyncio.wait([task])
        assert all(isinstance(task.exception(), ortx.RunCancelled) for task in tasks)

    before = sum(thread.name == "ortx-worker" for thread in threading.enumerate())
    with opened(max_concurrency=2) as session:
        assert session.options()["max_concurrency"] == 2
        run(check(session))


@pytest.mark.parametrize(("threads", "at_once"), [(1, "all"), (1000, 1)])
def test_by_default_runs_share_the_cpus(threads, at_once):
    cpus = importlib.import_module("ortx.cpus").available()
    with ortx.session_from_bytes(models.square(), intra_op_num_threads=threads if threads == 1 else cpus) as session:
        assert session.options()["max_concurrency"] == (cpus if at_once == "all" else 1)


def test_callers_beyond_the_queue_wait_and_come_in_turn(run):
    async def check(session: ortx.Session) -> None:
        options, order = ortx.run_options(), []

        async def caller(number: int) -> None:
            assert (await session.run_async([ZERO, number]))[0].item() == number
            order.append(number)

        first = asyncio.ensure_future(session.run_async([ZERO, ENDLESS], None, options))
        await until(lambda: session.running == 1)
        callers = [asyncio.ensure_future(caller(number)) for number in range(20)]
        await asyncio.sleep(0.02)
        assert session.running <= 4  # one that runs, two that wait, and one that a worker was about to take
        options.terminate()
        await asyncio.gather(first, *callers, return_exceptions=True)
        assert order == list(range(20))

    with opened(max_queued_runs=2) as session:
        run(check(session))


def test_a_thread_that_submits_waits_for_room_in_the_queue():
    options, numbers = ortx.run_options(), []
    with opened(max_queued_runs=2) as session:
        first = session.submit([ZERO, ENDLESS], run_options=options)

        def submit() -> None:
            for number in range(10):
                session.submit([ZERO, number]).add_done_callback(lambda f: numbers.append(f.result()[0].item()))

        thread = threading.Thread(target=submit)
        thread.start()
        assert wait_until(lambda: session.running == 3)
        assert thread.is_alive()
        options.terminate()
        thread.join(SECONDS)
        assert isinstance(first.exception(SECONDS), ortx.RunCancelled)
        assert wait_until(lambda: len(numbers) == 10)
    assert numbers == list(range(10))


def test_who_waits_for_room_can_be_cancelled_and_can_time_out(run):
    async def check(session: ortx.Session) -> None:
        options = ortx.run_options()
        first = asyncio.ensure_future(session.run_async([ZERO, ENDLESS], None, options))
        await until(lambda: session.running == 1)
        second = asyncio.ensure_future(session.run_async([ZERO, 1]))
        await until(lambda: session.running == 2)
        waiting = [asyncio.ensure_future(session.run_async([ZERO, 2])) for _ in range(3)]
        late = asyncio.ensure_future(session.run_async([ZERO, 2], timeout=0.01))
        await asyncio.sleep(0)
        waiting[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[1]
        with pytest.raises(ortx.RunTimeout, match="before it began"):
            await late
        waiting[2].cancel()
        options.terminate()
        found = await asyncio.gather(first, second, waiting[0], waiting[2], return_exceptions=True)
        assert [type(outcome) for outcome in found] == [
            ortx.RunCancelled,
            ortx.Outputs,
            ortx.Outputs,
            asyncio.CancelledError,
        ]
        assert (await session.run_async([ZERO, 5]))[0].item() == 5  # no place was lost

    with opened(max_queued_runs=1) as session:
        run(check(session))
        assert session.running == 0


@pytest.mark.parametrize("how", ["timeout", "cancel", "terminate"])
def test_a_run_that_leaves_the_queue_gives_its_place_to_others(run, how):
    async def leave(session: ortx.Session) -> None:
        options = ortx.run_options()
        task = asyncio.ensure_future(
            session.run_async([ZERO, 1], None, options, timeout=0.02 if how == "timeout" else None)
        )
        await until(lambda: session.stats().queued == 1)
        if how == "cancel":
            task.cancel()
        elif how == "terminate":
            options.terminate()
        with pytest.raises((ortx.RunTimeout, ortx.RunCancelled, asyncio.CancelledError)):
            await task

    async def check(session: ortx.Session) -> None:
        stop = ortx.run_options()
        busy = asyncio.ensure_future(session.run_async([ZERO, ENDLESS], None, stop))
        await until(lambda: session.stats().in_flight == 1)
        for _ in range(4):
            await leave(session)
        last = [asyncio.ensure_future(session.run_async([ZERO, count])) for count in range(2)]
        await until(lambda: session.running == 3)  # both are in the queue, nobody waits outside
        stop.terminate()
        assert type((await asyncio.gather(busy, return_exceptions=True))[0]) is ortx.RunCancelled
        assert [(await task)[0].item() for task in last] == [0, 1]

    with opened(max_queued_runs=2) as session:
        run(check(session))


@pytest.mark.parametrize("first", ["cancelled", "admitted"])
def test_a_place_that_is_given_to_a_cancelled_task_is_not_lost(run, first):
    """The task is cancelled in the same turn of the loop in which it is told that it has its place, or just before."""

    async def check(session: ortx.Session) -> None:
        options = [ortx.run_options() for _ in range(2)]
        tasks = [asyncio.ensure_future(session.run_async([ZERO, ENDLESS], None, each)) for each in options]
        await until(lambda: session.running == 2)
        outside = asyncio.ensure_future(session.run_async([ZERO, 3]))
        await until(lambda: session.stats().queued == 2)
        if first == "cancelled":
            outside.cancel()
        options[0].terminate()
        assert wait_until(lambda: session.stats().queued == 0)  # this holds the loop up
        time.sleep(0.05)  # until it was told
        if first == "admitted":
            asyncio.get_running_loop().call_soon(outside.cancel)
        with pytest.raises(asyncio.CancelledError):
            await outside
        again = asyncio.ensure_future(session.run_async([ZERO, 4]))
        await until(lambda: session.running == 2)  # it has a place in the queue
        options[1].terminate()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in found] == [ortx.RunCancelled] * 2
        assert (await again)[0].item() == 4
        assert session.stats().cancelled == (3 if first == "cancelled" else 2)

    with opened(max_queued_runs=1) as session:
        run(check(session))


# --- cancelled tasks


def test_a_cancelled_task_ends_its_run_and_waits_for_it(run, session):
    async def check() -> None:
        x = np.zeros(1, np.float32)
        gone = weakref.ref(x)
        task = asyncio.ensure_future(session.run_async([x, ENDLESS]))
        del x
        await until(lambda: session.running == 1)
        assert gone() is not None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert session.running == 0
        assert gone() is None
        assert (await session.run_async([ZERO, 3]))[0].item() == 3

    run(check())


def test_cancelling_again_does_not_hurry_it(run):
    async def check(session: ortx.Session) -> None:
        task = asyncio.ensure_future(session.run_async([np.eye(256, dtype=np.float32)]))
        await until(lambda: session.running == 1)
        for _ in range(5):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert session.running == 0

    with opened(models.slow(3000)) as session:
        run(check(session))


def test_cancelled_runs_that_have_not_begun_are_taken_back_at_once(run, session):
    async def check() -> None:
        options = ortx.run_options()
        first = asyncio.ensure_future(session.run_async([ZERO, ENDLESS], None, options))
        tasks = [asyncio.ensure_future(session.run_async([ZERO, 1])) for _ in range(5)]
        await until(lambda: session.running == 6)
        for task in tasks[1:4]:
            task.cancel()
        assert [type(e) for e in await asyncio.gather(*tasks[1:4], return_exceptions=True)] == [
            asyncio.CancelledError
        ] * 3
        assert session.running == 3
        assert not first.done()
        options.terminate()
        found = await asyncio.gather(first, tasks[0], tasks[4], return_exceptions=True)
        assert [type(outcome) for outcome in found] == [ortx.RunCancelled, ortx.Outputs, ortx.Outputs]

    run(check())


def test_a_task_cancelled_before_its_first_step_runs_nothing(run, session):
    async def check() -> None:
        task = asyncio.ensure_future(session.run_async([ZERO, ENDLESS]))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert session.running == 0

    run(check())


def test_the_timeouts_of_asyncio_end_the_run(run, session):
    async def check() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.run_async([ZERO, ENDLESS]), 0.01)
        assert session.running == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await bound(session, ENDLESS).run_async()
        assert session.running == 0

    run(check())


def test_a_coroutine_that_is_closed_ends_its_run(session):
    loop = asyncio.new_event_loop()

    async def start() -> Any:
        coroutine = session.run_async([ZERO, ENDLESS])
        coroutine.send(None)
        return coroutine

    coroutine = loop.run_until_complete(start())
    assert session.running == 1
    coroutine.close()
    assert wait_until(lambda: session.running == 0)
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()


# --- timeouts


@pytest.mark.parametrize("where", ["session", "binding"])
def test_a_timeout_ends_the_run(run, session, where):
    async def check() -> None:
        call = session.run_async if where == "session" else bound(session, ENDLESS).run_async
        arguments = [[ZERO, ENDLESS]] if where == "session" else []
        with pytest.raises(ortx.RunTimeout, match=r"^run_async: ended by its timeout of 0\.01 s") as caught:
            await call(*arguments, timeout=0.01)
        assert isinstance(caught.value, TimeoutError)
        assert not isinstance(caught.value, ortx.RunCancelled)
        assert session.running == 0

    run(check())


def test_a_run_that_waits_for_its_turn_times_out_without_waiting_for_the_one_before(run, session):
    async def check() -> None:
        options = ortx.run_options()
        first = asyncio.ensure_future(session.run_async([ZERO, ENDLESS], None, options))
        await until(lambda: session.running == 1)
        with pytest.raises(ortx.RunTimeout, match="before it began"):
            await session.run_async([ZERO, 1], timeout=0.01)
        assert not first.done()
        options.terminate()
        with pytest.raises(ortx.RunCancelled):
            await first

    run(check())


def test_terminate_ends_awaited_runs_with_these_options_and_a_timeout_ends_one_alone(run):
    async def check(session: ortx.Session) -> None:
        options = ortx.run_options(tag="shared", log_severity_level=4)
        options.add_config_entry("disable_synchronize_execution_providers", "1")
        late = asyncio.ensure_future(session.run_async([ZERO, ENDLESS], None, options, timeout=0.01))
        others = [asyncio.ensure_future(session.run_async([ZERO, ENDLESS], None, options)) for _ in range(2)]
        with pytest.raises(ortx.RunTimeout):
            await late
        assert (await session.run_async([ZERO, 2], None, options))[0].item() == 2
        assert not any(task.done() for task in others)
        options.terminate()
        found = await asyncio.gather(*others, return_exceptions=True)
        assert [type(outcome) for outcome in found] == [ortx.RunCancelled] * 2
        with pytest.raises(ortx.RunCancelled):
            await session.run_async([ZERO, 1], None, options)
        options.reset_terminate()
        assert (await session.run_async([ZERO, 1], None, options))[0].item() == 1

    with opened(max_concurrency=4) as session:
        run(check(session))


def test_terminate_ends_runs_that_have_not_begun_at_once(run):
    async def check(session: ortx.Session) -> None:
        stop, options = ortx.run_options(), ortx.run_options()
        busy = asyncio.ensure_future(session.run_async([ZERO, ENDLESS], None, stop))
        await until(lambda: session.stats().in_flight == 1)
        queued = session.submit([ZERO, 1], run_options=options)
        # The first has a place in the queue; the others wait for one, among them a thread.
        tasks = [asyncio.ensure_future(session.run_async([ZERO, 1], None, options)) for _ in range(3)]
        other = asyncio.ensure_future(session.run_async([ZERO, 2]))
        await until(lambda: session.stats().queued == 5)  # or the thread might come first, and have the place
        # It may get the place of one that was ended sooner; what it has submitted then ends like the others.
        submitting = asyncio.to_thread(lambda: session.submit([ZERO, 1], run_options=options).result(SECONDS))
        thread = asyncio.ensure_future(submitting)
        await until(lambda: session.stats().queued == 6)
        options.terminate()
        found = await asyncio.gather(*tasks, thread, return_exceptions=True)
        assert [type(outcome) for outcome in found] == [ortx.RunCancelled] * 4
        assert isinstance(queued.exception(SECONDS), ortx.RunCancelled)
        # Later ones do not wait for their turn either.
        with pytest.raises(ortx.RunCancelled):
            await session.run_async([ZERO, 1], None, options)
        assert isinstance(session.submit([ZERO, 1], run_options=options).exception(SECONDS), ortx.RunCancelled)
        await until(lambda: session.running == 2)
        assert session.stats().cancelled == 7
        stop.terminate()
        assert type((await asyncio.gather(busy, return_exceptions=True))[0]) is ortx.RunCancelled
        assert (await other)[0].item() == 2

    with opened(max_queued_runs=2) as session:
        run(check(session))


@pytest.mark.parametrize("way", ["run_async", "run", "run_into", "submit"])
def test_terminate_is_heeded_while_inputs_are_converted(run, session, way):
    options = ortx.run_options()

    class Terminating:
        def __array__(self, *arguments: Any, **keywords: Any) -> np.ndarray:
            options.terminate()
            return ZERO

    inputs = [Terminating(), ENDLESS]
    calls = {
        "run_async": lambda: run(session.run_async(inputs, None, options)),
        "run": lambda: session.run(inputs, None, options, timeout=SECONDS),
        "run_into": lambda: session.run_into(inputs, [None], options, timeout=SECONDS),
        "submit": lambda: session.submit(inputs, None, options).result(SECONDS),
    }
    with pytest.raises(ortx.RunCancelled):
        calls[way]()
    assert session.running == 0


# --- loops, threads, close


def test_several_loops_in_several_threads_share_a_session(run):
    wrong = []

    async def check(session: ortx.Session, number: int) -> None:
        async def caller(step: int) -> None:
            found = (await session.run_async([[number], step], timeout=SECONDS))[0].item()
            if found != number + step:
                wrong.append((number, step, found))

        for _ in range(10):
            await asyncio.gather(*(caller(step) for step in range(30)))

    with opened(max_concurrency=3) as session:
        in_threads(4, lambda number: run(check(session, 1000 * number)))
        assert session.running == 0
    assert not wrong


def test_awaited_submitted_and_plain_runs_of_one_session_go_together(run):
    async def check(session: ortx.Session) -> None:
        for number in range(50):
            future = session.submit([ZERO, number])
            awaited = asyncio.ensure_future(session.run_async([ZERO, number]))
            await asyncio.sleep(0)
            values = [session.run([ZERO, number]), await awaited, await asyncio.wrap_future(future)]
            assert [value[0].item() for value in values] == [number] * 3

    with opened(max_concurrency=2) as session:
        run(check(session))


def test_close_on_the_loop_s_own_thread_waits_for_the_runs_and_their_tasks_go_on(run, session):
    async def check() -> None:
        tasks = [asyncio.ensure_future(session.run_async([ZERO, 20_000])) for _ in range(5)]
        await asyncio.sleep(0)
        assert session.running == 5
        session.close()
        assert session.running == 0
        assert not any(task.done() for task in tasks)
        assert [outputs[0].item() for outputs in await asyncio.gather(*tasks)] == [20_000] * 5

    run(check())


def test_close_lets_those_who_wait_for_room_know(run):
    async def check(session: ortx.Session) -> None:
        tasks = [asyncio.ensure_future(session.run_async([ZERO, 1000])) for _ in range(6)]
        await asyncio.sleep(0)
        session.close()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(outcome) for outcome in found} <= {ortx.Outputs, ortx.SessionClosed}
        assert type(found[0]) is ortx.Outputs
        assert type(found[-1]) is ortx.SessionClosed

    with opened(max_queued_runs=1) as session:
        run(check(session))


def test_the_workers_end_with_their_session():
    workers = {thread for thread in threading.enumerate() if thread.name == "ortx-worker"}
    for end in ("close", "drop"):
        session = opened(max_concurrency=3)
        for future in [session.submit([ZERO, 5]) for _ in range(20)]:
            future.result(SECONDS)
        if end == "close":
            session.close()
        del session, future
        gc.collect()
        assert wait_until(lambda: {t for t in threading.enumerate() if t.name == "ortx-worker"} <= workers)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # asyncio's, of pending tasks
@pytest.mark.parametrize("when", ["before the run has ended", "after the run has ended"])
def test_a_loop_that_is_closed_leaves_nothing_behind(session, when, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda args: None)
    loop, options = asyncio.new_event_loop(), ortx.run_options()
    before = _core._live_handles()
    loop.set_exception_handler(lambda loop, context: None)  # "Task was destroyed but it is pending!"

    async def start() -> asyncio.Future[Any]:
        task = asyncio.ensure_future(session.run_async([ZERO, ENDLESS], None, options))
        await until(lambda: session.running == 1)
        return task

    task = loop.run_until_complete(start())
    if when == "after the run has ended":
        options.terminate()
        assert wait_until(lambda: session.running == 0)
    loop.close()
    options.terminate()
    assert wait_until(lambda: session.running == 0)
    del task, loop
    gc.collect()
    assert wait_until(lambda: _core._live_handles() == before)


def test_inputs_and_results_are_let_go(run, session):
    async def check() -> None:
        x, count = np.zeros(1, np.float32), np.array(2)
        before = sys.getrefcount(x), sys.getrefcount(count)
        for _ in range(20):
            assert (await session.run_async({"x": x, "count": count}))[0].item() == 2
        assert (sys.getrefcount(x), sys.getrefcount(count)) == before

    run(check())


# --- the end of the process


PREPARE = """
import asyncio, os, sys, threading
import ortx
session = ortx.session(sys.argv[1], max_concurrency=1)
async def main(count):
    return (await session.run_async([[0.0], count]))[0].item()
"""

ENDINGS = {
    "a loop has run": (PREPARE + "print(asyncio.run(main(3)))", 0, "3.0\n"),
    "a loop was left with a run in flight": (
        PREPARE + "async def leave():\n"
        "    asyncio.ensure_future(main(20_000)); await asyncio.sleep(0.001)\n"
        "asyncio.run(leave()); print(session.running)",
        0,
        "0\n",
    ),
    "a loop in a daemon thread awaits a run": (
        PREPARE + "threading.Thread(target=lambda: asyncio.run(main(50_000)), daemon=True).start()\n"
        "while not session.running: pass",
        0,
        "",
    ),
    "a timeout lies ahead": (PREPARE + "print(session.run([[0.0], 3], timeout=1000)[0].item())", 0, "3.0\n"),
}


@pytest.mark.parametrize("state", ENDINGS)
def test_the_interpreter_exits_quietly_when(state, run_python, tmp_path):
    (tmp_path / "counting.onnx").write_bytes(COUNTING)
    code, exit_code, printed = ENDINGS[state]
    done = run_python(code, tmp_path / "counting.onnx")
    assert (done.returncode, done.stdout, done.stderr) == (exit_code, printed, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which Windows does not have")
def test_the_child_of_a_process_with_runs_in_flight_awaits_and_times_out_on_its_own(run_python, tmp_path):
    (tmp_path / "counting.onnx").write_bytes(COUNTING)
    code = """
import asyncio, os, signal, sys, warnings
import ortx
warnings.simplefilter("ignore", DeprecationWarning)
session = ortx.session(sys.argv[1], intra_op_num_threads=1, max_concurrency=1)
options = ortx.run_options()
endless, queued = session.submit([[0.0], 2**62], None, options), session.submit([[0.0], 4])
assert session.run([[0.0], 3], timeout=60)[0].item() == 3
def work(session):
    assert asyncio.run(session.run_async([[0.0], 5], timeout=30))[0].item() == 5
    assert session.submit([[0.0], 6]).result(30)[0].item() == 6
    try:
        session.run([[0.0], 2**62], timeout=0.01)
    except ortx.RunTimeout:
        return
    sys.exit("no timeout")
child = os.fork()
if child == 0:
    signal.alarm(40)
    with ortx.session(sys.argv[1], intra_op_num_threads=1) as other:
        work(other)
    os._exit(7)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
options.terminate()
print(code, type(endless.exception(60)).__name__, queued.result(60)[0].item())
work(session)
"""
    done = run_python(code, tmp_path / "counting.onnx")
    assert (done.returncode, done.stdout, done.stderr) == (0, "7 RunCancelled 4.0\n", "")
