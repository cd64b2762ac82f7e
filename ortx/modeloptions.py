"""Options about what a model consists of: its free dimensions, its initializers, the operators it may use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ._core import OptionTypeError, Refusal, choice_reader, integer_reader, read_path, read_text

__all__ = ["read_custom_op_libraries", "read_free_dimensions", "read_initializers"]


def read_free_dimensions(value: object) -> tuple[tuple[str, str, int], ...]:
    """Take ``[{"by": "name" or "denotation", "key": ..., "value": ...}]``; give (by, key, value) triples."""
    if not isinstance(value, (list, tuple)):
        raise Refusal("a list of tables like {'by': 'name', 'key': 'batch', 'value': 1}", OptionTypeError)
    readers = {"by": choice_reader(("name", "denotation")), "key": read_text, "value": integer_reader(0, 2**63 - 1)}
    overrides: dict[tuple[str, str], int] = {}
    for position, item in enumerate(value):
        where = f"[{position}]"
        if not isinstance(item, Mapping) or set(item) != {"by", "key", "value"}:
            raise Refusal("a table with exactly 'by', 'key' and 'value'", where=where, got=item)
        read: dict[str, Any] = {}
        for name, reader in readers.items():
            try:
                read[name] = reader(item[name])
            except Refusal as refusal:
                raise Refusal(
                    refusal.expected, refusal.error, where=f"{where}[{name!r}]", got=item[name], hint=refusal.hint
                ) from None
        by, key = read["by"], read["key"]
        if not key:
            raise Refusal("a string that is not empty", where=f"{where}['key']", got=key)
        if (by, key) in overrides:
            raise Refusal(f"every {by} once", where=where, got=item)
        overrides[by, key] = read["value"]
    return tuple((by, key, size) for (by, key), size in overrides.items())


def _absolute_path(value: object) -> str:
    name = read_path(value)
    try:
        return os.path.abspath(name)
    except OSError:
        raise Refusal("an absolute path, since the current folder is gone", got=value) from None


def read_custom_op_libraries(value: object) -> tuple[str, ...]:
    """Take a path, a `CustomOpLibrary`, which is path-like, or a list of these; give absolute paths."""
    if not isinstance(value, (list, tuple)):
        return (_absolute_path(value),)
    libraries = []
    for position, item in enumerate(value):
        try:
            libraries.append(_absolute_path(item))
        except Refusal as refusal:
            raise Refusal(refusal.expected, refusal.error, where=f"[{position}]", got=item) from None
    return tuple(libraries)


def read_initializers(value: object) -> tuple[tuple[str, object], ...]:
    """Take a mapping from names to arrays; the core compares them with those of the model."""
    if not isinstance(value, Mapping):
        raise Refusal("a mapping from the names of initializers to arrays", OptionTypeError)
    for name in value:
        if not isinstance(name, str):
            raise Refusal("strings as keys: the names of initializers", OptionTypeError, got=name)
    return tuple((str.__str__(name), array) for name, array in value.items())
