"""Protobuf's wire format: the fields of one message of an ``.onnx`` file, which is one itself.

Each function raises ValueError for a message that is damaged. `modelwalk` goes through the messages of a whole model
and jumps over all that does not matter; here every field is given with its value.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["decoded", "fields", "messages", "spans", "text", "varints"]


def messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, value in fields(message):
        if number == wanted and isinstance(value, memoryview):
            yield value


def fields(message: memoryview | int) -> Iterator[tuple[int, memoryview | int]]:
    """Yield the number and the value of each field: a number, or the bytes of whatever else."""
    for number, value, _, _ in spans(message):
        yield number, value


def spans(message: memoryview | int) -> Iterator[tuple[int, memoryview | int, int, int]]:
    """Yield the number and the value of each field, and where it begins and ends."""
    if isinstance(message, int):
        raise ValueError("a number in place of a message")
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(message, at)
            yield key >> 3, number, start, at
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if not 0 <= size <= len(message) - at:
            raise ValueError("a field that is longer than its message")
        yield key >> 3, message[at : at + size], start, at + size
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return a number and where it ends: seven bits a byte, the least first."""
    number = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            number &= (1 << 64) - 1
            return (number - (1 << 64) if number >= 1 << 63 else number), at
    raise ValueError("a number that does not end")


def varints(value: memoryview | int) -> list[int]:
    """Return the numbers of a repeated field, which stands alone or packed."""
    if isinstance(value, int):
        return [value]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(number)
    return numbers


def text(message: memoryview | int, wanted: int) -> str:
    """Return the last text with this number in a message, or an empty one."""
    texts = [decoded(value) for number, value in fields(message) if number == wanted] if message else []
    return texts[-1] if texts else ""


def decoded(value: memoryview | int) -> str:
    return "" if isinstance(value, int) else str(value, "utf-8", "surrogateescape")
