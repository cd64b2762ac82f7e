"""What the classes of option tables have in common: frozen objects with a default and a reader for each field.

`dataclasses` would do, but writes and compiles methods anew for forty fields, which takes longer than opening a small
session; to import it alone takes half a millisecond of each process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

__all__ = ["Field", "Table"]


class Field:
    """What a class of tables says of one field.

    Attributes
    ----------
    reader : callable
        Returns what a user gave as the core wants it, or raises `ortx.errors.Refusal`.
    default
        What holds otherwise.
    """

    __slots__ = ("default", "reader")

    def __init__(self, reader: Callable[[object], Any], default: Any) -> None:
        self.reader, self.default = reader, default


class Table:
    """A frozen object whose class lists its fields."""

    fields: ClassVar[dict[str, Field]] = {}

    def __init_subclass__(cls) -> None:
        cls.fields = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        for name, field in cls.fields.items():
            setattr(cls, name, field.default)

    def __init__(self, **values: Any) -> None:
        unknown = values.keys() - self.fields.keys()
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        self.__dict__.update(values)  # what is not there is found in the class: the default

    def replace(self, **changes: Any) -> Self:
        """Return a table with other values in some fields."""
        return type(self)(**{**self.__dict__, **changes})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot assign to {name!r}: a {type(self).__name__} is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete {name!r}: a {type(self).__name__} is frozen")

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.fields)

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        shown_values = (f"{name}={getattr(self, name)!r}" for name in self.fields)
        return f"{type(self).__name__}({', '.join(shown_values)})"
