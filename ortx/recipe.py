"""What a session was made of: for a copy of it, here or in another process, and for messages that say how to make one.

A recipe holds whatever was given. What means something in this process only is wrapped, so that copies made here share
it, and pickling refuses it by name.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any, Never

from ._core import NotPicklable, SessionOptions, shown
from .options_in_effect import as_table

__all__ = ["Content", "as_given", "as_recipe", "how_to_open_again", "opening_call"]

_LONGEST = 400  # characters of the options in a message

# Options of providers that are addresses: of a stream, of an allocator's functions, of a model in memory.
_ADDRESSES = frozenset(
    {
        "user_compute_stream",
        "gpu_external_alloc",
        "gpu_external_free",
        "gpu_external_empty_cache",
        "trt_onnx_bytestream",
        "onnx_bytestream",
    }
)


class Content:
    """A model in memory, which copies share and a pickle contains."""

    __slots__ = ("buffer",)

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer

    def __deepcopy__(self, memo: object) -> Content:
        return self

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # From protocol 5 on, the pickler may pass it on without a copy.
        return Content, (pickle.PickleBuffer(self.buffer) if protocol >= 5 else bytes(memoryview(self.buffer)),)


class _Bound:
    """A value of an option that is bound to this process."""

    __slots__ = ("reason", "value")

    def __init__(self, value: object, reason: str) -> None:
        self.value, self.reason = value, reason

    def __deepcopy__(self, memo: object) -> _Bound:
        return self

    def __reduce_ex__(self, protocol: object) -> Never:
        raise NotPicklable(self.reason)


def as_recipe(source: str, given: SessionOptions) -> dict[str, object]:
    """Return options as a table that can be pickled, or refuses to be; `source` says whose they are."""
    table = as_table(given)
    for name, reason in _reasons(given).items():
        table[name] = _Bound(table[name], f"the session of {source} cannot be pickled: option {name!r}: {reason}")
    return table


def as_given(recipe: Mapping[str, object]) -> dict[str, object]:
    """Return a table that `ortx.session` takes."""
    return {name: value.value if isinstance(value, _Bound) else value for name, value in recipe.items()}


def _reasons(given: SessionOptions) -> dict[str, str]:
    """Return the names of the options that are bound to this process, and why that is so."""
    reasons = {}
    if given.initializers:
        reasons["initializers"] = "its arrays are shared by sessions of one process; open a session with some there"
    if given.external_data:
        reasons["external_data"] = "its buffers are memory of this process; open a session with some there"
    if given.prepacked_weights is not None:
        reasons["prepacked_weights"] = (
            "the container is shared by sessions of one process; open a session with one there"
        )
    for provider in given.providers:
        for key, _ in provider.options:
            if key in _ADDRESSES:
                reasons["providers"] = f"{key!r} of {provider.name} is an address in this process"
    return reasons


def how_to_open_again(path: str | None, given: SessionOptions) -> str:
    """Return what to do in place of using a session that another process opened."""
    call = f"open it anew: {opening_call(path, given)}"
    if given.initializers or given.prepacked_weights is not None:  # as the sessions of a pool are
        return f"make a new ortx.SessionPool if it is one of a pool, otherwise {call}"
    return call


def opening_call(path: str | None, given: SessionOptions) -> str:
    """Return what to write to open a session anew."""
    table, defaults = as_table(given), as_table(SessionOptions())
    words = []
    for name, value in table.items():
        if name in ("initializers", "external_data", "prepacked_weights"):
            words += [f"{name}=..."] if value else []
        elif value != defaults[name]:
            words.append(f"{name}={shown(value, quote=True)}")
    text = ", ".join([repr(path) if path is not None else "model", *words])
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "..."
    return f"ortx.session({text})" if path is not None else f"ortx.session_from_bytes({text})"
