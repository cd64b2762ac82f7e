"""Several sessions of one model that share its weights."""

from __future__ import annotations

import mmap
import operator
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import numpy

from . import _core, cpus, externalfiles, modelfile, stats
from ._core import InvalidArgument, InvalidProtobuf, InvalidType, NotSupported, OptionError, SessionClosed, shown
from .stats import Stats

__all__ = ["SessionPool"]

_SMALL = 1024  # bytes; of a smaller weight each session has its own copy: ONNX Runtime may want to compute with it
_UNPACKED = "session.disable_prepacking"

# TensorProto's number of an element type -> numpy's word, or that of ml_dtypes; of those that sessions can share.
_WORDS = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
}


class SessionPool:
    """Several sessions of one model, in one process, that hold its weights once.

    Every call goes to a session that no other call of the pool's is using, or, if there is none, to the one that is
    least busy. Any number of threads may use a pool at the same time. One session takes calls from any number of
    threads, too; a pool is for what makes these wait for each other inside ONNX Runtime: the threads of one session,
    its memory arena, or a provider whose runs are serialised.

    Parameters
    ----------
    model : str, os.PathLike or buffer
        As for `ortx.session` or `ortx.session_from_bytes`. Not in ONNX Runtime's own format, ``.ort``.
    count : int
        How many sessions, 1 or more.
    options : mapping, optional
        Options for all sessions, as for `ortx.session`, also as `keywords`. ``intra_op_num_threads`` is by default the
        number of CPUs that this process may use, divided by `count`. ``initializers``, ``prepacked_weights`` and
        ``external_data`` are the pool's own business.
    share : str, default "prepacked"
        How weights are shared. ``"prepacked"``: what the kernels make of them is held in one `PrepackedWeights`.
        ``"mapped"``: kernels use them as they are in the file next to the model, of which the system keeps one copy for
        all processes. Sessions open sooner, but some kernels are slower. For models with external data only.

    Attributes
    ----------
    sessions : tuple of Session
        The sessions, to look at. A call of one of them is not counted by the pool.

    Raises
    ------
    InvalidType, InvalidArgument
        If `count` or `share` is none of these, or if weights are to be mapped and are in the model itself.
    NotSupported
        If the weights cannot be shared: a model in ``.ort`` format, another provider than the CPU (a device has its own
        copy for each session), or a weight of 1 KB or more of an element type that cannot be shared.
    ExternalDataRefused, OptionError, OptionTypeError, NoSuchFile, InvalidProtobuf, Error
        As for `ortx.session`.

    Notes
    -----
    Shared is what the model holds. Of weights that ONNX Runtime computes anew while it optimises the graph, such as
    those of a convolution with a batch normalisation behind it, each session has its own. The files of the model must
    not be changed while the pool is open.
    """

    def __init__(
        self,
        model: object,
        count: int,
        options: Mapping[str, object] | None = None,
        /,
        *,
        share: str = "prepacked",
        **keywords: object,
    ) -> None:
        count = _count(count)
        if not isinstance(share, str) or share not in ("prepacked", "mapped"):
            raise InvalidArgument(f"ortx.SessionPool: share: got {shown(share)}; expected 'prepacked' or 'mapped'")
        given = _given(options, keywords, count)
        own = {**(options or {}), **keywords}.get("intra_op_num_threads")
        self._share, self._chose_threads = share, given.get("intra_op_num_threads") != own
        content = _content(model)
        folder = _folder(model, content, given)
        weights = _shareable(content)
        # Bytes cannot change, nor should a model's file; of another buffer its owner may do what he likes afterwards.
        given["initializers"] = _arrays(weights, folder, copies=not (_is_path(model) or isinstance(model, bytes)))
        if share == "prepacked":
            given["prepacked_weights"] = _core.PrepackedWeights()
        else:
            given["config_entries"] = _unpacked(weights, given.get("config_entries") or {})
        del weights
        del content
        sessions: list[_core.Session] = []
        try:
            for _ in range(count):
                sessions.append(_opened(model, given))
        except BaseException:
            for session in sessions:
                session.close()
            raise
        self.sessions = tuple(sessions)
        # Both operations on it are atomic, so this needs no lock. The last one used is used first: its memory is warm.
        self._free = deque(sessions)

    # --- run ---

    def run(
        self,
        inputs: Mapping[str, object] | Sequence[object],
        output_names: Sequence[str] | None = None,
        run_options: _core.RunOptions | None = None,
        *,
        timeout: float | None = None,
    ) -> _core.Outputs:
        """Run the model in one of the sessions.

        `inputs`, `output_names`, `run_options`, `timeout`, the outputs and the errors are those of `Session.run`. Safe
        to call from any thread.
        """
        session, is_free = self._take()
        try:
            return session.run(inputs, output_names, run_options, timeout=timeout)
        finally:
            if is_free:
                self._free.append(session)

    def run_into(
        self,
        inputs: Mapping[str, object] | Sequence[object],
        outputs: Mapping[str, object] | Sequence[object],
        run_options: _core.RunOptions | None = None,
        *,
        timeout: float | None = None,
    ) -> _core.Outputs:
        """Run the model in one of the sessions, and write the outputs into buffers of the caller's.

        `inputs`, `outputs`, `run_options`, `timeout`, what is returned and the errors are those of `Session.run_into`.
        Safe to call from any thread.
        """
        session, is_free = self._take()
        try:
            return session.run_into(inputs, outputs, run_options, timeout=timeout)
        finally:
            if is_free:
                self._free.append(session)

    def submit(
        self,
        inputs: Mapping[str, object] | Sequence[object],
        output_names: Sequence[str] | None = None,
        run_options: _core.RunOptions | None = None,
    ) -> Future[_core.Outputs]:
        """Begin to run the model in one of the sessions, and return at once.

        `inputs`, `output_names`, `run_options`, the future and the errors are those of `Session.submit`: mind that the
        sessions divide the CPUs among them by default, so that ``intra_op_num_threads`` may be too small for it. The
        session counts as busy until the run has ended. Safe to call from any thread.
        """
        session, is_free = self._take()
        try:
            future = session.submit(inputs, output_names, run_options)
        except BaseException:
            if is_free:
                self._free.append(session)
            raise
        if is_free:
            future.add_done_callback(lambda _: self._free.append(session))
        return future

    async def run_async(self, *arguments: Any, **keywords: Any) -> _core.Outputs:
        """Run the model in one of the sessions, and await the outputs.

        `arguments` and `keywords` are those of ``Session.run_async``, as are the outputs and the errors.
        """
        session: Any
        session, is_free = self._take()
        try:
            outputs: _core.Outputs = await session.run_async(*arguments, **keywords)
            return outputs
        finally:
            if is_free:
                self._free.append(session)

    def _take(self) -> tuple[_core.Session, bool]:
        """Return a session, and whether it was free and is to be given back."""
        try:
            return self._free.pop(), True
        except IndexError:
            return min(self.sessions, key=operator.attrgetter("running")), False

    # --- look at ---

    def stats(self) -> Stats:
        """Return what all sessions have done, as one `Stats`; that of each is its own, in `sessions`.

        Callable from any thread, also of a closed pool.
        """
        return stats.total(session.stats() for session in self.sessions)

    # --- close ---

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self.sessions[-1].closed

    def close(self) -> None:
        """Close all sessions: wait for running calls, then release everything, the shared weights included.

        Later calls raise `SessionClosed`. Closing twice is allowed. Callable from any thread.
        """
        for session in self.sessions:
            session.close()

    def __reduce__(self) -> tuple[Any, ...]:
        found: Any = _core._recipe_of_session(self.sessions[0])
        path, content, options, _ = found[1]
        left_out = {"initializers", "prepacked_weights", "external_data"}
        if self._chose_threads:
            left_out.add("intra_op_num_threads")
        given = {name: value for name, value in options.items() if name not in left_out}
        return _open_again, (path, content, len(self), self._share, given)

    def __enter__(self) -> Self:
        if self.closed:
            with suppress(SessionClosed):
                self.sessions[-1].metadata()  # says so if it was not closed, but made before a fork
            raise SessionClosed("the pool is closed; make a new one")
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.sessions)

    def __iter__(self) -> Iterator[_core.Session]:
        return iter(self.sessions)

    def __repr__(self) -> str:
        return f"<ortx.SessionPool of {len(self)}: {self.sessions[0]!r}>"


def _count(count: object) -> int:
    try:
        number = -1 if isinstance(count, bool) else operator.index(count)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if number < 1:
        kind = InvalidArgument if isinstance(count, int) and not isinstance(count, bool) else InvalidType
        raise kind(f"ortx.SessionPool: count: got {shown(count)}; expected a number of sessions, 1 or more")
    return number


def _given(options: Mapping[str, object] | None, keywords: Mapping[str, object], count: int) -> dict[str, Any]:
    """Return the options for each session, whose names and values are read when the first one is opened."""
    if options is not None and not isinstance(options, Mapping):
        raise InvalidType(f"ortx.SessionPool: options: got {shown(options)}; expected a mapping of option names")
    given = {**(options or {}), **keywords}
    for name in ("initializers", "prepacked_weights", "external_data"):
        if given.get(name) is not None:
            raise OptionError(f"ortx.SessionPool: option {name!r}: the pool shares all weights itself; leave it out")
    if not given.get("intra_op_num_threads") and not given.get("disable_per_session_threads"):
        given["intra_op_num_threads"] = max(1, cpus.available() // count)
    return given


def _open_again(path: str | None, content: Any, count: int, share: str, options: Mapping[str, object]) -> SessionPool:
    return SessionPool(content.buffer if path is None else path, count, options, share=share)


def _is_path(model: object) -> bool:
    return isinstance(model, (str, os.PathLike))


def _opened(model: Any, options: Mapping[str, object]) -> _core.Session:
    session = _core.session(model, options) if _is_path(model) else _core.session_from_bytes(model, options)
    others = [name for name in session.providers() if name != "CPUExecutionProvider"]
    if others:
        session.close()
        raise NotSupported(
            f"ortx.SessionPool: {', '.join(others)} copies the weights for each session, so they cannot be shared; use "
            "one session, from as many threads as you like"
        )
    return session


def _content(model: Any) -> memoryview:
    """Return the model's bytes, mapped or as they are."""
    try:
        if not _is_path(model):
            content = memoryview(model).cast("B")
        else:
            if not os.path.isfile(model):
                raise OSError("no regular file")  # to open a pipe would wait for somebody who writes into it
            with open(model, "rb") as file:
                content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, TypeError, ValueError) as error:
        (_core.session if _is_path(model) else _core.session_from_bytes)(model).close()  # says what is wrong, if it can
        raise InvalidArgument(
            f"ortx.SessionPool: model: got {shown(model)}; expected a file that can be mapped, or a buffer ({error})"
        ) from None
    if modelfile.is_ort_format(content):
        raise NotSupported(
            "ortx.SessionPool: the model is in ONNX Runtime's own format (.ort), whose weights ortx cannot share; use "
            "the .onnx model"
        )
    return content


def _folder(model: Any, content: memoryview, given: Mapping[str, Any]) -> str:
    """Return the folder that names of other files are relative to, and refuse names that lead out of it."""
    path = os.fspath(model) if _is_path(model) else None
    entries = given.get("config_entries")
    entries = (
        [*entries.items()] if isinstance(entries, Mapping) else []
    )  # anything else is refused by the first session
    allowed = given.get(externalfiles.ALLOWING) is True
    externalfiles.check("ortx.SessionPool", content, path=path, entries=entries, allowed=allowed)
    return [*externalfiles.folders(path, entries), os.curdir][0]


def _shareable(content: memoryview) -> dict[str, modelfile.Weights]:
    """Return the weights of which sessions hold one copy, by name; refuse a model with others."""
    try:
        found = modelfile.weights(content)
    except ValueError as error:
        raise InvalidProtobuf(f"ortx.SessionPool: the model is no ONNX model, or a damaged one ({error})") from None
    large = {name: weights for name, weights in found.items() if weights.data is None or len(weights.data) >= _SMALL}
    others = [
        f"{name!r} (element type {weights.data_type} of TensorProto, shape {weights.shape})"
        for name, weights in large.items()
        if weights.data_type not in _WORDS
    ]
    if others:
        raise NotSupported(
            f"ortx.SessionPool: weights of these element types cannot be shared: {', '.join(others)}; use one session, "
            "from as many threads as you like"
        )
    return large


def _arrays(weights: Mapping[str, modelfile.Weights], folder: str, *, copies: bool) -> dict[str, object]:
    """Return the weights as arrays: over the file that they are in, if they lie there as a processor wants them."""
    arrays: dict[str, object] = {}
    for name, found in weights.items():
        stored = modelfile.stored_data(found, folder)
        if stored is not None:  # otherwise ONNX Runtime says what is wrong with the file
            elements = numpy.frombuffer(stored, _dtype(found.data_type)).reshape(found.shape)
            arrays[name] = elements.copy() if copies or not elements.flags.aligned else elements
    return arrays


def _unpacked(weights: Mapping[str, modelfile.Weights], entries: object) -> object:
    """Return configuration entries with which kernels use weights where they are in a mapped file."""
    inside = [len(found.data) for found in weights.values() if found.data is not None]
    if inside:
        raise InvalidArgument(
            f"ortx.SessionPool: share: got 'mapped', but {sum(inside)} bytes of weights ({len(inside)} of them) are in "
            "the model itself; save it with external data, or use share='prepacked'"
        )
    if not isinstance(entries, Mapping):
        return entries  # is refused when the first session is opened
    if entries.get(_UNPACKED, "1") != "1":
        raise OptionError(
            f"ortx.SessionPool: option 'config_entries'[{_UNPACKED!r}]: got {shown(entries[_UNPACKED])}; expected '1', "
            "or nothing, with share='mapped': a kernel that packs weights copies them"
        )
    return {**entries, _UNPACKED: "1"}


def _dtype(data_type: int) -> numpy.dtype[Any]:
    word = _WORDS[data_type]
    if data_type < 16:  # where those begin that numpy lacks
        return numpy.dtype(word)
    try:
        import ml_dtypes
    except ImportError:
        raise NotSupported(f"ortx.SessionPool: weights of {word} need ml_dtypes: pip install ml_dtypes") from None
    found: numpy.dtype[Any] = numpy.dtype(getattr(ml_dtypes, word))
    return found
