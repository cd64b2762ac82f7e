"""Reads what ONNX Runtime records of its runs: a table per operator and per node, and a picture.

``ortx.session(path, profile_file_prefix="p")`` records, `Session.end_profiling` writes the file, `read` reads it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from ._core import Error, InvalidArgument, InvalidType, NoSuchFile, shown
from .profilerows import Call, Node, Operator, Span

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Call", "Node", "Operator", "Profile", "Span", "read"]

_KERNEL = "_kernel_time"
_RUN = "model_run"
_LARGEST = 1 << 62  # of numbers, which all are microseconds, bytes, sizes or names of threads
_EXPORTED = "expected a profile, as Session.end_profiling() returns the name of"


@dataclass(frozen=True, slots=True, repr=False)
class Profile:
    """What a profile says; from `read`.

    Attributes
    ----------
    path : str
        The file that it was read from.
    operators : tuple of Operator
        The operators, that with the most `own_seconds` first.
    nodes : tuple of Node
        The nodes, likewise.
    calls : tuple of Call
        Each call of a node, in the order they began.
    runs : tuple of Span
        The runs of the model, in the order they began. A run contains what happened outside of nodes, too.
    opening : tuple of Span
        Loading and initialising of the session.
    is_complete : bool
        Whether the file ends as it should. It does not if the process was killed; then the end is missing here, too.
    """

    path: str
    operators: tuple[Operator, ...]
    nodes: tuple[Node, ...]
    calls: tuple[Call, ...]
    runs: tuple[Span, ...]
    opening: tuple[Span, ...]
    is_complete: bool

    def asdict(self) -> dict[str, Any]:
        """Return everything as dictionaries and lists of numbers and texts, as `json.dumps` takes it."""
        return dataclasses.asdict(self)

    def print(self, most: int = 10) -> None:
        """Print the `most` expensive operators and nodes as tables.

        Raises `NotSupported` without the package rich, which ``pip install "ortx[report]"`` installs.
        """
        from . import profileview

        profileview.print_tables(self, most)

    def plot(self, path: str | os.PathLike[str], most: int = 10, run: int | None = None) -> None:
        """Draw a picture: the `most` expensive operators, and the timeline of a run, node by node.

        Parameters
        ----------
        path : str or os.PathLike
            Where to write it; the end of the name says the format, such as ``.svg`` or ``.png``.
        most : int, default 10
            So many operators have bars.
        run : int, optional
            The run's index in `runs`; by default one that took a median time.

        Raises
        ------
        NotSupported
            Without the package matplotlib, which ``pip install "ortx[report]"`` installs.
        InvalidArgument
            If there is no such run, or matplotlib does not know the format.
        """
        from . import profileview

        profileview.draw(self, path, most, run)

    def __rich_console__(self, console: object, options: object) -> Iterator[Table]:
        """Show what `print` does, in rich's own ``print``."""
        from . import profileview

        yield from profileview.tables(self, 10)

    def __repr__(self) -> str:
        end = "" if self.is_complete else ", cut off"
        return (
            f"<ortx.profiling.Profile of {self.path!r}: {len(self.runs)} runs, {len(self.nodes)} nodes, "
            f"{len(self.calls)} calls{end}>"
        )


# --- reading --------------------------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str]) -> Profile:
    """Read a profile of ONNX Runtime's.

    Parameters
    ----------
    path : str or os.PathLike
        The file: what `Session.end_profiling` returns.

    Returns
    -------
    Profile
        Of a file whose end is missing, what there is.

    Raises
    ------
    NoSuchFile
        If there is no such file.
    InvalidType, InvalidArgument
        If `path` is no path, or one to something else than a file (a folder, a pipe, a device), or the file is none of
        ONNX Runtime's profiles, or an empty one. The message says which line or event is wrong.

    Notes
    -----
    The file is read line by line; what is kept is about a fifth of its size. Events of a device's own kernels, and of
    ONNX Runtime's threads, are passed over. No native code is involved.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidType(f"profiling.read: path: got {shown(path)}; expected the name of a file")
    name = os.fsdecode(path)
    try:
        if not stat.S_ISREG(os.stat(name).st_mode):  # to open a pipe would wait for somebody who writes into it
            raise OSError("no regular file")
        with open(name, encoding="utf-8", errors="backslashreplace") as file:
            return _Reader(name).read(file)
    except Error:
        raise
    except FileNotFoundError:
        raise NoSuchFile(f"profiling.read: path: there is no file {name!r}; {_EXPORTED}") from None
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"profiling.read: path: cannot read {name!r}: {error}; {_EXPORTED}") from None


class _Tally:
    """What is known of one node, or of one operator, while calls are counted."""

    __slots__ = ("calls", "own", "threads", "times")

    def __init__(self) -> None:
        self.calls = 0
        self.own = 0
        self.times = (0, 1 << 62, 0)  # microseconds: sum, least, most
        self.threads: dict[int, None] = {}

    def add(self, duration: int, own: int, thread: int) -> None:
        total, least, most = self.times
        self.calls += 1
        self.own += own
        self.times = total + duration, min(least, duration), max(most, duration)
        self.threads[thread] = None

    def fields(self, all_own: int) -> dict[str, Any]:
        total, least, most = self.times
        return {
            "calls": self.calls,
            "seconds": total / 1e6,
            "own_seconds": self.own / 1e6,
            "share": self.own / all_own if all_own else 0.0,
            "mean_seconds": total / self.calls / 1e6,
            "minimum_seconds": least / 1e6,
            "maximum_seconds": most / 1e6,
        }


class _Details:
    """What is known of a node besides times."""

    __slots__ = ("has_varied", "input_types", "inputs", "output_types", "outputs", "sizes")

    def __init__(self, args: dict[str, Any]) -> None:
        self.inputs, self.outputs = args.get("input_type_shape"), args.get("output_type_shape")
        self.input_types, self.output_types = _types(self.inputs), _types(self.outputs)
        self.has_varied = False
        self.sizes = [0, 0, 0]

    def add(self, args: dict[str, Any]) -> None:
        if (args.get("input_type_shape"), args.get("output_type_shape")) != (self.inputs, self.outputs):
            self.has_varied = True
        for i, key in enumerate(("output_size", "activation_size", "parameter_size")):
            self.sizes[i] = max(self.sizes[i], _whole(args.get(key) or 0))


_Key = tuple[str, str, str, int]  # of a node: name, operator, provider, index


class _Reader:
    def __init__(self, path: str) -> None:
        self.path = path
        self.spans: list[Span] = []
        self.details: dict[_Key, _Details] = {}
        # thread -> (start, duration, node) in microseconds
        self.events: dict[int, list[tuple[int, int, _Key]]] = defaultdict(list)

    def read(self, file: IO[str]) -> Profile:
        first = file.readline()
        if not first:
            raise InvalidArgument(
                f"profiling.read: path: {self.path!r} is empty: ONNX Runtime writes it when session.end_profiling() is "
                "called"
            )
        if first.strip() == "[":
            is_complete = self._read_lines(file)
        else:
            self._read_whole(first, file)
            is_complete = True
        if not self.spans and not self.events and is_complete:
            raise self._problem("has no event of ONNX Runtime's in it")
        return self._profile(is_complete)

    def _read_lines(self, file: IO[str]) -> bool:
        """Read a file as ONNX Runtime writes it, an event on each line; return whether its end is there."""
        for number, line in enumerate(file, 2):
            text = line.strip()
            if text == "]":
                return True
            try:
                event = json.loads(text.removesuffix(","), strict=False)
            except (RecursionError, ValueError) as error:
                if not line.endswith("\n"):
                    return False  # the process was killed while it wrote this
                raise self._problem(f"has no JSON in line {number} ({error})") from None
            self._add(event, f"line {number}")
        return False

    def _read_whole(self, first: str, file: IO[str]) -> None:
        """Read a file that some other program has written anew."""
        try:
            content = json.loads(first + file.read(), strict=False)
        except (RecursionError, ValueError) as error:
            raise self._problem(f"is no JSON ({error})") from None
        events = content.get("traceEvents") if isinstance(content, dict) else content
        if not isinstance(events, list):
            raise self._problem("is no list of events")
        for number, event in enumerate(events):
            self._add(event, f"event {number}")

    def _problem(self, what: str) -> InvalidArgument:
        return InvalidArgument(f"profiling.read: path: {self.path!r} {what}; {_EXPORTED}")

    def _add(self, event: Any, where: str) -> None:
        try:
            category, name, thread = event["cat"], event["name"], event["tid"]
            start, duration = _whole(event["ts"]), _whole(event["dur"])
            args = event.get("args") or {}
            if category == "Session":
                self.spans.append(Span(_text(name), start / 1e6, duration / 1e6, _whole(thread)))
            elif category == "Node" and name.endswith(_KERNEL):
                self._add_call(name.removesuffix(_KERNEL), _whole(thread), start, duration, args)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise self._problem(f"has no event of ONNX Runtime's in {where} ({error!r})") from None

    def _add_call(self, name: str, thread: int, start: int, duration: int, args: dict[str, Any]) -> None:
        key = (name, _text(args["op_name"]), _text(args.get("provider", "")), _whole(args.get("node_index", -1)))
        details = self.details.get(key)
        if details is None:
            details = self.details[key] = _Details(args)
        details.add(args)
        self.events[thread].append((start, duration, key))

    def _profile(self, is_complete: bool) -> Profile:
        nodes: dict[_Key, _Tally] = defaultdict(_Tally)
        operators: dict[tuple[str, str], _Tally] = defaultdict(_Tally)
        nodes_of: dict[tuple[str, str], int] = defaultdict(int)
        calls = []
        for thread, events in self.events.items():
            for start, duration, own, depth, key in _nested(events):
                name, operator, provider, _ = key
                nodes[key].add(duration, own, thread)
                operators[operator, provider].add(duration, own, thread)
                calls.append(Call(start / 1e6, duration / 1e6, own / 1e6, depth, thread, name, operator))
        for _, operator, provider, _ in nodes:
            nodes_of[operator, provider] += 1
        all_own = sum(tally.own for tally in nodes.values())
        return Profile(
            path=self.path,
            operators=_sorted(
                Operator(name=name, provider=provider, nodes=nodes_of[name, provider], **tally.fields(all_own))
                for (name, provider), tally in operators.items()
            ),
            nodes=_sorted(self._node(key, tally, all_own) for key, tally in nodes.items()),
            calls=tuple(sorted(calls, key=lambda call: (call.start, call.depth))),
            runs=_in_order(span for span in self.spans if span.name == _RUN),
            opening=_in_order(span for span in self.spans if span.name != _RUN and "::" not in span.name),
            is_complete=is_complete,
        )

    def _node(self, key: _Key, tally: _Tally, all_own: int) -> Node:
        details = self.details[key]
        name, operator, provider, index = key
        output_bytes, activation_bytes, parameter_bytes = details.sizes
        return Node(
            name=name,
            operator=operator,
            provider=provider,
            index=index,
            inputs=details.input_types,
            outputs=details.output_types,
            has_varied=details.has_varied,
            output_bytes=output_bytes,
            activation_bytes=activation_bytes,
            parameter_bytes=parameter_bytes,
            threads=tuple(sorted(tally.threads)),
            **tally.fields(all_own),
        )


def _nested(events: list[tuple[int, int, _Key]]) -> Iterator[tuple[int, int, int, int, _Key]]:
    """Yield start, duration, own duration, depth and node for each call on a thread: those inside of it are no part."""
    # Times are cut off to whole microseconds, so an inner call may seem to end one later than the outer one.
    events.sort(key=lambda event: (event[0], -event[1]))
    inside = [0] * len(events)
    depths = [0] * len(events)
    stack: list[int] = []
    for i, (start, duration, _) in enumerate(events):
        while stack and not start < sum(events[stack[-1]][:2]):
            stack.pop()
        if stack:
            inside[stack[-1]] += duration
        depths[i] = len(stack)
        stack.append(i)
    for (start, duration, key), inner, depth in zip(events, inside, depths, strict=True):
        yield start, duration, max(0, duration - inner), depth, key


def _sorted(rows: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(rows, key=lambda row: (-row.own_seconds, row.name)))


def _in_order(spans: Iterable[Span]) -> tuple[Span, ...]:
    return tuple(sorted(spans, key=lambda span: span.start))


def _types(described: Any) -> tuple[str, ...]:
    """Return what the trace says as ``[{"float": [3, 2]}]``, in words."""
    return tuple(f"{word} {tuple(map(_whole, shape))}" for one in described or () for word, shape in one.items())


def _whole(number: Any) -> int:
    """Return a number, which ONNX Runtime may have written as a text."""
    whole = int(number)
    if abs(whole) >= _LARGEST:
        raise ValueError("a number is too large")
    return whole


def _text(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError(f"expected a text, not {shown(text)}")
    return text
