"""The way through the messages of a model to those that are looked for, past all others.

An ``.onnx`` file is one protobuf message. What is read here is all that protobuf's own parser would read, and perhaps
more, so that nothing can be written in some unusual form to be passed over.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

__all__ = [
    "ATTRIBUTE",
    "MODEL",
    "SEARCHED",
    "TENSOR",
    "TENSORS",
    "fields",
    "text",
    "walk",
]

# Kinds of messages. Who walks may number others, but for the one that all are in.
MODEL, GRAPH, NODE, ATTRIBUTE, FUNCTION, SPARSE, TRAINING, TENSOR = range(8)
# What the fields that lead to tensors hold, as onnx.proto numbers them.
TENSORS = {
    MODEL: {7: GRAPH, 20: TRAINING, 25: FUNCTION},
    GRAPH: {1: NODE, 5: TENSOR, 15: SPARSE},
    NODE: {5: ATTRIBUTE},
    ATTRIBUTE: {5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 22: SPARSE, 23: SPARSE},
    FUNCTION: {7: NODE, 11: ATTRIBUTE},
    SPARSE: {1: TENSOR, 2: TENSOR},
    TRAINING: {1: GRAPH, 2: GRAPH},
}
_DEEPEST = 100  # protobuf refuses a message that is nested deeper

# A message of at most so many bytes is searched for the word before its fields are looked at: that is faster. Of a
# larger one, whose fields are mostly weights, not a byte is read that need not be.
SEARCHED = 1 << 16


def walk(
    model: memoryview, children: Mapping[int, Mapping[int, int]], wanted: Collection[int], word: re.Pattern[bytes]
) -> Iterator[tuple[int, int, int]]:
    """Yield kind, beginning and end of the messages of the kinds that are wanted.

    Parameters
    ----------
    model
        The content of an ``.onnx`` file.
    children
        For a kind of message: of which kind is what its fields hold, by number.
    wanted
        Kinds to yield.
    word
        Matches something in each message that matters. Those without it may be left out.

    Raises
    ------
    ValueError
        If the model is damaged. Protobuf refuses it then, too.
    """
    if not _may_have(word, model, 0, len(model)):
        return
    pending = [(MODEL, 0, len(model), 0)]
    while pending:
        kind, start, end, depth = pending.pop()
        if depth > _DEEPEST:
            raise ValueError("messages nested deeper than protobuf reads them")
        if kind in wanted:
            yield kind, start, end
        inside = children.get(kind)
        if inside:
            for number, at, to in fields(model, start, end, inside):
                if _may_have(word, model, at, to):
                    pending.append((inside[number], at, to, depth + 1))


def _may_have(word: re.Pattern[bytes], model: memoryview, at: int, to: int) -> bool:
    return to - at > SEARCHED or word.search(model, at, to) is not None


def text(model: memoryview, at: int, to: int) -> str:
    """Return the text that stands there, whether it is UTF-8 or not."""
    return str(model[at:to], "utf-8", "surrogateescape")


def fields(model: memoryview, at: int, end: int, wanted: Collection[int]) -> Iterator[tuple[int, int, int]]:
    """Yield the number, the beginning and the end of each field that is wanted, and is a message or a text."""
    while at < end:
        tag, at = _varint(model, at, end)
        tag &= 0xFFFFFFFF  # as protobuf does
        if tag < 8:
            raise ValueError("a field without a number")
        kind = tag & 7
        if kind == 2:
            size, at = _varint(model, at, end)
            if size > end - at:
                raise ValueError("a field that is longer than its message")
            if tag >> 3 in wanted:
                yield tag >> 3, at, at + size
            at += size
        elif kind == 0:
            _, at = _varint(model, at, end)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
            if at > end:
                raise ValueError("a field that is longer than its message")
        elif kind > 5:
            raise ValueError(f"a field of the unknown kind {kind}")
        # 3 and 4 are the brackets of a group, which protobuf skips. What is inside is looked at as if it were outside:
        # fields too many do no harm.


def _varint(model: memoryview, at: int, end: int) -> tuple[int, int]:
    """Return a number and where it ends: seven bits a byte, the least first."""
    number = shift = 0
    while at < end and shift < 70:
        byte = model[at]
        at += 1
        if byte < 0x80:
            return number | byte << shift, at
        number |= (byte & 0x7F) << shift
        shift += 7
    raise ValueError("a number that does not end")
