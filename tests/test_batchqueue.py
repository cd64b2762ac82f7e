"""The queue behind `ortx.Batcher` (`ortx/batchqueue.py`): what is taken when, and how much work that is."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import models
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ortx
from ortx import batchqueue
from ortx.batchqueue import Request, Shared

MOST = 8  # rows of a batch
HOUR = 3600.0


class Counted(Request):
    """A request that counts how often somebody looks at it."""

    looks = 0
    dropped = False

    @property
    def is_dropped(self) -> bool:
        Counted.looks += 1
        return self.dropped

    @is_dropped.setter
    def is_dropped(self, is_dropped: bool) -> None:
        self.dropped = is_dropped


def queue() -> Shared:
    """Make what a batcher and its workers have in common, without workers."""
    Counted.looks = 0
    return Shared(None, None, MOST, [])


def request(key: object, rows: int = 1, patience: float = HOUR) -> Counted:
    made = Counted(None, rows, key, None, None)
    made.ripe = time.monotonic() + patience if patience else 0.0
    return made


def all_batches(shared: Shared) -> list[list[Request]]:
    batches = []
    while batch := shared._form()[0]:
        batches.append(batch)
    return batches


# --- how much work it is


@pytest.mark.parametrize("has_key", [False, True], ids=["cannot be joined", "of different shapes"])
def test_work_grows_with_the_number_of_waiting_requests_and_not_with_its_square(has_key):
    def seconds(count: int) -> float:
        shared = queue()
        shared.queue.extend(request(number if has_key else None, MOST, 0.0) for number in range(count))
        begin = time.thread_time()
        assert len(all_batches(shared)) == count
        return time.thread_time() - begin

    few, many = (min(seconds(count) for _ in range(3)) for count in (500, 8000))
    assert many < 4 * 16 * few  # the square would be 256 times as much


def test_groups_that_wait_for_company_are_not_looked_at_for_each_batch():
    shared = queue()
    shared.queue.extend(request(number) for number in range(2000))
    assert shared._form()[0] == []
    for _ in range(100):
        full = request("full", MOST)
        shared.queue.append(full)
        assert shared._form()[0] == [full]
    assert shared.stats()["waiting"] == 2000
    assert Counted.looks < 1000


def test_requests_that_were_dropped_are_not_looked_at_again_and_again():
    shared = queue()
    patient = request("key")
    shared.queue.append(patient)
    for _ in range(2000):
        dropped = request("key")
        shared.queue.append(dropped)
        assert shared._form()[0] == []
        dropped.is_dropped = True
    assert Counted.looks < 5 * 2000
    assert shared.stats()["waiting"] <= MOST
    patient.ripe = 0.0
    shared.queue.extend(request("key") for _ in range(MOST - 1))
    (batch,) = all_batches(shared)
    assert batch[0] is patient
    assert shared.stats()["waiting"] == 0


def test_groups_that_were_full_before_they_were_due_leave_nothing_behind():
    shared = queue()
    for _ in range(1000):
        shared.queue.append(request("key"))
        assert shared._form()[0] == []
        shared.queue.extend(request("key") for _ in range(MOST - 1))
        assert len(shared._form()[0]) == MOST
    assert len(shared.later) < 100
    assert (shared.groups, shared.turns) == ({}, batchqueue.deque())


# --- what is taken when

STEP = st.one_of(
    st.tuples(
        st.just("ask"),
        st.sampled_from([None, "a", "b", "c"]),
        st.integers(1, MOST),
        st.sampled_from([0.0, 3.0, 5.0, float("inf")]),  # how long it waits for company
        st.sampled_from([2.0, 9.0, float("inf")]),  # how long for its answer
    ),
    st.tuples(st.just("drop"), st.integers(0, 30)),
    st.tuples(st.just("time"), st.integers(1, 4)),
    st.tuples(st.just("form")),
)


@settings(max_examples=300)
@given(steps=st.lists(STEP, max_size=60))
def test_any_requests_are_taken_once_in_their_order_when_they_are_due_and_not_sooner(steps):
    now, live, taken = 0.0, [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batchqueue, "monotonic", lambda: now)
        shared = Shared(None, None, MOST, [])

        def is_due(group: list[Request]) -> bool:
            return sum(one.rows for one in group) >= MOST or any(one.ripe <= now for one in group)

        def form() -> bool:
            live[:] = [one for one in live if one.deadline > now]
            batch, seconds = shared._form()
            if not batch:
                assert not any(is_due([one for one in live if one.key == key]) for key in (None, "a", "b", "c"))
                assert not live or seconds <= min(one.ripe for one in live) - now
                return False
            key = batch[0].key
            group = [one for one in live if one.key == key] if key else [*batch]
            assert shared.refusal or is_due(group)
            room = MOST - sum(one.rows for one in batch)
            assert room >= 0
            assert batch == group[: len(batch)]
            assert len(batch) == len(group) or group[len(batch)].rows > room
            for one in batch:
                live.remove(one)
            taken.extend(batch)
            return True

        for kind, *values in steps:
            if kind == "ask":
                key, rows, patience, timeout = values
                one = Request(None, MOST if key is None else rows, key, None, None)
                one.ripe, one.deadline = 0.0 if key is None or not patience else now + patience, now + timeout
                shared.queue.append(one)
                live.append(one)
            elif kind == "drop" and values[0] < len(live):
                live.pop(values[0]).is_dropped = True
            elif kind == "time":
                now += values[0]
            elif kind == "form":
                form()
        shared.refusal = lambda: ortx.SessionClosed("closed")
        while form():
            pass
        assert live == []
        assert len(taken) == len(set(map(id, taken)))
        assert shared.stats()["waiting"] == 0
        assert (shared.groups, shared.later) == ({}, [])


# --- a batch that fails


def test_when_a_batch_fails_nothing_is_run_for_those_who_have_given_up():
    begun, may_fail = threading.Event(), threading.Event()
    rows = []

    class Failing:
        def __init__(self, session: ortx.Session) -> None:
            self.session = session

        def __getattr__(self, name: str) -> Any:
            return getattr(self.session, name)

        def run(self, inputs: list[np.ndarray], names: object) -> ortx.Outputs:
            rows.append(inputs[0][:, 0].tolist())
            if len(inputs[0]) > 1:
                begun.set()
                assert may_fail.wait(60)
                raise ortx.Error("too many rows")
            return self.session.run(inputs, names)

    async def main(batcher: ortx.Batcher) -> list[Any]:
        def ask(value: float, **more: float) -> asyncio.Task[ortx.Outputs]:
            return asyncio.create_task(batcher.run([np.full((1, 2), value, np.float32)], **more))

        late, cancelled, patient, last = ask(1, timeout=0.05), ask(2), ask(3, timeout=60), ask(4)
        blocking = asyncio.create_task(
            asyncio.to_thread(batcher.run_blocking, [np.full((1, 2), 5, np.float32)], timeout=0.05)
        )
        assert await asyncio.to_thread(begun.wait, 60)
        cancelled.cancel()
        errors = await asyncio.gather(late, cancelled, blocking, return_exceptions=True)
        may_fail.set()
        return [*map(type, errors), (await patient)["y"].tolist(), (await last)["y"].tolist()]

    session = ortx.session_from_bytes(models.square(), intra_op_num_threads=1)
    with session, ortx.Batcher(Failing(session), max_batch_size=5, max_delay=60) as batcher:
        answers = asyncio.run(main(batcher))
        assert batcher.stats()["batches"] == 1
    assert answers == [ortx.RunTimeout, asyncio.CancelledError, ortx.RunTimeout, [[9, 9]], [[16, 16]]]
    assert sorted(rows[0]) == [1, 2, 3, 4, 5]
    assert sorted(rows[1:]) == [[3], [4]]
