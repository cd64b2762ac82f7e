"""What a session says that it has done: `Session.stats` (`_core.src/stats.pxi`, `ortx/stats.py`)."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time

import ml_dtypes
import models
import numpy as np
import pytest
from onnx import TensorProto, helper
from test_async import SECONDS, counting, in_threads, wait_until

import ortx
from ortx import _core

X = np.arange(6, dtype=np.float32).reshape(3, 2)
FOUR = np.ones(4, np.float32)  # what models.failing() fails with
FOREVER = {"x": np.zeros(1, np.float32), "count": np.array(1 << 40)}  # what `counting` needs hours for


@pytest.fixture(autouse=True)
def _completed_runs_are_put_away_before_handles_are_counted():
    before = _core._live_handles()
    yield
    wait_until(lambda: _core._live_handles() == before, 1)


@pytest.fixture
def square():
    with ortx.session_from_bytes(models.square()) as session:
        yield session


@pytest.fixture
def failing():
    with ortx.session_from_bytes(models.failing(), session_log_severity_level=4) as session:
        yield session


@pytest.fixture
def endless():
    with ortx.session_from_bytes(counting(), intra_op_num_threads=1, max_concurrency=1) as session:
        yield session


def bound(session: ortx.Session, output: object = None) -> ortx.IOBinding:
    binding = session.create_io_binding()
    binding.bind_input("x", X)
    binding.bind_output("y", output)
    return binding


def run_async(session: ortx.Session) -> None:
    async def run() -> None:
        await session.run_async([X])

    asyncio.run(run())


def run_binding_async(session: ortx.Session) -> None:
    async def run() -> None:
        await bound(session).run_async()

    asyncio.run(run())


def run_in_a_batch(session: ortx.Session) -> None:
    with ortx.Batcher(session) as batcher:
        batcher.run_blocking([X])


WAYS = {
    "run": lambda session: session.run([X]),
    "run of a dict": lambda session: session.run({"x": X}, ["y"]),
    "run with options": lambda session: session.run([X], None, ortx.run_options(tag="t")),
    "run of a list": lambda session: session.run([X.tolist()]),
    "run of another shape": lambda session: session.run([X.reshape(3, 2)]),
    "run with a timeout": lambda session: session.run([X], timeout=SECONDS),
    "run with a timeout in a thread": lambda session: in_threads(1, lambda _: session.run([X], timeout=SECONDS)),
    "run_into": lambda session: session.run_into([X], [np.empty_like(X)]),
    "run_into None": lambda session: session.run_into([X], [None]),
    "run_into with a timeout": lambda session: session.run_into([X], [np.empty_like(X)], timeout=SECONDS),
    "binding": lambda session: bound(session).run(),
    "binding to a buffer": lambda session: bound(session, np.empty_like(X)).run(),
    "run_with_iobinding": lambda session: session.run_with_iobinding(bound(session)),
    "binding with a timeout": lambda session: bound(session, np.empty_like(X)).run(timeout=SECONDS),
    "submit": lambda session: session.submit([X]).result(SECONDS),
    "run_async": run_async,
    "binding, run_async": run_binding_async,
    "Batcher": run_in_a_batch,
}


# --- what is counted


@pytest.mark.parametrize("options", [{}, {"brief_runs_keep_gil": False}, {"concurrent_runs": False}], ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_running_counts_as_one_run_with_its_time_and_bytes(way, options):
    with ortx.session_from_bytes(models.square(), **options) as session:
        before = session.stats()
        WAYS[way](session)
        stats = session.stats()
    assert (before.runs, before.bytes_in, before.bytes_out, before.total_seconds) == (0, 0, 0, 0)
    assert (stats.runs, stats.timed_runs) == (1, 1)
    assert (stats.bytes_in, stats.bytes_out) == (X.nbytes, X.nbytes)
    assert stats.total_seconds == stats.maximum_seconds > 0
    assert (stats.errors, stats.timeouts, stats.cancelled, stats.refused) == ({}, 0, 0, 0)
    assert (stats.in_flight, stats.queued) == (0, 0)


@pytest.mark.parametrize("to_a_buffer", [False, True])
def test_a_binding_counts_each_of_its_runs_and_what_is_bound_anew(square, to_a_buffer):
    binding = bound(square, np.empty_like(X) if to_a_buffer else None)
    for _ in range(300):
        binding.run()
    assert (square.stats().runs, square.stats().bytes_in, square.stats().bytes_out) == (300, 300 * 24, 300 * 24)
    binding.bind_input("x", X[:1])
    binding.bind_output("y")
    binding.run()
    assert (square.stats().runs, square.stats().bytes_in, square.stats().bytes_out) == (301, 300 * 24 + 8, 300 * 24 + 8)


@pytest.fixture
def every_run_is_brief():
    limit = _core._brief_limit(1 << 60)
    yield
    _core._brief_limit(limit)


@pytest.mark.parametrize("has_options", [False, True])
def test_of_many_brief_runs_one_in_64_is_timed_and_the_others_count_as_long(square, every_run_is_brief, has_options):
    options = ortx.run_options(tag="t") if has_options else None
    for _ in range(8):
        square.run([X], None, options)
    assert square.stats().timed_runs == 8
    before = square.stats()
    for _ in range(64 * 4):
        square.run([X], None, options)
    stats = square.stats()
    assert (stats.runs, stats.timed_runs) == (8 + 64 * 4, 8 + 4)
    assert stats.total_seconds >= before.total_seconds + 4 * 63 * 1e-8
    assert stats.maximum_seconds < stats.total_seconds
    assert stats.mean_seconds == pytest.approx(stats.total_seconds / 264)


def test_submitted_runs_are_timed_likewise_if_they_follow_one_another(square, every_run_is_brief):
    for _ in range(8 + 64):
        square.submit([X]).result(SECONDS)
        assert wait_until(lambda: square.stats().in_flight == 0)
    stats = square.stats()
    assert stats.runs == 72
    assert stats.timed_runs <= 40
    assert stats.maximum_seconds < stats.total_seconds


def test_runs_that_take_long_are_all_timed():
    x = np.full((64, 64), 0.01, np.float32)
    with ortx.session_from_bytes(models.slow(40, 64)) as session:
        begin = time.perf_counter()
        for _ in range(20):
            session.run([x])
        elapsed = time.perf_counter() - begin
        stats = session.stats()
    assert (stats.runs, stats.timed_runs) == (20, 20)
    assert stats.maximum_seconds <= stats.total_seconds <= elapsed
    assert stats.maximum_seconds * 20 >= stats.total_seconds


def test_a_run_that_is_stopped_soon_does_not_make_the_next_ones_pass_for_brief(square):
    options = ortx.run_options()
    options.terminate()
    for _ in range(20):
        with pytest.raises(ortx.RunCancelled):
            square.run([X], None, options)
    assert _core._brief_runs(square) == 0
    assert square.stats().timed_runs == 20


# --- errors


def test_errors_are_counted_by_their_code(failing):
    for _ in range(3):
        with pytest.raises(ortx.Error) as caught:
            failing.run([FOUR])
    with pytest.raises(ortx.Error):
        failing.submit([FOUR]).result(SECONDS)
    with pytest.raises(ortx.Error):
        failing.run([FOUR], timeout=SECONDS)
    binding = failing.create_io_binding()
    binding.bind_input("x", FOUR)
    binding.bind_output("y")
    with pytest.raises(ortx.Error):
        binding.run()
    failing.run([np.ones(15, np.float32)])
    stats = failing.stats()
    assert stats.errors == {caught.value.code.name: 6}
    assert (stats.runs, stats.bytes_in, stats.bytes_out) == (7, 6 * 16 + 60, 60)


def test_a_code_that_is_newer_than_ortx_is_counted_by_its_number():
    assert _core.code_name(1) == "FAIL"
    assert _core.code_name(4711) == "4711"


@pytest.fixture
def zeros():
    """Open a session of a model whose output has the shape that its input says."""
    node = helper.make_node("ConstantOfShape", ["x"], ["y"])
    model = models.build([node], [models.tensor("x", "int64", ("n",))], [models.tensor("y", shape=None)])
    with ortx.session_from_bytes(model, session_log_severity_level=4, intra_op_num_threads=1) as session:
        yield session


def run_to_nowhere(session: ortx.Session, shape: np.ndarray) -> None:
    binding = session.create_io_binding()
    binding.bind_input("x", shape)
    binding.bind_output("y")
    binding.run()


def run_awaited(session: ortx.Session, shape: np.ndarray) -> None:
    async def main() -> None:
        await session.run_async([shape])

    asyncio.run(main())


WAYS_TO_FAIL = {
    "run": lambda session, shape: session.run([shape]),
    "run with a timeout": lambda session, shape: session.run([shape], timeout=SECONDS),
    "run_into": lambda session, shape: session.run_into([shape], [None]),
    "binding": run_to_nowhere,
    "submit": lambda session, shape: session.submit([shape]).result(SECONDS),
    "run_async": run_awaited,
}


@pytest.mark.parametrize("way", WAYS_TO_FAIL)
def test_a_run_whose_output_numpy_cannot_have_counts_as_failed(zeros, way):
    with pytest.raises(ortx.NotSupported, match="which numpy cannot have"):
        WAYS_TO_FAIL[way](zeros, np.array([0, 2**40, 2**40]))
    WAYS_TO_FAIL[way](zeros, np.array([2, 3]))
    stats = zeros.stats()
    assert (stats.runs, stats.errors, stats.bytes_out) == (2, {"NOT_IMPLEMENTED": 1}, 24)


@pytest.mark.parametrize("way", WAYS_TO_FAIL)
def test_a_run_without_memory_is_told_apart_from_other_failures(zeros, way):
    with pytest.raises(ortx.OutOfMemory):
        WAYS_TO_FAIL[way](zeros, np.array([2**58]))
    assert (zeros.stats().runs, zeros.stats().errors) == (1, {"OUT_OF_MEMORY": 1})


def test_a_buffer_that_the_result_does_not_fit_into_counts_as_failed():
    x = np.ones((1, 2), np.float32)
    with ortx.session_from_bytes(models.passed_through()) as session:
        with pytest.raises(ortx.InvalidArgument):
            session.run_into([x], [np.zeros((3, 2), np.float32)])
        assert (session.stats().runs, session.stats().errors) == (1, {"INVALID_ARGUMENT": 1})


def test_calls_that_do_not_fit_the_model_are_counted_as_refused_and_not_as_runs(square):
    calls = [
        lambda: square.run([]),
        lambda: square.run([X.astype(np.float64)]),
        lambda: square.run([X], ["z"]),
        lambda: square.run([X], []),
        lambda: square.run([X], ["y", "y"]),
        lambda: square.run([X], "y"),
        lambda: square.run([], timeout=SECONDS),
        lambda: square.run_into([X], [X]),
        lambda: square.submit([]),
        lambda: square.create_io_binding().run(),
        lambda: asyncio.run(refused_later()),
    ]

    async def refused_later() -> None:
        await square.run_async([])

    for call in calls:
        with pytest.raises(ortx.Error):
            call()
    stats = square.stats()
    assert (stats.runs, stats.refused, stats.bytes_in, stats.errors) == (0, len(calls), 0, {})


def test_a_timeout_is_counted_apart_from_errors(endless):
    with pytest.raises(ortx.RunTimeout):
        endless.run(FOREVER, timeout=0.02)

    async def run() -> None:
        with pytest.raises(ortx.RunTimeout):
            await endless.run_async(FOREVER, timeout=0.02)

    asyncio.run(run())
    stats = endless.stats()
    assert (stats.runs, stats.timeouts, stats.cancelled, stats.errors) == (2, 2, 0, {})
    assert stats.maximum_seconds >= 0.01


def test_a_timeout_before_the_run_began_is_no_run(endless):
    with pytest.raises(ortx.RunTimeout):
        endless.run(FOREVER, timeout=0)
    stats = endless.stats()
    assert (stats.runs, stats.timeouts, stats.timed_runs) == (0, 1, 0)


def test_what_is_terminated_counts_as_cancelled(endless):
    options = ortx.run_options()
    future = endless.submit(FOREVER, None, options)
    assert wait_until(lambda: endless.stats().in_flight == 1)
    options.terminate()
    with pytest.raises(ortx.RunCancelled):
        future.result(SECONDS)
    stats = endless.stats()
    assert (stats.runs, stats.cancelled, stats.timeouts, stats.errors) == (1, 1, 0, {})


def test_tasks_that_are_cancelled_are_counted_whether_they_ran_or_waited(endless):
    async def run() -> None:
        tasks = [asyncio.ensure_future(endless.run_async(FOREVER)) for _ in range(3)]
        while (endless.stats().in_flight, endless.stats().queued) != (1, 2):
            await asyncio.sleep(0.001)
        for task in reversed(tasks):  # those that wait first: otherwise they would begin
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
    stats = endless.stats()
    assert (stats.runs, stats.cancelled) == (1, 3)
    assert (stats.in_flight, stats.queued) == (0, 0)


# --- now


def test_in_flight_and_queued_say_what_is_going_on(endless):
    options = ortx.run_options()
    futures = [endless.submit(FOREVER, None, options) for _ in range(3)]
    assert wait_until(lambda: (endless.stats().in_flight, endless.stats().queued) == (1, 2))
    assert (endless.stats().runs, endless.running) == (0, 3)
    options.terminate()
    for future in futures:
        with pytest.raises(ortx.RunCancelled):
            future.result(SECONDS)
    stats = endless.stats()
    assert (stats.in_flight, stats.queued, stats.runs, stats.cancelled) == (0, 0, 1, 3)  # the others never began


def test_a_call_in_another_thread_is_in_flight(endless):
    options = ortx.run_options()
    seen = []

    def work(number: int) -> None:
        if number == 0:
            with pytest.raises(ortx.RunCancelled):
                endless.run(FOREVER, None, options)
        else:
            seen.append(wait_until(lambda: endless.stats().in_flight == 1))
            options.terminate()

    in_threads(2, work)
    assert seen == [True]


# --- bytes of other values


def test_bytes_are_those_of_numbers_in_arrays_and_sequences():
    sequence = helper.make_tensor_sequence_value_info("both", TensorProto.FLOAT, None)
    model = models.build(
        [helper.make_node("SequenceConstruct", ["x", "x"], ["both"])], [models.tensor("x")], [sequence]
    )
    with ortx.session_from_bytes(model) as session:
        session.run([X])
        assert (session.stats().bytes_in, session.stats().bytes_out) == (24, 48)
    taken = helper.make_tensor_sequence_value_info("both", TensorProto.FLOAT, None)
    model = models.build(
        [helper.make_node("ConcatFromSequence", ["both"], ["y"], axis=0)], [taken], [models.tensor("y")]
    )
    with ortx.session_from_bytes(model) as session:
        session.run([[X, X.tolist()]])
        assert (session.stats().bytes_in, session.stats().bytes_out) == (48, 48)


def test_strings_do_not_count():
    text = helper.make_tensor_value_info("x", TensorProto.STRING, ["n"])
    result = helper.make_tensor_value_info("y", TensorProto.STRING, ["n"])
    with ortx.session_from_bytes(
        models.build([helper.make_node("Identity", ["x"], ["y"])], [text], [result])
    ) as session:
        session.run([["a", "longer than sixteen bytes"]])
        assert (session.stats().runs, session.stats().bytes_in, session.stats().bytes_out) == (1, 0, 0)


def test_elements_smaller_than_a_byte_count_as_numpy_has_them():
    x = helper.make_tensor_value_info("x", TensorProto.INT4, [6])
    y = helper.make_tensor_value_info("y", TensorProto.INT8, [6])
    graph = helper.make_graph([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.INT8)], "graph", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    with ortx.session_from_bytes(model.SerializeToString()) as session:
        session.run([np.arange(6).astype(ml_dtypes.int4)])
        assert (session.stats().bytes_in, session.stats().bytes_out) == (6, 6)


# --- what it is


def test_stats_are_of_one_moment_do_not_change_and_become_json(square):
    square.run([X])
    stats = square.stats()
    square.run([X])
    assert (stats.runs, square.stats().runs) == (1, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.runs = 7
    assert json.loads(json.dumps(stats.asdict())) == stats.asdict()
    assert set(stats.asdict()) == {field.name for field in dataclasses.fields(ortx.Stats)}
    assert hash(stats) != hash(square.stats())


def test_time_since_the_session_was_opened_is_told_by_both_clocks():
    before = time.time()
    with ortx.session_from_bytes(models.square()) as session:
        after = time.time()
        first, second = session.stats(), session.stats()
    assert before <= first.since <= after
    assert 0 < first.seconds < second.seconds
    assert first.mean_seconds == 0


def test_a_closed_session_still_says_what_it_did():
    with ortx.session_from_bytes(models.square()) as session:
        session.run([X])
    assert session.stats().runs == 1
    with pytest.raises(ortx.SessionClosed):
        session.run([X])
    assert session.stats().runs == 1


def test_a_pool_adds_up_what_its_sessions_did():
    with ortx.SessionPool(models.failing(), 2, session_log_severity_level=4) as pool:
        pool.run([np.ones(15, np.float32)])
        for session in pool.sessions:
            with pytest.raises(ortx.Error) as caught:
                session.run([FOUR])
        each = [session.stats() for session in pool]
        stats = pool.stats()
    assert [one.runs for one in each] in ([2, 1], [1, 2])
    assert (stats.runs, stats.bytes_in, stats.bytes_out) == (3, 60 + 2 * 16, 60)
    assert stats.errors == {caught.value.code.name: 2}
    assert stats.maximum_seconds == max(one.maximum_seconds for one in each)
    assert stats.total_seconds == pytest.approx(sum(one.total_seconds for one in each))
    assert stats.since == min(one.since for one in each)


def test_nothing_is_lost_when_many_threads_run_and_look(square):
    def work(number: int) -> None:
        binding = bound(square, np.empty_like(X))
        for _ in range(500):
            square.run([X])
            binding.run()
            square.submit([X]).result(SECONDS)
            assert square.stats().runs > 0

    in_threads(6, work)
    stats = square.stats()
    assert stats.runs == 6 * 500 * 3
    assert stats.bytes_in == stats.bytes_out == stats.runs * X.nbytes
    assert stats.timed_runs <= stats.runs
    assert (stats.in_flight, stats.queued) == (0, 0)


def test_runs_of_a_binding_with_options_are_timed_apart_and_likewise(square, every_run_is_brief):
    binding, options = bound(square, np.empty_like(X)), ortx.run_options(tag="t")
    for _ in range(8):
        binding.run(options)
    for _ in range(64):
        binding.run(options)
    assert (square.stats().runs, square.stats().timed_runs) == (72, 9)
    assert _core._brief_runs(binding) == 0  # of those without options, which keep the GIL
    for _ in range(8 + 64):
        binding.run()
    assert (square.stats().runs, square.stats().timed_runs) == (144, 18)
    binding.bind_input("x", X[:1])
    binding.bind_output("y")
    binding.run(options)
    assert square.stats().timed_runs == 19
