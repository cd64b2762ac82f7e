"""Option tables: what a user writes, read into frozen objects that the core can trust.

A table is given as a mapping, as keyword arguments, or both (keywords win). Each options class lists its fields with
a reader; the reader returns the value as the core wants it, or refuses it. Everything is read before anything native
happens, so a refused option changes nothing.
"""

from __future__ import annotations

import dataclasses
import operator
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import OptionError, OptionTypeError, nearest, shown

__all__ = ["RunOptionsTable", "RuntimeConfiguration", "SessionOptions", "read_table"]

_Options = TypeVar("_Options")


class _Refusal(Exception):
    """A reader's answer to a value it does not take; `read_table` adds the option's name."""

    def __init__(self, expected: str, error: type[OptionError] = OptionError, hint: str = "") -> None:
        self.expected, self.error, self.hint = expected, error, hint


# --- readers --------------------------------------------------------------------------------------------------------


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Refusal("True or False", OptionTypeError)
    return value


def integer(minimum: int, maximum: int, meaning: str = "") -> Callable[[object], int]:
    expected = f"an integer from {minimum} to {maximum}{meaning}"

    def read(value: object) -> int:
        if isinstance(value, bool):
            raise _Refusal(expected, OptionTypeError)
        try:
            number = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            raise _Refusal(expected, OptionTypeError) from None
        if not minimum <= number <= maximum:
            raise _Refusal(expected)
        return number

    return read


def text(value: object) -> str:
    if not isinstance(value, str):
        raise _Refusal("a string", OptionTypeError)
    if "\0" in value:
        raise _Refusal("a string without a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Refusal("a string that can be encoded as UTF-8 (it holds a lone surrogate)") from None
    return value


def path(value: object) -> str:
    """Take a file name; unlike `text` it may hold what the file system allows."""
    try:
        name = os.fspath(value)  # type: ignore[call-overload]
    except TypeError:
        name = None
    if not isinstance(name, str):
        raise _Refusal("a path as str or os.PathLike", OptionTypeError)
    if not name or "\0" in name:
        raise _Refusal("a path that is not empty and has no NUL character")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise _Refusal("a path that the file system can have (it holds a lone surrogate)") from None
    return name


def choice(**names: int) -> Callable[[object], int]:
    expected = "one of " + ", ".join(map(repr, names))

    def read(value: object) -> int:
        if not isinstance(value, str):
            raise _Refusal(expected, OptionTypeError)
        if value not in names:
            raise _Refusal(expected, hint=nearest(value, names))
        return names[value]

    return read


def option(reader: Callable[[object], Any], default: Any) -> Any:
    """Declare one field of an options class. None, given as a value, stands for the default."""
    return dataclasses.field(default=default, metadata={"reader": reader})


_INT_MAX = 2**31 - 1  # the C API takes int
severity = integer(0, 4, " (0 verbose, 1 info, 2 warning, 3 error, 4 fatal)")
run_severity = integer(-1, 4, " (-1 the session's, 0 verbose, 1 info, 2 warning, 3 error, 4 fatal)")
verbosity = integer(0, _INT_MAX)
thread_count = integer(0, _INT_MAX, " (0: as many as the process may use)")


# --- the tables -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeConfiguration:
    """What `ortx.configure` sets for the whole process."""

    log_severity_level: int = option(severity, 2)
    log_id: str = option(text, "ortx")
    use_global_thread_pools: bool = option(boolean, False)
    global_intra_op_num_threads: int = option(thread_count, 0)
    global_inter_op_num_threads: int = option(thread_count, 0)
    telemetry: bool = option(boolean, False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """What `ortx.session` and `ortx.session_from_bytes` take; None leaves ONNX Runtime's own default."""

    intra_op_num_threads: int = option(thread_count, 0)
    inter_op_num_threads: int = option(thread_count, 0)
    graph_optimization_level: int | None = option(choice(disable=0, basic=1, extended=2, layout=3, all=99), None)
    execution_mode: int | None = option(choice(sequential=0, parallel=1), None)
    deterministic_compute: bool | None = option(boolean, None)
    disable_per_session_threads: bool = option(boolean, False)
    enable_cpu_mem_arena: bool | None = option(boolean, None)
    enable_mem_pattern: bool | None = option(boolean, None)
    log_id: str | None = option(text, None)
    session_log_severity_level: int | None = option(severity, None)
    session_log_verbosity_level: int | None = option(verbosity, None)
    optimized_model_path: str | None = option(path, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptionsTable:
    """What `ortx.run_options` takes."""

    tag: str = option(text, "")
    log_severity_level: int = option(run_severity, -1)
    log_verbosity_level: int = option(verbosity, 0)


# --- reading --------------------------------------------------------------------------------------------------------


def read_table(
    options_class: type[_Options],
    function: str,
    table: Mapping[str, object] | None,
    keywords: Mapping[str, object],
    defaults: _Options | None = None,
) -> _Options:
    """Read one option table, given as a mapping, as keywords, or both.

    Parameters
    ----------
    options_class
        One of the classes above.
    function
        Whose options these are, for messages: ``"ortx.session"``.
    table, keywords
        The two forms; a keyword wins over the mapping's entry of the same name.
    defaults
        What holds where neither says anything; otherwise the class's own defaults do.

    Raises
    ------
    OptionError, OptionTypeError
        For an unknown name, with the nearest valid one, or a value that is not allowed. Nothing was changed.
    """
    fields = {field.name: field for field in dataclasses.fields(options_class)}  # type: ignore[arg-type]
    given: dict[str, object]
    if table is None:
        given = {}
    elif isinstance(table, Mapping):
        given = dict(table)
    else:
        raise OptionTypeError(
            f"{function}: options: got {shown(table)}; expected a mapping from option names to values"
        )
    given.update(keywords)
    return dataclasses.replace(
        options_class() if defaults is None else defaults,  # type: ignore[type-var]
        **_read(fields, function, given),
    )


def changed(before: Any, after: Any) -> list[str]:
    """Return the names of the options in which two tables of one class differ."""
    return [
        field.name for field in dataclasses.fields(before) if getattr(before, field.name) != getattr(after, field.name)
    ]


def _read(fields: dict[str, Any], function: str, given: Mapping[str, object]) -> dict[str, object]:
    values = {}
    for name, value in given.items():
        field = fields.get(name)
        if field is None:
            valid = ", ".join(fields)
            raise OptionError(
                f"{function}: unknown option {shown(name, quote=True)}{nearest(name, fields)} (valid: {valid})"
            )
        try:
            values[name] = field.default if value is None else field.metadata["reader"](value)
        except _Refusal as refusal:
            raise refusal.error(
                f"{function}: option {name!r}: got {shown(value)}; expected {refusal.expected}{refusal.hint}"
            ) from None
    return values
