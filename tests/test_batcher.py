"""`ortx.Batcher`: many requests, few runs (`ortx/batcher.py`, `ortx/batchqueue.py`)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ml_dtypes
import models
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from test_deadlines import interrupt_soon, needs_signals

import ortx
from ortx import batchqueue

SECONDS = 60  # what a test waits at most for something that is to happen


class Watched:
    """A session that remembers its runs, and can be made to wait in them."""

    def __init__(self, model: bytes) -> None:
        self.session = ortx.session_from_bytes(model, intra_op_num_threads=1)
        self.runs: list[tuple[Any, ortx.Outputs]] = []
        self.begun, self.may_run = threading.Semaphore(0), threading.Event()
        self.may_run.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def run(self, inputs: Any, output_names: Any = None) -> ortx.Outputs:
        self.begun.release()
        assert self.may_run.wait(SECONDS)
        outputs = self.session.run(inputs, output_names)
        self.runs.append((inputs, outputs))
        return outputs

    @property
    def rows(self) -> list[int]:
        """How many rows each run had."""
        return [len(outputs[0]) for _, outputs in self.runs]

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep a worker in its run, so that what is asked for inside is sure to wait."""
        self.may_run.clear()
        while self.begun.acquire(blocking=False):
            pass  # of runs before
        try:
            yield
        finally:
            self.may_run.set()

    async def wait_for_run(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=SECONDS)


@pytest.fixture
def watch():
    watched = []

    def watch(model: bytes = b"") -> Watched:
        watched.append(Watched(model or models.square()))
        return watched[-1]

    yield watch
    for session in watched:
        session.close()


def x(*values: float) -> dict[str, np.ndarray]:
    """Make a request of one row per value."""
    return {"x": np.array([[value, -value] for value in values], np.float32)}


def squares(*values: float) -> list[list[float]]:
    return [[value * value, value * value] for value in values]


async def waiting(batcher: ortx.Batcher, count: int) -> None:
    """Let others go on until as many requests wait."""
    async with asyncio.timeout(SECONDS):
        while batcher.stats()["waiting"] != count:
            await asyncio.sleep(0)


async def behind_a_run(session: Watched, batcher: ortx.Batcher, requests: list[Any]) -> list[Any]:
    """Return the answers, or errors, of requests that wait together while another run goes on."""
    with session.held():
        first = asyncio.create_task(batcher.run(x(0)))
        await session.wait_for_run()
        tasks = [asyncio.create_task(batcher.run(request)) for request in requests]
        await waiting(batcher, len(tasks))
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    await first
    del session.runs[0]
    return answers


# --- what is joined, and how it comes back


def test_a_request_gets_what_the_session_would_return(watch):
    with ortx.Batcher(watch()) as batcher:
        outputs = asyncio.run(batcher.run(x(3, 4)))
        assert type(outputs) is ortx.Outputs
        assert outputs.keys() == ("y",)
        assert outputs["y"].tolist() == squares(3, 4)
        assert batcher.run_blocking([x(5)["x"]])[0].tolist() == squares(5)


def test_requests_that_wait_are_joined_in_their_order_and_answered_with_their_own_rows(watch):
    session = watch()
    with ortx.Batcher(session) as batcher:
        answers = asyncio.run(behind_a_run(session, batcher, [x(1), x(2, 3), x(4)]))
    assert [answer["y"].tolist() for answer in answers] == [squares(1), squares(2, 3), squares(4)]
    assert [outputs["y"].tolist() for _, outputs in session.runs] == [squares(1, 2, 3, 4)]


def test_the_answers_are_views_of_the_outputs_of_the_batch(watch):
    session = watch()
    with ortx.Batcher(session) as batcher:
        first, second = asyncio.run(behind_a_run(session, batcher, [x(1), x(2, 3)]))
    ((_, outputs),) = session.runs
    assert np.shares_memory(first["y"], outputs["y"][:1])
    assert np.shares_memory(second["y"], outputs["y"][1:])
    assert not np.shares_memory(first["y"], second["y"])
    assert first["y"].flags.c_contiguous
    first["y"][:] = 7
    assert second["y"].tolist() == squares(2, 3)


def test_no_more_rows_are_joined_than_allowed_and_none_is_overtaken(watch):
    session = watch()
    requests = [x(1), x(2, 3), x(4, 5), x(6), x(7, 8, 9, 10), x(11)]
    with ortx.Batcher(session, max_batch_size=4) as batcher:
        answers = asyncio.run(behind_a_run(session, batcher, requests))
    assert [answer["y"].tolist() for answer in answers] == [
        (request["x"] * request["x"]).tolist() for request in requests
    ]
    assert session.rows == [3, 3, 4, 1]


def test_a_request_with_more_rows_than_allowed_is_run_by_itself(watch):
    session = watch()
    with ortx.Batcher(session, max_batch_size=2) as batcher:
        answers = asyncio.run(behind_a_run(session, batcher, [x(1), x(2, 3, 4), x(5)]))
    assert [answer["y"].tolist() for answer in answers] == [squares(1), squares(2, 3, 4), squares(5)]
    assert sorted(session.rows) == [2, 3]


def test_arrays_of_any_layout_are_joined(watch):
    session = watch()
    wide = np.arange(12, dtype=np.float32).reshape(2, 6)
    with ortx.Batcher(session) as batcher:
        first, second = asyncio.run(behind_a_run(session, batcher, [{"x": wide[:, ::3]}, [wide.T[:2, :]]]))
    assert first["y"].tolist() == (wide[:, ::3] ** 2).tolist()
    assert second["y"].tolist() == (wide.T[:2] ** 2).tolist()
    assert session.rows == [4]


@pytest.mark.parametrize(
    "request_",
    [
        [[[1, 2]]],
        {"x": [[1, 2]]},
        {"x": ortx.tensor("float32", (1, 2), [1, 2])},
        (np.array([[1, 2]], np.float32),),
        {"x": np.zeros((0, 2), np.float32)},
        [memoryview(np.array([[1, 2]], np.float32))],
    ],
    ids=["a list", "a list by name", "a tensor", "a tuple", "no rows", "a buffer"],
)
def test_whatever_a_session_takes_a_batcher_takes(watch, request_):
    session = watch()
    with ortx.Batcher(session) as batcher:
        expected = session.session.run(request_)["y"]
        answers = asyncio.run(behind_a_run(session, batcher, [x(1), request_, x(2)]))
    assert [answer["y"].tolist() for answer in answers] == [squares(1), expected.tolist(), squares(2)]


def test_several_inputs_and_outputs_are_joined_and_cut(watch):
    session = watch(models.sum_and_difference())
    a, b = np.array([[1, 2]], np.float32), np.array([[5, 5]], np.float32)
    with session.held(), ortx.Batcher(session) as batcher, ThreadPoolExecutor() as pool:
        first = pool.submit(batcher.run_blocking, [a, b])
        assert session.begun.acquire(timeout=SECONDS)
        others = [pool.submit(batcher.run_blocking, {"b": b, "a": a + i}) for i in range(3)]
        while batcher.stats()["waiting"] < 3:
            pass
        session.may_run.set()
        assert first.result()["sum"].tolist() == [[6, 7]]
        for i, other in enumerate(others):
            assert other.result()["sum"].tolist() == [[6 + i, 7 + i]]
            assert other.result()["difference"].tolist() == [[i - 4, i - 3]]
    assert session.rows == [1, 3]


def test_only_the_outputs_that_are_asked_for_are_computed(watch):
    session = watch(models.sequence_output())
    with pytest.raises(ortx.NotSupported, match="output 'both'"):
        ortx.Batcher(session)
    with ortx.Batcher(session, output_names=["first"]) as batcher:
        assert batcher.run_blocking(x(3)).keys() == ("first",)


def variable() -> bytes:
    """y = x * x, where both axes of x may be anything"""
    return models.square(("batch", "length"))


def test_only_requests_that_agree_on_the_other_dimensions_are_joined(watch):
    session = watch(variable())
    requests = [np.full((1, length), length, np.float32) for length in (3, 5, 3, 4, 5, 3)]
    with ortx.Batcher(session) as batcher:
        answers = asyncio.run(behind_a_run(session, batcher, [[request] for request in requests]))
    assert [answer["y"].tolist() for answer in answers] == [(request**2).tolist() for request in requests]
    assert [outputs["y"].shape for _, outputs in session.runs] == [(3, 3), (2, 5), (1, 4)]


def test_every_group_has_its_turn(watch):
    session = watch(variable())
    requests = [np.ones((1, length), np.float32) for length in (3, 3, 3, 3, 5, 4)]
    with ortx.Batcher(session, max_batch_size=2) as batcher:
        asyncio.run(behind_a_run(session, batcher, [[request] for request in requests]))
    assert [outputs["y"].shape for _, outputs in session.runs] == [(2, 3), (1, 5), (1, 4), (2, 3)]


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "int4", "int64", "bool"])
def test_every_element_type_is_joined(watch, dtype):
    onnx_type = getattr(TensorProto, {"float8_e4m3fn": "FLOAT8E4M3FN"}.get(dtype, dtype.upper()))
    declared = [helper.make_tensor_value_info(name, onnx_type, ("n", 3)) for name in "xy"]
    node = helper.make_node("Cast", ["x"], ["y"], to=onnx_type)
    graph = helper.make_graph([node], "graph", declared[:1], declared[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = watch(model.SerializeToString())
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    requests = [np.array([[i, 1, 0]]).astype(dtype) for i in range(3)]
    with session.held(), ortx.Batcher(session) as batcher, ThreadPoolExecutor() as pool:
        answers = [pool.submit(batcher.run_blocking, [requests[0]])]
        assert session.begun.acquire(timeout=SECONDS)
        answers += [pool.submit(batcher.run_blocking, [request]) for request in requests[1:]]
        while batcher.stats()["waiting"] < 2:
            pass
        session.may_run.set()
    for answer, request in zip(answers, requests, strict=True):
        assert answer.result()["y"].dtype == dtype
        assert answer.result()["y"].tobytes() == request.tobytes()
    assert session.rows == [1, 2]


def strings() -> bytes:
    """y = x, a copy; both strings"""
    declared = [helper.make_tensor_value_info(name, TensorProto.STRING, ("n", 1)) for name in "xy"]
    return models.build([helper.make_node("Identity", ["x"], ["y"])], declared[:1], declared[1:])


def test_strings_are_joined_and_what_is_none_fails_alone():
    with ortx.session_from_bytes(strings()) as session, ortx.Batcher(session, max_delay=0.05) as batcher:

        async def main() -> list[Any]:
            requests = [np.array([[text]], object) for text in ("a", 5, "c")]
            runs = [batcher.run([request]) for request in requests]
            return await asyncio.gather(*runs, return_exceptions=True)

        first, bad, last = asyncio.run(main())
    assert (first["y"].tolist(), last["y"].tolist()) == ([["a"]], [["c"]])
    assert isinstance(bad, ortx.CallError)


def classifier() -> bytes:
    """Return probabilities as a classifier does: a dictionary for each row."""
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, value))
    zip_map = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[10, 20])
    graph = helper.make_graph([zip_map], "graph", [models.tensor("x")], [helper.make_value_info("y", maps)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


@pytest.mark.parametrize("fast", [True, False])
def test_the_dictionaries_of_a_classifier_are_given_to_whom_they_belong(fast):
    with ortx.session_from_bytes(classifier(), fast_zip_map=fast) as session:
        batcher = ortx.Batcher(session, max_batch_size=3, max_delay=SECONDS)

        async def main() -> list[ortx.Outputs]:
            return await asyncio.gather(batcher.run(x(1)), batcher.run(x(2, 3)))

        first, second = asyncio.run(main())
        assert first["y"] == [{10: 1.0, 20: -1.0}]
        assert second["y"] == [{10: 2.0, 20: -2.0}, {10: 3.0, 20: -3.0}]
        assert batcher.stats()["batches"] == 1
        batcher.close()


@pytest.mark.parametrize(
    "model",
    [
        models.passed_through(),
        models.identity(shape=("n", 2)),
        models.build(
            [helper.make_node("Reshape", ["x", "shape"], ["y"])],
            [models.tensor("x")],
            [models.tensor("y")],
            [models.constant("shape", [-1, 2], "int64")],
        ),
    ],
    ids=["an input that is an output", "a copy", "the same memory in another shape"],
)
def test_no_answer_changes_when_later_batches_use_the_buffers_again(watch, model):
    session = watch(model)
    with ortx.Batcher(session) as batcher:
        kept = asyncio.run(behind_a_run(session, batcher, [x(1), x(2)]))
        asyncio.run(behind_a_run(session, batcher, [x(8), x(9)]))
        asyncio.run(behind_a_run(session, batcher, [x(5), x(6), x(7)]))
    assert [answer[0][0].tolist() for answer in kept] == [[1, -1], [2, -2]]


SQUARE = models.square(("batch", "length"))
REQUEST = st.tuples(st.integers(1, 6), st.sampled_from([1, 2, 3]), st.booleans())


@settings(max_examples=60)
@given(
    requests=st.lists(REQUEST, min_size=1, max_size=20),
    most=st.integers(1, 8),
    delay=st.sampled_from([0.0, 0.001]),
    workers=st.integers(1, 2),
)
def test_any_mix_of_requests_gives_exactly_what_the_session_gives_for_each(requests, most, delay, workers):
    arrays = [np.random.default_rng(i).random(r[:2], np.float32) for i, r in enumerate(requests)]
    given_ = [[array.tolist()] if request[2] else {"x": array} for request, array in zip(requests, arrays, strict=True)]
    with ortx.session_from_bytes(SQUARE, intra_op_num_threads=1) as session:
        with ortx.Batcher(session, max_batch_size=most, max_delay=delay, workers=workers) as batcher:

            async def main() -> list[ortx.Outputs]:
                return await asyncio.gather(*[batcher.run(request) for request in given_])

            answers = asyncio.run(main())
            assert batcher.stats() == {
                "batches": batcher.stats()["batches"],
                "requests": len(requests),
                "waiting": 0,
            }
        for answer, array in zip(answers, arrays, strict=True):
            expected = session.run([array])["y"]
            assert answer["y"].dtype == expected.dtype
            assert answer["y"].shape == expected.shape
            assert answer["y"].tobytes() == expected.tobytes()


# --- bad requests


BAD = {
    "another element type": {"x": np.zeros((1, 2))},
    "another shape": {"x": np.zeros((1, 3), np.float32)},
    "another rank": {"x": np.zeros(2, np.float32)},
    "a scalar": {"x": np.float32(1)},
    "a scalar array": {"x": np.array(1, np.float32)},
    "another byte order": {"x": np.zeros((1, 2), ">f4" if sys.byteorder == "little" else "<f4")},
    "another name": {"xx": np.zeros((1, 2), np.float32)},
    "one too many": {**x(1), "z": np.zeros((1, 2), np.float32)},
    "nothing": {},
    "no container": 5,
    "None": {"x": None},
    "masked": {"x": np.ma.masked_array(np.zeros((1, 2), np.float32))},
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_fails_alone_and_as_with_the_session(watch, name):
    session = watch()
    with pytest.raises(ortx.Error) as expected:
        session.session.run(BAD[name])
    with ortx.Batcher(session) as batcher:
        first, bad, last = asyncio.run(behind_a_run(session, batcher, [x(1), BAD[name], x(2)]))
        with pytest.raises(type(expected.value)) as blocking:
            batcher.run_blocking(BAD[name])
    assert (first["y"].tolist(), last["y"].tolist()) == (squares(1), squares(2))
    assert type(bad) is type(expected.value)
    assert str(bad) == str(blocking.value) == str(expected.value)
    assert session.rows == [2]  # the two were joined all the same


def test_inputs_with_different_numbers_of_rows_are_left_to_the_session(watch):
    session = watch(models.sum_and_difference())
    a, b = np.ones((3, 2), np.float32), np.ones((1, 2), np.float32)
    with ortx.Batcher(session) as batcher:
        assert batcher.run_blocking([a, b])["sum"].tolist() == [[2, 2]] * 3  # it broadcasts
        assert batcher.run_blocking([a[:0], b])["sum"].shape == (0, 2)
        with pytest.raises(ortx.Error):
            batcher.run_blocking([a, a[:2]])


def lookup() -> bytes:
    """y = the rows of a table whose numbers are in x: fails if there is no such row"""
    return models.build(
        [helper.make_node("Gather", ["table", "x"], ["y"])],
        [models.tensor("x", "int64", ("n",))],
        [models.tensor("y", shape=("n", 2))],
        [models.constant("table", [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])],
    )


def test_of_a_batch_that_fails_while_it_runs_only_the_bad_request_fails():
    with ortx.session_from_bytes(lookup(), session_log_severity_level=4) as session:
        batcher = ortx.Batcher(session, max_batch_size=4, max_delay=SECONDS)

        async def main() -> list[Any]:
            runs = [batcher.run([np.array([number])]) for number in (1, 99, 2, 0)]
            return await asyncio.gather(*runs, return_exceptions=True)

        one, bad, two, zero = asyncio.run(main())
        with pytest.raises(ortx.Error) as expected:
            session.run([np.array([99])])
        batcher.close()
    assert [answer["y"].tolist() for answer in (one, two, zero)] == [[[1, 1]], [[2, 2]], [[0, 0]]]
    assert type(bad) is type(expected.value)


def test_outputs_with_another_number_of_rows_than_went_in_are_an_error_for_everybody():
    model = models.build(
        [helper.make_node("NonZero", ["x"], ["t"]), helper.make_node("Transpose", ["t"], ["y"])],
        [models.tensor("x", shape=("n", 2))],
        [models.tensor("y", "int64", ("n", 2))],
    )
    message = r"a batch of 1 rows cannot be cut .* output 'y' has the shape \(2, 2\)"
    with ortx.session_from_bytes(model, session_log_severity_level=4) as session, ortx.Batcher(session) as batcher:
        for ask in (batcher.run_blocking, lambda request: asyncio.run(batcher.run(request))):
            with pytest.raises(ortx.Error, match=message):
                ask(x(1))


def test_a_closed_session_is_said_to_everybody(watch):
    session = watch()
    with ortx.Batcher(session) as batcher:
        session.close()
        with pytest.raises(ortx.SessionClosed, match="session"):
            batcher.run_blocking(x(1))
        with pytest.raises(ortx.SessionClosed, match="session"):
            asyncio.run(batcher.run(x(1)))


# --- delays


def test_a_delayed_batch_is_run_as_soon_as_it_is_full(watch):
    session = watch()
    with ortx.Batcher(session, max_batch_size=3, max_delay=3600) as batcher:

        async def main() -> list[ortx.Outputs]:
            return await asyncio.gather(*[batcher.run(x(i)) for i in range(6)])

        assert [answer["y"].tolist() for answer in asyncio.run(main())] == [squares(i) for i in range(6)]
    assert session.rows == [3, 3]


def test_a_delayed_batch_is_run_when_the_time_is_over(watch):
    session = watch()
    with ortx.Batcher(session, max_delay=0.01) as batcher:
        assert batcher.run_blocking(x(2))["y"].tolist() == squares(2)


@pytest.mark.parametrize("alone", [[[[2, -2]]], {"x": np.full((3, 2), 2, np.float32)}])
def test_what_cannot_be_joined_is_not_delayed(watch, alone):
    with ortx.Batcher(watch(), max_batch_size=2, max_delay=3600) as batcher:
        assert batcher.run_blocking(alone)["y"][0].tolist() == [4, 4]


def test_who_gives_up_soon_does_not_wait_for_others_until_then(watch):
    with ortx.Batcher(watch(), max_delay=3600) as batcher:
        assert batcher.run_blocking(x(2), timeout=0.5)["y"].tolist() == squares(2)
        assert asyncio.run(batcher.run(x(3), timeout=0.5))["y"].tolist() == squares(3)


def test_closing_ends_the_delay(watch):
    session = watch()
    batcher = ortx.Batcher(session, max_delay=3600)

    async def main() -> ortx.Outputs:
        async with batcher:
            task = asyncio.create_task(batcher.run(x(2)))
            await waiting(batcher, 1)
        return await task

    assert asyncio.run(main())["y"].tolist() == squares(2)


# --- deadlines, cancelling


def test_a_request_that_is_too_late_takes_no_part_in_a_batch_and_holds_up_nobody(watch):
    session = watch()

    async def main(batcher: ortx.Batcher) -> list[Any]:
        with session.held():
            first = asyncio.create_task(batcher.run(x(0)))
            await session.wait_for_run()
            late = asyncio.create_task(batcher.run(x(1), timeout=0.001))
            blocking = asyncio.create_task(asyncio.to_thread(batcher.run_blocking, x(1), timeout=0.001))
            patient = asyncio.create_task(batcher.run(x(2), timeout=SECONDS))
            answers = await asyncio.gather(late, blocking, return_exceptions=True)
        return [*answers, await patient, await first]

    with ortx.Batcher(session) as batcher:
        late, blocking, patient, _ = asyncio.run(main(batcher))
    for error in (late, blocking):
        assert type(error) is ortx.RunTimeout
        assert isinstance(error, TimeoutError)
        assert str(error) == "run: no answer from the batcher within 0.001 seconds"
    assert patient["y"].tolist() == squares(2)
    assert session.rows == [1, 1]


def test_a_request_whose_batch_runs_too_long_gives_up_and_the_others_get_their_answers(watch):
    session = watch()

    async def main(batcher: ortx.Batcher) -> list[Any]:
        with session.held():
            late = asyncio.create_task(batcher.run(x(1), timeout=0.2))
            patient = asyncio.create_task(batcher.run(x(2)))
            await session.wait_for_run()
            (error,) = await asyncio.gather(late, return_exceptions=True)
        return [error, await patient]

    with ortx.Batcher(session, max_batch_size=2, max_delay=3600) as batcher:
        error, patient = asyncio.run(main(batcher))
    assert type(error) is ortx.RunTimeout
    assert patient["y"].tolist() == squares(2)
    assert session.rows == [2]


def test_without_any_time_a_request_is_too_late_at_once(watch):
    session = watch()
    with ortx.Batcher(session) as batcher:
        with pytest.raises(ortx.RunTimeout):
            batcher.run_blocking(x(1), timeout=0)
        with pytest.raises(ortx.RunTimeout):
            asyncio.run(batcher.run(x(1), timeout=0))
        assert asyncio.run(batcher.run(x(1), timeout=float("inf")))["y"].tolist() == squares(1)
        assert batcher.run_blocking(x(1), timeout=float("inf"))["y"].tolist() == squares(1)
    assert session.rows == [1, 1]


def test_a_cancelled_request_leaves_the_queue_and_the_result_of_a_running_one_is_dropped(watch):
    session = watch()

    async def main(batcher: ortx.Batcher) -> list[Any]:
        with session.held():
            running = asyncio.create_task(batcher.run(x(0)))
            await session.wait_for_run()
            tasks = [asyncio.create_task(batcher.run(x(i))) for i in (1, 2, 3)]
            await waiting(batcher, 3)
            running.cancel()
            tasks[1].cancel()
            cancelled = await asyncio.gather(running, tasks[1], return_exceptions=True)
        return [*cancelled, await tasks[0], await tasks[2]]

    with ortx.Batcher(session) as batcher:
        running, left, *answers = asyncio.run(main(batcher))
    assert {type(running), type(left)} == {asyncio.CancelledError}
    assert [answer["y"].tolist() for answer in answers] == [squares(1), squares(3)]
    assert session.rows == [1, 2]


@needs_signals
@pytest.mark.parametrize("is_running", [False, True], ids=["waiting", "running"])
def test_ctrl_c_ends_the_wait_of_the_main_thread_and_drops_the_request(watch, is_running):
    session = watch()
    with ortx.Batcher(session) as batcher, ThreadPoolExecutor() as pool:
        with session.held():
            if not is_running:
                first = pool.submit(batcher.run_blocking, x(0))
                assert session.begun.acquire(timeout=SECONDS)
            timer = interrupt_soon()
            with pytest.raises(KeyboardInterrupt):
                batcher.run_blocking(x(1))
            timer.join()
        if not is_running:
            assert first.result()["y"].tolist() == squares(0)
        assert batcher.run_blocking(x(2))["y"].tolist() == squares(2)
    assert [outputs["y"].tolist() for _, outputs in session.runs] == [squares(is_running), squares(2)]


def test_an_answer_is_not_kept_until_the_timeout_it_did_not_need(watch):
    session = watch()

    async def main(batcher: ortx.Batcher) -> list[object]:
        request = x(1)
        outputs = await batcher.run(request, timeout=3600)
        references = [weakref.ref(request["x"]), weakref.ref(outputs["y"])]
        session.runs.clear()
        del request, outputs
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                while any(reference() is not None for reference in references):
                    await asyncio.sleep(0.001)  # until the worker has let go of them, too
        return [reference() for reference in references]

    with ortx.Batcher(session) as batcher:
        assert asyncio.run(main(batcher)) == [None, None]


# --- threads and loops


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_and_loops_share_a_batcher(watch, workers):
    session = watch()
    count = 300

    async def ask(number: int) -> None:
        for i in range(10):
            assert (await batcher.run(x(number, i)))["y"].tolist() == squares(number, i)

    async def main(first: int) -> None:
        await asyncio.gather(*[ask(first + i) for i in range(count // 10)])

    def block(first: int) -> None:
        for i in range(count):
            assert batcher.run_blocking(x(first + i))["y"].tolist() == squares(first + i)

    with ortx.Batcher(session, max_batch_size=7, workers=workers) as batcher:
        with ThreadPoolExecutor(6) as pool:
            jobs = [pool.submit(asyncio.run, main(1000 * i)) for i in range(3)]
            jobs += [pool.submit(block, 500 * i) for i in range(3)]
        for job in jobs:
            job.result()
        stats = batcher.stats()
    assert stats["requests"] == 6 * count
    assert stats["batches"] == len(session.runs)


@pytest.mark.parametrize("delay", [0.0, 3600.0])
def test_a_worker_that_has_nothing_to_do_sleeps(watch, monkeypatch, delay):
    looks, form = [], batchqueue.Shared._form
    monkeypatch.setattr(batchqueue.Shared, "_form", lambda shared: looks.append(shared) or form(shared))
    session = watch()
    with ThreadPoolExecutor() as pool, ortx.Batcher(session, max_delay=delay, max_batch_size=2, workers=2) as batcher:
        assert batcher.run_blocking(x(1, 2))["y"].tolist() == squares(1, 2)
        delayed = pool.submit(batcher.run_blocking, x(3)) if delay else None
        time.sleep(0.1)  # until they have looked about
        before, processor_time = len(looks), time.process_time()
        time.sleep(0.5)
        assert time.process_time() - processor_time < 0.25
        assert len(looks) <= before + 4
        batcher.close()
        assert delayed is None or delayed.result()["y"].tolist() == squares(3)


def test_as_many_batches_run_at_the_same_time_as_there_are_workers(watch):
    session = watch()
    together = threading.Barrier(3)
    run = session.run

    def run_together(inputs: Any, output_names: Any) -> ortx.Outputs:
        together.wait(SECONDS)
        return run(inputs, output_names)

    session.run = run_together
    with ortx.Batcher(session, workers=3, max_batch_size=1) as batcher:

        async def main() -> list[ortx.Outputs]:
            return await asyncio.gather(*[batcher.run(x(i)) for i in range(9)])

        assert [answer["y"].tolist() for answer in asyncio.run(main())] == [squares(i) for i in range(9)]


def test_a_loop_is_told_once_of_all_its_answers_in_a_batch(watch):
    session = watch()

    async def main() -> int:
        loop = asyncio.get_running_loop()
        call, calls = loop.call_soon_threadsafe, []
        with ortx.Batcher(session, max_batch_size=5, max_delay=3600) as batcher:
            loop.call_soon_threadsafe = lambda *arguments: calls.append(0) or call(*arguments)
            await asyncio.gather(*[batcher.run(x(i)) for i in range(10)])
            del loop.call_soon_threadsafe
        return len(calls)

    assert asyncio.run(main()) == 2
    assert session.rows == [5, 5]


def test_an_answer_for_a_loop_that_is_closed_is_dropped_and_others_are_served(watch):
    session = watch()
    with ortx.Batcher(session) as batcher:
        loop = asyncio.new_event_loop()
        with session.held():
            task = loop.create_task(batcher.run(x(1)))
            loop.run_until_complete(session.wait_for_run())
            loop.run_until_complete(loop.shutdown_default_executor())
            task.cancel()
            loop.run_until_complete(asyncio.wait([task]))
            loop.close()
        assert batcher.run_blocking(x(2))["y"].tolist() == squares(2)


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="needs the package uvloop, not installed here")
def test_uvloop_works_as_well(watch):
    import uvloop

    session = watch()

    async def main(batcher: ortx.Batcher) -> list[Any]:
        async with batcher:
            runs = [batcher.run(x(i), timeout=SECONDS) for i in range(10)]
            return await asyncio.gather(*runs, batcher.run([]), return_exceptions=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        *answers, bad = runner.run(main(ortx.Batcher(session)))
    assert [answer["y"].tolist() for answer in answers] == [squares(i) for i in range(10)]
    assert isinstance(bad, ortx.CallError)


# --- the end of a batcher


def test_closing_answers_what_waits_and_refuses_what_comes_later(watch):
    session = watch()

    async def main() -> list[ortx.Outputs]:
        async with ortx.Batcher(session, max_batch_size=2) as batcher:
            with session.held():
                tasks = [asyncio.create_task(batcher.run(x(i))) for i in range(6)]
                await session.wait_for_run()
                closing = asyncio.create_task(batcher.aclose())
                while not batcher.closed:
                    await asyncio.sleep(0)
                with pytest.raises(ortx.SessionClosed, match="the batcher is closed; make a new ortx.Batcher"):
                    await batcher.run(x(1))
                with pytest.raises(ortx.SessionClosed, match="the batcher is closed"):
                    await asyncio.to_thread(batcher.run_blocking, x(1))
            await closing
        return [await task for task in tasks]

    assert [answer["y"].tolist() for answer in asyncio.run(main())] == [squares(i) for i in range(6)]


def test_closing_twice_is_allowed_and_leaves_the_session_open(watch):
    session = watch()
    with ortx.Batcher(session) as batcher:
        assert not batcher.closed
        batcher.close()
        assert batcher.closed
    assert session.run(x(2))["y"].tolist() == squares(2)


def test_while_a_batcher_is_closed_a_request_is_answered_or_refused(watch):
    session = watch()
    for _ in range(50):
        batcher = ortx.Batcher(session, workers=2, max_batch_size=3)
        began = threading.Barrier(4)

        def ask(batcher: ortx.Batcher = batcher, began: threading.Barrier = began) -> int:
            began.wait(SECONDS)
            for count in range(10**6):
                try:
                    assert batcher.run_blocking(x(count), timeout=SECONDS)["y"].tolist() == squares(count)
                except ortx.SessionClosed:
                    return count
            return -1

        with ThreadPoolExecutor(3) as pool:
            jobs = [pool.submit(ask) for _ in range(3)]
            began.wait(SECONDS)
            batcher.close()
        assert batcher.stats() == {**batcher.stats(), "requests": sum(job.result() for job in jobs), "waiting": 0}


def batcher_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("ortx-batcher")]


def test_the_threads_of_a_batcher_that_nobody_has_end(watch):
    session = watch()
    batcher = ortx.Batcher(session, workers=2)
    assert batcher.run_blocking(x(1))["y"].tolist() == squares(1)
    threads = batcher_threads()
    assert len(threads) == 2
    assert all(thread.daemon for thread in threads)
    gone = weakref.ref(batcher, lambda _: None)
    del batcher
    gc.collect()
    assert gone() is None
    for thread in threads:
        thread.join(SECONDS)
    assert batcher_threads() == []


@pytest.mark.parametrize("rows", [1, 3], ids=["joined", "by itself"])
def test_no_array_is_kept_when_the_answer_is_given(watch, rows):
    session = watch()
    with ortx.Batcher(session, max_batch_size=2) as batcher:
        given_ = x(*range(rows))
        outputs = batcher.run_blocking(given_)
        references = [weakref.ref(given_["x"]), weakref.ref(outputs["y"])]
        session.runs.clear()
        del given_, outputs
        batcher.close()
        assert [reference() for reference in references] == [None, None]


# --- what is refused at once


def declared(inputs: list[Any], outputs: list[Any]) -> bytes:
    """Return a model that only has to be loaded: every output is a copy of the first input."""
    nodes = [helper.make_node("Identity", [inputs[0].name], [output.name]) for output in outputs]
    return models.build(nodes, inputs, outputs)


tensor = models.tensor
REFUSED = {
    "a fixed first axis of an input": (
        declared([tensor("x", shape=(1, 2))], [tensor("y", shape=("n", 2))]),
        r"input 'x' has a fixed first axis: float32 of shape \(1, 2\)",
    ),
    "one of several inputs": (models.add(), r"input 'bias' has a fixed first axis: float32 of shape \(1, 2\)"),
    "a fixed first axis of an output": (
        models.build([helper.make_node("ReduceSum", ["x"], ["y"])], [tensor("x")], [tensor("y", shape=(1, 1))]),
        r"output 'y' has a fixed first axis: float32 of shape \(1, 1\)",
    ),
    "a scalar": (
        models.build([helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)], [tensor("x")], [tensor("y", shape=())]),
        r"output 'y' (is a scalar|has no declared shape): float32 of (shape \(\)|any shape)",
    ),
    "no shape": (models.identity(), "input 'x' has no declared shape: float32 of any shape"),
    "another axis": (
        models.build(
            [helper.make_node("Gather", ["x", "i"], ["y"])],
            [tensor("x"), tensor("i", "int64", ("k",))],
            [tensor("y", shape=("k", 2))],
        ),
        r"input 'i' has the first axis 'k', and input 'x' has 'n': int64 of shape \(k,\)(.|\n)*output 'y' has",
    ),
    "a sequence": (models.sequence_output(), r"output 'both' is no tensor: seq\(tensor\(float\)\)"),
    "no inputs": (
        models.build(
            [helper.make_node("Constant", [], ["y"], value=models.constant("v", [[1, 2]]))], [], [tensor("y")]
        ),
        "it has no inputs",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_without_a_common_axis_is_refused(name):
    model, message = REFUSED[name]
    threads = len(batcher_threads())
    session = ortx.session_from_bytes(model, session_log_severity_level=4)
    with session, pytest.raises(ortx.NotSupported, match=rf"^Batcher: the model cannot be batched: (.|\n)*{message}"):
        ortx.Batcher(session)
    assert len(batcher_threads()) == threads


def test_axes_without_a_name_are_taken_for_the_common_one(watch):
    session = watch(
        declared([tensor("x", shape=(None, 2))], [tensor("y", shape=("n", 2)), tensor("z", shape=(None, 2))])
    )
    with ortx.Batcher(session) as batcher:
        assert batcher.run_blocking(x(1)).keys() == ("y", "z")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"max_batch_size": 0},
            ortx.OptionError,
            "option 'max_batch_size': got 0 .int.; expected an integer, at least 1",
        ),
        ({"max_batch_size": 1.5}, ortx.OptionTypeError, "option 'max_batch_size': got 1.5 .float.; expected an int"),
        ({"workers": -1}, ortx.OptionError, "option 'workers': got -1"),
        ({"max_delay": -1}, ortx.OptionError, "option 'max_delay': got -1 .int.; expected a number of seconds"),
        ({"max_delay": "1"}, ortx.OptionTypeError, "option 'max_delay': got '1' .str.; expected a number of seconds"),
        (
            {"max_delay": True},
            ortx.OptionTypeError,
            "option 'max_delay': got True .bool.; expected a number of seconds",
        ),
        ({"max_delay": 10**400}, ortx.OptionError, "option 'max_delay': .* not too large for a float"),
        ({"max_batch_size": True}, ortx.OptionTypeError, "option 'max_batch_size': got True .bool.; expected an int"),
        ({"workers": np.True_}, ortx.OptionTypeError, "option 'workers': got np.True_ .bool.; expected an integer"),
        ({"output_names": "y"}, ortx.OptionTypeError, "option 'output_names': got 'y' .str.; expected a sequence"),
        ({"output_names": ["y", "y"]}, ortx.OptionTypeError, "expected a sequence of names, each once"),
        ({"output_names": ["z"]}, ortx.InvalidArgument, "'z'"),
    ],
)
def test_a_wrong_option_is_refused(watch, options, error, message):
    with pytest.raises(error, match=message):
        ortx.Batcher(watch(), **options)
    assert batcher_threads() == []


def test_what_is_no_session_is_refused():
    with pytest.raises(ortx.OptionTypeError, match="Batcher: got 'model.onnx' .str.; expected an ortx.Session"):
        ortx.Batcher("model.onnx")


def test_a_closed_session_is_refused_at_once(watch):
    session = watch()
    session.close()
    for closed in (session, session.session):
        with pytest.raises(ortx.SessionClosed, match="is closed; make a new one"):
            ortx.Batcher(closed)
    assert batcher_threads() == []


def test_without_ml_dtypes_no_array_has_one_of_its_types(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    from ortx import batcher

    info = ortx.ValueInfo(name="x", onnx_type="tensor", type="tensor(float4e2m1)", data_type="no_such_type")
    assert batcher._dtype_of(info) == np.dtype("V")


# --- the end of the process, and fork


PREPARE = """
import asyncio, atexit, os, signal, sys, threading, warnings
import numpy as np, ortx
warnings.simplefilter("ignore", DeprecationWarning)  # Python's: there are threads, and fork does not take them along
x = np.eye(256, dtype=np.float32)[None]
session = ortx.session(sys.argv[1], intra_op_num_threads=1)
batcher = ortx.Batcher(session, max_batch_size=1)
def ask():
    print(batcher.run_blocking([x])["y"].shape, flush=True)
"""

ENDINGS: dict[str, tuple[str, str]] = {
    "nothing was asked": ("", ""),
    "all is answered": ("ask()", "(1, 256, 256)\n"),
    "a thread waits": ("threading.Thread(target=ask).start()", "(1, 256, 256)\n"),
    "daemon threads wait": (
        "for _ in range(20): threading.Thread(target=batcher.run_blocking, args=([x],), daemon=True).start()\n"
        "while batcher.stats()['waiting'] < 10: pass",
        None,
    ),
    "a loop gave up": (
        "async def main():\n"
        "    try:\n"
        "        await asyncio.wait_for(batcher.run([x]), 0.001)\n"
        "    except TimeoutError:\n"
        "        print('late')\n"
        "for _ in range(10): asyncio.run(main())",
        "late\n" * 10,
    ),
    "tasks are pending": (
        "async def main():\n"
        "    tasks = [asyncio.create_task(batcher.run([x])) for _ in range(10)]\n"
        "    await asyncio.sleep(0)\n"
        "    sys.exit(0)\n"
        "asyncio.run(main())",
        "",
    ),
    "an exit handler from before asks": (
        "def late():\n    try: ask()\n    except ortx.SessionClosed as error: print(error)\natexit.register(late)",
        "(1, 256, 256)\n",
    ),
    "the session is closed": ("session.close()", ""),
    "nobody has it": ("del batcher", ""),
    "it hangs in a cycle": ("cycle = [batcher]; cycle.append(cycle); del batcher, cycle", ""),
}


def slow_rows() -> bytes:
    """y = a long chain of matrix products of each row of x with itself"""
    nodes = [helper.make_node("MatMul", [f"t{i}", "x"], [f"t{i + 1}"]) for i in range(60)]
    nodes[0].input[0] = "x"
    nodes[-1].output[0] = "y"
    shape = ("n", 256, 256)
    return models.build(nodes, [tensor("x", shape=shape)], [tensor("y", shape=shape)])


@pytest.mark.parametrize("state", ENDINGS)
def test_the_interpreter_exits_quietly_when(state, run_python: Callable[..., Any], tmp_path):
    (tmp_path / "slow.onnx").write_bytes(slow_rows())
    code, printed = ENDINGS[state]
    done = run_python(PREPARE + code, tmp_path / "slow.onnx")
    assert (done.returncode, done.stderr) == (0, "")
    if printed is not None:
        assert done.stdout == printed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which Windows does not have")
@pytest.mark.parametrize("leave", ["os._exit(7)", "sys.exit(7)"])
def test_in_a_forked_child_the_batcher_refuses_and_a_new_one_works(run_python, tmp_path, leave):
    (tmp_path / "square.onnx").write_bytes(models.square())
    done = run_python(
        f"""
import asyncio, os, signal, sys, warnings
import numpy as np, ortx
warnings.simplefilter("ignore", DeprecationWarning)
x = np.full((1, 2), 3, np.float32)
session = ortx.session(sys.argv[1], intra_op_num_threads=1)
batcher = ortx.Batcher(session, workers=2)
batcher.run_blocking([x])
child = os.fork()
if child == 0:
    signal.alarm(40)  # ends it with -SIGALRM if it hangs
    for ask in (lambda: batcher.run_blocking([x]), lambda: asyncio.run(batcher.run([x]))):
        try:
            ask()
        except ortx.ForkedSession as error:
            print(error, flush=True)
    print(batcher.closed, batcher.stats(), flush=True)
    batcher.close()
    try:
        ortx.Batcher(session)
    except ortx.ForkedSession as error:
        print("open it anew" in str(error), flush=True)
    new = ortx.Batcher(ortx.session(sys.argv[1], intra_op_num_threads=1))
    print(new.run_blocking([x])[0].tolist(), flush=True)
    {leave}
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), batcher.run_blocking([x])[0].tolist())
""",
        tmp_path / "square.onnx",
    )
    refusal = "run: this batcher was made before the fork, and its threads are in the parent; "
    refusal += "make a new one here, of a session that is opened here\n"
    stats = "True {'batches': 1, 'requests': 1, 'waiting': 0}\n"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == refusal * 2 + stats + "True\n[[9.0, 9.0]]\n7 [[9.0, 9.0]]\n"
