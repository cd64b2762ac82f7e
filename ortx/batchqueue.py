"""What lies between a `Batcher` and its session: requests that wait, the threads that run them, and their answers.

`Batcher.run` appends a `Request` to a deque and waits. A worker thread takes what is in the deque, joins it, runs the
session (without the GIL), cuts the outputs into views, and hands all answers of one event loop to it with one call.

No lock is taken for a request. What takes its place: appending to a deque and taking from it are atomic, by the GIL
or, on a free-threaded build, by a lock inside the deque. Whoever submits appends first and looks second, whether a
worker sleeps and whether the batcher is closed. A worker that goes to sleep puts itself on the list of sleepers first
and looks into the deque second, by taking from it; so does one that ends, after the refusal is set. Whichever of the
two comes to the deque later therefore sees what the other did before, and no request is left lying.

Behind the deque are groups of requests that can be joined, in two places: a deque of those whose turn it is, and a heap
of those that wait for company, the first to be due on top. So a batch costs what is in it, however much waits.
"""

from __future__ import annotations

import atexit
import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count as numbers_from
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy

from ._core import Error, ForkedSession, RunTimeout, SessionClosed, exiting, shown
from .threads import thread_refused

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from ._core import Outputs, Session

NEVER = math.inf


class Request:
    """What waits for a run, and then for its answer."""

    __slots__ = ("deadline", "error", "inputs", "is_dropped", "key", "loop", "outputs", "ripe", "rows", "waiter")

    outputs: Outputs
    error: BaseException | None

    def __init__(self, inputs: Any, rows: int, key: object, waiter: Any, loop: AbstractEventLoop | None) -> None:
        self.inputs = inputs  # for Session.run: a list of arrays in the model's order, or whatever the caller gave
        self.rows = rows
        self.key = key  # what it can be joined with has an equal one; None if there is nothing
        self.waiter = waiter  # a future of `loop`, or for a thread a lock that the answer opens
        self.loop = loop
        self.ripe = 0.0  # when it waits for others no longer
        self.deadline = NEVER
        self.is_dropped = False  # set by whoever asked, when nobody waits any more; too late is early enough

    def is_awaited(self, now: float) -> bool:
        return not self.is_dropped and self.deadline > now


class Group:
    """Requests that can be joined, in the order they came."""

    __slots__ = ("due", "has_turn", "key", "requests", "rows")

    def __init__(self, key: object) -> None:
        self.key = key  # None: of one request, which cannot be joined with any
        self.requests: deque[Request] = deque()
        self.rows = 0  # of all of them, at least those that are still wanted
        self.has_turn = False
        self.due: float | None = None  # when its turn comes at last; None if that is not in the heap


class Shared:
    """What the batcher and its workers have in common; workers must not keep the batcher itself alive."""

    def __init__(
        self, session: Session, names: tuple[str, ...] | None, most: int, dtypes: list[numpy.dtype[Any]]
    ) -> None:
        self.session, self.names, self.most, self.dtypes = session, names, most, dtypes
        self.queue: deque[Request] = deque()
        self.sleepers: list[threading.Lock] = []  # each is a worker's own, held by it; to open it wakes the worker
        self.refusal: Callable[[], BaseException] | None = None  # makes what a new request raises
        self.forming = threading.Lock()  # guards what follows
        self.groups: dict[object, Group] = {}  # taken from the queue, by key
        self.turns: deque[Group] = deque()  # groups of which a batch can be taken, probably
        self.later: list[tuple[float, int, Group]] = []  # a heap; an entry counts if it is when the group is due
        self.places = numbers_from()  # in the heap, of entries with the same time
        self.batches = self.requests = self.waiting = 0
        self.threads: list[threading.Thread] = []

    def start(self, count: int) -> None:
        _LIVE.add(self)
        for number in range(count):
            thread = threading.Thread(target=_work, args=(self,), name=f"ortx-batcher-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                self.close()  # for those that were started
                raise thread_refused(f"Batcher: thread {number + 1} of {count} cannot be started", error) from error
            self.threads.append(thread)

    def close(self) -> None:
        if self.refusal is None:
            self.refusal = _closed
        while self.sleepers:
            wake_one(self.sleepers)

    def join(self) -> None:
        for thread in self.threads:
            if thread is not threading.current_thread():
                thread.join()

    def drop(self) -> None:
        """Forget what waits, and end; only daemon threads can still wait for it, and they are to end silently."""
        if self.refusal is None:
            self.refusal = _exiting
        self.close()
        with self.forming:
            self._sort()
            for groups in (self.groups, self.turns, self.later):
                groups.clear()
            self.waiting = 0
        self.join()

    def stats(self) -> dict[str, int]:
        with self.forming:
            waiting = len(self.queue) + self.waiting
            return {"batches": self.batches, "requests": self.requests, "waiting": waiting}

    # --- which requests go together

    def next_batch(self, wake: threading.Lock) -> list[Request] | None:
        """Wait until there is something to run, and return it; None when the batcher is closed and all is done."""
        is_listed = False
        try:
            while True:
                with self.forming:
                    batch, seconds = self._form()
                if batch:
                    return batch
                if seconds is None and self.refusal is not None and is_listed:
                    return None
                if not is_listed:
                    self.sleepers.append(wake)
                    is_listed = True
                    continue  # to look again for what came before this was seen
                if wake.acquire(timeout=-1 if seconds is None else min(seconds, threading.TIMEOUT_MAX)):
                    is_listed = False
        finally:
            if is_listed:
                try:
                    self.sleepers.remove(wake)
                except ValueError:  # somebody took it from there a moment ago, and opens it now
                    wake.acquire()

    def _sort(self) -> None:
        """Move what is in the queue to the groups."""
        popleft, groups = self.queue.popleft, self.groups
        with suppress(IndexError):
            while True:
                request = popleft()
                self.waiting += 1
                group = groups.get(request.key)  # there is none for None
                if group is None:
                    group = Group(request.key)
                    if request.key is not None:
                        groups[request.key] = group
                group.requests.append(request)
                group.rows += request.rows
                if not group.has_turn:
                    if group.rows >= self.most or not request.ripe:
                        self._give_turn(group)
                    elif group.due is None or request.ripe < group.due:
                        self._put_off(group, request.ripe)

    def _give_turn(self, group: Group) -> None:
        group.has_turn, group.due = True, None
        self.turns.append(group)

    def _put_off(self, group: Group, due: float) -> None:
        group.has_turn, group.due = False, due
        heappush(self.later, (due, next(self.places), group))
        if len(self.later) > 2 * len(self.groups) + 64:  # mostly of groups that were full before they were due
            self.later = [entry for entry in self.later if entry[0] == entry[2].due]
            heapify(self.later)

    def _form(self) -> tuple[list[Request], float | None]:
        """Return a batch; if it is empty, also in how many seconds there will be one, None if nothing waits."""
        self._sort()
        now, later = monotonic(), self.later
        while later and (later[0][0] <= now or later[0][0] != later[0][2].due or self.refusal is not None):
            due, _, group = heappop(later)
            if due == group.due:
                self._give_turn(group)
        while self.turns:
            group = self.turns.popleft()
            due = 0.0 if self.refusal is not None else self._due(group, now)  # anew: requests may have been given up
            if due > now:
                self._put_off(group, due)
                continue
            batch = self._taken(group, now)
            if group.requests:
                self.turns.append(group)  # behind the others, so that each has its turn
            elif group.key is not None:
                del self.groups[group.key]
            if batch:
                self.batches += 1
                self.requests += len(batch)
                return batch, None
        return [], self.later[0][0] - now if self.later else None

    def _due(self, group: Group, now: float) -> float:
        """Return when a group's first batch is to be run: when it is full, or one of its requests has waited enough."""
        rows, due = 0, NEVER
        for request in group.requests:
            if not request.is_dropped and request.deadline > now:  # `is_awaited`, where a call would be noticed
                rows += request.rows
                due = min(due, request.ripe)
                if rows >= self.most or not due:
                    return 0.0
        if rows < group.rows:  # forget who has given up, so that nobody looks at them again
            self.waiting -= len(group.requests)
            group.requests = deque([request for request in group.requests if request.is_awaited(now)])
            group.rows = sum([request.rows for request in group.requests])
            self.waiting += len(group.requests)
        return due if group.rows else 0.0

    def _taken(self, group: Group, now: float) -> list[Request]:
        """Take a batch from the front of a group; who is too late is left out, and finds out by itself."""
        batch: list[Request] = []
        room = self.most
        while group.requests and room:
            request = group.requests[0]
            if request.is_awaited(now):
                if request.rows > room:
                    break
                batch.append(request)
                room -= request.rows
            group.requests.popleft()
            group.rows -= request.rows
            self.waiting -= 1
        return batch

    # --- run them

    def run(self, batch: list[Request], buffers: list[Any]) -> None:
        """Run a batch and answer its requests."""
        if (self.queue or self.waiting) and self.sleepers:
            wake_one(self.sleepers)  # more is waiting than went into this batch
        if len(batch) == 1:
            self._run_alone(batch[0])
        else:
            try:
                outputs = self.session.run(self._joined(batch, buffers), self.names)
                self._split(outputs, batch)
            except Exception:  # whose fault it is shows when each runs by itself
                batch = [request for request in batch if self._runs_alone(request)]
        _deliver(batch)

    def _runs_alone(self, request: Request) -> bool:
        """Run a request by itself, but not for nobody; return whether it was run."""
        is_awaited = request.is_awaited(monotonic())
        if is_awaited:
            self._run_alone(request)
        return is_awaited

    def _run_alone(self, request: Request) -> None:
        try:
            outputs = self.session.run(request.inputs, self.names)
            if request.key is None:
                request.outputs, request.error = outputs, None
            else:
                self._split(outputs, [request])
        except BaseException as error:  # nothing may end this thread
            request.error = error.with_traceback(None)  # which leads back to the request

    def _joined(self, batch: list[Request], buffers: list[Any]) -> list[Any]:
        """Return the inputs of a batch. They lie in this worker's buffers: fresh memory costs more than copying."""
        rows = sum([request.rows for request in batch])
        joined = []
        for position, dtype in enumerate(self.dtypes):
            parts = [request.inputs[position] for request in batch]
            if dtype.hasobject:  # strings, which the buffer would keep
                joined.append(numpy.concatenate(parts))
                continue
            shape = (rows, *parts[0].shape[1:])
            size = math.prod(shape)
            if buffers[position] is None or buffers[position].size < size:
                buffers[position] = numpy.empty(size // rows * self.most, dtype)
            joined.append(numpy.concatenate(parts, out=buffers[position][:size].reshape(shape)))
        return joined

    def _split(self, outputs: Any, batch: list[Request]) -> None:
        """Give each request its rows of the outputs."""
        rows = sum([request.rows for request in batch])
        wrong = [
            f"output {name!r} has {f'the shape {value.shape}' if isinstance(value, numpy.ndarray) else shown(value)}"
            for name, value in outputs.items()
            if (value.shape[:1] != (rows,) if isinstance(value, numpy.ndarray) else len(value) != rows)
        ]
        start = 0
        for request in batch:
            if wrong:
                request.error = Error(
                    f"run: a batch of {rows} rows cannot be cut into its requests: {'; '.join(wrong)}; "
                    "run this model without a Batcher"
                )
                continue
            request.outputs, request.error = outputs._rows(start, start + request.rows), None
            start += request.rows


def _work(shared: Shared) -> None:
    """Run batches until the batcher is closed and nothing waits."""
    wake = threading.Lock()
    wake.acquire()
    buffers: list[Any] = [None] * len(shared.dtypes)
    while (batch := shared.next_batch(wake)) is not None:
        shared.run(batch, buffers)
        del batch  # or its arrays would be kept while this waits


def wake_one(sleepers: list[threading.Lock]) -> None:
    with suppress(IndexError):  # another thread has woken it
        sleepers.pop().release()


# --- answers


def _deliver(batch: list[Request]) -> None:
    """Tell everybody who waits, each event loop once."""
    loops: dict[AbstractEventLoop, list[Request]] = {}
    for request in batch:
        if request.loop is None:
            request.waiter.release()
        else:
            loops.setdefault(request.loop, []).append(request)
    for loop, requests in loops.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits there
            loop.call_soon_threadsafe(_answer, requests)


def _answer(requests: list[Request]) -> None:
    for request in requests:
        future = request.waiter
        if not future.done():  # cancelled, or too late
            if request.error is None:
                future.set_result(request.outputs)
            else:
                future.set_exception(request.error)


def expire(request: Request, seconds: float) -> None:
    request.is_dropped = True
    if not request.waiter.done():
        request.waiter.set_exception(timed_out(seconds))


def timed_out(seconds: float) -> RunTimeout:
    return RunTimeout(f"run: no answer from the batcher within {seconds:g} seconds")


def _closed() -> Error:
    return SessionClosed("run: the batcher is closed; make a new ortx.Batcher of the session")


def _exiting() -> BaseException:
    error = exiting("run")
    return _closed() if isinstance(error, Error) else error


def _forked() -> Error:
    return ForkedSession(
        "run: this batcher was made before the fork, and its threads are in the parent; make a new one here, of a "
        "session that is opened here"
    )


# --- the process: batchers that have not ended

_LIVE: weakref.WeakSet[Shared] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for shared in list(_LIVE):
        if shared.refusal is None:
            shared.refusal = _forked
        shared.forming = threading.Lock()  # a thread of the parent may have held it
        shared.threads.clear()
        shared.sleepers.clear()
    _LIVE.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


@atexit.register
def _stop_at_exit() -> None:
    """Leave no thread inside of ONNX Runtime while the process takes it down."""
    for shared in list(_LIVE):
        shared.drop()
