"""Dynamic batching: requests of many callers, joined along the first axis into few runs of a session."""

from __future__ import annotations

import threading
from asyncio import get_running_loop
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Never, Self

import numpy

from . import arguments
from ._core import NotPicklable, NotSupported, OptionTypeError, shown
from .batchqueue import NEVER, Request, Shared, expire, timed_out, wake_one

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

    from ._core import Outputs, Session
    from .valueinfo import ValueInfo

__all__ = ["Batcher"]


class Batcher:
    """Join the requests of many callers into few runs of a session.

    Each request is what `Session.run` takes, and gets what `Session.run` returns; its arrays are joined with those of
    others along the first axis, and the outputs cut apart again without copying. Batches form while the one before
    runs: a free worker takes what is waiting, so a lonely request is run at once, and the more there are the larger the
    batches.

    Parameters
    ----------
    session : Session
        What runs the batches. It may be used directly at the same time, and is not closed with the batcher. All inputs
        and outputs need a first axis that is not fixed, and whose name, where it has one, is the same everywhere. The
        rows of a batch must not depend on each other: nothing in a model says that, so nothing can check it.
    max_batch_size : int, default 32
        How many rows are joined at most. A request that has more is run by itself.
    max_delay : float, default 0.0
        Seconds that a request waits at most for others to fill its batch while a worker is free; no longer than half of
        its own ``timeout``. With 0 it waits only while all workers are busy.
    output_names : sequence of str, optional
        Which outputs to compute, in which order; all by default. Only these need the common axis.
    workers : int, default 1
        How many batches may run at the same time, each on a thread of its own.

    Raises
    ------
    NotSupported
        If the model's inputs or outputs have no first axis in common; the message says which, and their shapes.
    OptionError, OptionTypeError
        If an argument cannot be used.
    SessionClosed, ForkedSession
        If the session is closed, or was opened before this process was forked.
    Error
        From `Session.output_info`, for a name in `output_names` that the model does not have; or if the system refuses
        to start the threads.

    Notes
    -----
    Safe to call from any number of threads and event loops. Threads are started at once, and end with `close`, or when
    the last reference goes. A process that exits waits for running batches and drops what has not begun. In a forked
    child the batcher raises `ForkedSession`: its threads are in the parent.
    """

    def __init__(
        self,
        session: Session,
        *,
        max_batch_size: int = 32,
        max_delay: float = 0.0,
        output_names: Sequence[str] | None = None,
        workers: int = 1,
    ) -> None:
        if not hasattr(session, "input_info"):
            raise OptionTypeError(f"Batcher: got {shown(session)}; expected an ortx.Session, from ortx.session(path)")
        if getattr(session, "closed", False):
            session.create_io_binding()  # raises what says why it takes no calls
        most = arguments.count_option("Batcher", "max_batch_size", max_batch_size)
        self._delay = arguments.seconds_option("Batcher", "max_delay", max_delay)
        count = arguments.count_option("Batcher", "workers", workers)
        names = None if output_names is None else _names(output_names)
        inputs = [session.input_info(name) for name in session.input_names()]
        outputs = [session.output_info(name) for name in (session.output_names() if names is None else names)]
        _refuse_what_cannot_be_batched(inputs, outputs)
        dtypes = [_dtype_of(info) for info in inputs]
        shapes = [info.shape[1:] for info in inputs if info.shape is not None]
        self._kinds = list(zip(range(len(inputs)), session.input_names(), dtypes, shapes, strict=True))
        # Only where the other dimensions are open, requests differ in what they can be joined with.
        self._is_uniform = all(min(shape, default=0) >= 0 for shape in shapes)
        self._most = most
        self._shared = shared = Shared(session, names, most, dtypes)
        self._queue = shared.queue
        self._sleepers = shared.sleepers
        shared.start(count)

    # --- requests ---

    async def run(self, inputs: Mapping[str, object] | Sequence[object], *, timeout: float | None = None) -> Outputs:
        """Run the model on `inputs`, together with other requests, and return the outputs.

        Parameters
        ----------
        inputs : mapping or sequence
            As for `Session.run`. Joined with others are numpy arrays of exactly the declared element type and shape
            that have the same number of rows, one at least; they may have any layout. Whatever else `Session.run`
            takes, lists for example, is run by itself, and what it refuses fails by itself. Arrays may not be changed
            before the answer is there.
        timeout : float, optional
            Seconds until the request gives up, wherever it is. If it was still waiting it takes no part in a batch; if
            its batch was running, its part of the result is dropped. The others do not notice.

        Returns
        -------
        Outputs
            As from `Session.run`. Its arrays are views of those of the whole batch, and keep that memory.

        Raises
        ------
        CallError
            As from `Session.run`. If a batch fails, its requests are run one by one, so only a bad one fails; those
            that were given up meanwhile are left out.
        RunTimeout
            If there was no answer within `timeout`.
        SessionClosed
            If the batcher or the session is closed.
        ForkedSession
            In a forked child of the process that made the batcher.
        InvalidType, InvalidArgument
            If `timeout` is no number of seconds, or less than 0.
        Error
            If the model fails while it runs, or if an output has not as many rows as went in.

        Notes
        -----
        For use in an asyncio event loop, or one that is compatible; any number of loops may share a batcher. If the
        task is cancelled, its request leaves the queue, or its part of the result is dropped.
        """
        loop = get_running_loop()
        future: Future[Outputs] = loop.create_future()
        request = self._request(inputs, future, loop)
        timer = None
        try:
            if timeout is not None:
                seconds = self._limit(request, timeout)
                if seconds < NEVER:
                    timer = loop.call_later(seconds, expire, request, seconds)
            self._submit(request)
            return await future
        except BaseException:  # an error, or the task was cancelled
            request.is_dropped = True
            raise
        finally:
            if timer is not None:
                timer.cancel()
            del future, request  # an exception's traceback leads here, and both lead to the exception

    def run_blocking(self, inputs: Mapping[str, object] | Sequence[object], *, timeout: float | None = None) -> Outputs:
        """Do the same as `run` for a thread, which waits.

        Parameters
        ----------
        inputs, timeout
            As for `run`.

        Returns
        -------
        Outputs
            As from `run`.

        Raises
        ------
        CallError, RunTimeout, SessionClosed, Error
            As from `run`.

        Notes
        -----
        Safe to call from any thread but that of a running event loop, which would stand still.
        """
        answered = threading.Lock()
        answered.acquire()
        request = self._request(inputs, answered, None)
        try:
            limit = -1.0 if timeout is None else min(self._limit(request, timeout), threading.TIMEOUT_MAX)
            self._submit(request)
            if not answered.acquire(timeout=limit):
                raise timed_out(limit)
            if request.error is not None:
                raise request.error
            return request.outputs
        except BaseException:  # an error, or KeyboardInterrupt
            request.is_dropped = True
            raise
        finally:
            del request  # an exception's traceback leads here

    def _request(
        self,
        inputs: Mapping[str, object] | Sequence[object],
        waiter: Future[Outputs] | threading.Lock,
        loop: AbstractEventLoop | None,
    ) -> Request:
        """Make a request; one that cannot be joined, for whatever reason, has the rows of a full batch."""
        rows, arrays = self._arrays_of(inputs)
        if not 0 < rows <= self._most:
            return Request(inputs, self._most, None, waiter, loop)
        key = () if self._is_uniform else tuple([array.shape[1:] for array in arrays])
        request = Request(arrays, rows, key, waiter, loop)
        if self._delay:
            request.ripe = monotonic() + self._delay
        return request

    def _arrays_of(self, inputs: Mapping[str, object] | Sequence[object]) -> tuple[int, list[Any]]:
        """Return how many rows all arrays have, and these; no rows if one of them is not plainly what is declared."""
        given: Any = inputs
        is_dict = type(given) is dict
        if not (is_dict or isinstance(given, (list, tuple))) or len(given) != len(self._kinds):
            return 0, []
        rows, arrays = 0, []
        for place, name, dtype, declared in self._kinds:
            array = given.get(name) if is_dict else given[place]
            if type(array) is not numpy.ndarray or array.dtype != dtype:
                return 0, []
            shape = array.shape
            if not shape or not shape[0] or rows not in (0, shape[0]):
                return 0, []
            if shape[1:] != declared and not _fits(shape[1:], declared):
                return 0, []
            rows = shape[0]
            arrays.append(array)
        return rows, arrays

    def _limit(self, request: Request, timeout: float) -> float:
        """Give the request its deadline."""
        seconds = arguments.timeout("run", timeout)
        if seconds == 0:
            raise timed_out(seconds)
        now = monotonic()
        request.deadline = now + seconds
        request.ripe = min(request.ripe, now + seconds / 2)
        return seconds

    def _submit(self, request: Request) -> None:
        self._queue.append(request)
        # Both only after the append: see the top of this module.
        if self._shared.refusal is not None:
            self._take_back(request)
        if self._sleepers:
            wake_one(self._sleepers)

    def _take_back(self, request: Request) -> None:
        """Raise what says why there are no requests any more, unless a worker has this one already."""
        refusal = self._shared.refusal
        try:
            self._queue.remove(request)
        except ValueError:
            return
        assert refusal is not None
        raise refusal()

    # --- end ---

    def close(self) -> None:
        """Take no more requests, wait until those that wait are answered, and end the threads.

        Closing twice is allowed, and so is closing while others submit: a request is answered, or refused with
        `SessionClosed`. Callable from any thread; an event loop that must not stand still meanwhile uses `aclose`.
        """
        self._shared.close()
        self._shared.join()

    async def aclose(self) -> None:
        """Do the same as `close` without blocking the event loop."""
        self._shared.close()
        await get_running_loop().run_in_executor(None, self._shared.join)

    @property
    def closed(self) -> bool:
        """Whether the batcher takes no more requests."""
        return self._shared.refusal is not None

    def stats(self) -> dict[str, int]:
        """Return counts since the batcher was made.

        ``requests`` that were run, in how many ``batches``, and how many are ``waiting`` now.
        """
        return self._shared.stats()

    def __reduce__(self) -> Never:
        raise NotPicklable(
            "an ortx.Batcher cannot be copied or pickled: it joins the requests of one process; make another one there "
            "(its session can be pickled)"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        shared = getattr(self, "_shared", None)
        if shared is not None:
            shared.close()


# --- arguments


def _names(value: object) -> tuple[str, ...]:
    names = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else ()
    if not names or len(set(names)) < len(names):
        raise OptionTypeError(
            f"Batcher: option 'output_names': got {shown(value)}; expected a sequence of names, each once"
        )
    return names


def _dtype_of(info: ValueInfo) -> numpy.dtype[Any]:
    """Return numpy's word for an element type; where it has none there is no array to join, and any word will do."""
    name = "object" if info.data_type == "string" else info.data_type
    try:
        return numpy.dtype(name)
    except TypeError:
        with suppress(ImportError):
            import ml_dtypes

            small: numpy.dtype[Any] = numpy.dtype(getattr(ml_dtypes, str(name)))
            return small
        return numpy.dtype("V")


def _fits(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    if len(shape) != len(declared):
        return False
    return all(size == wanted or wanted < 0 for size, wanted in zip(shape, declared, strict=True))


def _refuse_what_cannot_be_batched(inputs: list[ValueInfo], outputs: list[ValueInfo]) -> None:
    """Raise `NotSupported` if there is no axis along which all inputs and outputs can be joined and cut."""
    problems = [] if inputs else ["it has no inputs"]
    axis: tuple[str, str] | None = None  # its name, and who has it
    for kind, infos in (("input", inputs), ("output", outputs)):
        for info in infos:
            who = f"{kind} {info.name!r}"
            if kind == "output" and info.type.startswith("seq(map("):
                continue  # as from a classifier: a map for each row
            if info.onnx_type != "tensor":
                problems.append(f"{who} is no tensor: {info}")
            elif info.shape is None or info.symbolic_shape is None:
                problems.append(f"{who} has no declared shape: {info}")
            elif not info.shape:
                problems.append(f"{who} is a scalar: {info}")
            elif info.shape[0] >= 0:
                problems.append(f"{who} has a fixed first axis: {info}")
            elif name := info.symbolic_shape[0]:
                axis = axis or (name, who)
                if name != axis[0]:
                    problems.append(f"{who} has the first axis {name!r}, and {axis[1]} has {axis[0]!r}: {info}")
    if problems:
        raise NotSupported(
            "Batcher: the model cannot be batched: its inputs and outputs need a dynamic first axis in common:"
            + "".join(f"\n  - {problem}" for problem in problems)
        )
