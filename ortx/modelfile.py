"""What ortx itself reads and writes of ``.onnx`` files: the weights, to compare them with those that a user shares.

An ``.onnx`` file is one protobuf message; only the fields on the way to the weights are looked into, and the others
jumped over, so the size of a model does not matter. See ``onnx.proto`` for the numbers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy

__all__ = ["Weights", "empty_sequence_model", "is_ort_format", "weights"]

# Field numbers of ModelProto, GraphProto, TensorProto and StringStringEntryProto.
_GRAPH = 7
_INITIALIZER = 5
_DIMS, _DATA_TYPE, _FLOAT_DATA, _INT32_DATA, _INT64_DATA, _NAME = 1, 2, 4, 5, 7, 8
_RAW_DATA, _DOUBLE_DATA, _UINT64_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 10, 11, 13, 14
_KEY, _VALUE = 1, 2

_CHUNK = 1 << 20  # bytes compared at a time


@dataclass(frozen=True, slots=True)
class Weights:
    """One initializer of a model.

    Attributes
    ----------
    data_type : int
        Element type, as TensorProto numbers it.
    shape : tuple of int
        Dimensions.
    data : memoryview or None
        Its elements as they lie in memory; None where they stand in another file.
    location : dict of str to str
        Where in which other file they stand: ``location``, ``offset``, ``length``.
    """

    data_type: int
    shape: tuple[int, ...]
    data: memoryview | None
    location: dict[str, str]

    def differs_from(self, array: numpy.ndarray, folder: str) -> bool:
        """Whether an array of the right type and shape holds other bytes; `folder` is the model's.

        Weights in a file that cannot be read differ from nothing: ONNX Runtime says what is wrong with it.
        """
        stored = self.data if self.data is not None else _external_data(self.location, folder, array.nbytes)
        if stored is None:
            return False
        if len(stored) != array.nbytes:
            return True
        ours, theirs = array.reshape(-1).view(numpy.uint8), numpy.frombuffer(stored, numpy.uint8)
        starts = range(0, len(theirs), _CHUNK)
        return any((ours[at : at + _CHUNK] != theirs[at : at + _CHUNK]).any() for at in starts)


def is_ort_format(model: memoryview) -> bool:
    """Whether a file is in ONNX Runtime's own format."""
    return bytes(model[4:8]) == b"ORTM"


def weights(model: memoryview) -> dict[str, Weights]:
    """Return the initializers of an ``.onnx`` model's main graph, by name.

    Raises ValueError if it is damaged. The result looks into `model`.
    """
    return dict(
        _read_tensor(tensor)
        for graph in _messages(model, _GRAPH)  # several of them are one message, cut into pieces
        for tensor in _messages(graph, _INITIALIZER)
    )


def _read_tensor(tensor: memoryview) -> tuple[str, Weights]:
    name, data_type, external = "", 0, False
    shape: list[int] = []
    location = {}
    data: dict[int, list[memoryview | int]] = {}
    for number, value in _fields(tensor):
        if number == _DIMS:
            shape += _varints(value)
        elif number == _DATA_TYPE and isinstance(value, int):
            data_type = value
        elif number == _NAME and isinstance(value, memoryview):
            name = str(value, "utf-8", "surrogateescape")
        elif number == _DATA_LOCATION:
            external = value == 1
        elif number == _EXTERNAL_DATA and isinstance(value, memoryview):
            entry = {key: str(text, "utf-8") for key, text in _fields(value) if isinstance(text, memoryview)}
            location[entry.get(_KEY, "")] = entry.get(_VALUE, "")
        else:
            data.setdefault(number, []).append(value)
    return name, Weights(data_type, tuple(shape), None if external else _stored(data, data_type), location)


def _stored(data: dict[int, list[memoryview | int]], data_type: int) -> memoryview:
    """Return the elements as they lie in memory, from whichever field holds them."""
    for number in (_RAW_DATA, _FLOAT_DATA, _DOUBLE_DATA):
        pieces = [piece for piece in data.get(number, ()) if isinstance(piece, memoryview)]
        if pieces:
            return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
    numbers = [
        element
        for number in (_INT32_DATA, _INT64_DATA, _UINT64_DATA)
        for piece in data.get(number, ())
        for element in _varints(piece)
    ]
    elements = numpy.array(numbers, numpy.int64)  # float16 stands there as its bits
    size = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 9: 1, 10: 2, 12: 4}.get(data_type, 8)
    return memoryview(elements.astype(f"i{size}").tobytes())


def _external_data(location: dict[str, str], folder: str, size: int) -> memoryview | None:
    path = os.path.join(folder, location.get("location", ""))
    try:
        offset, length = int(location.get("offset", 0)), int(location.get("length", size))
        return numpy.memmap(path, numpy.uint8, "r", offset, (length,)).data
    except (OSError, ValueError):
        return None


def empty_sequence_model(data_type: int) -> bytes:
    """Return a model without inputs, whose one output ``s`` is an empty sequence of tensors of an element type."""
    dtype = _field(1, b"dtype") + _field(20, 2) + _field(3, data_type)  # AttributeProto: name, type INT, i
    node = _field(2, b"s") + _field(4, b"SequenceEmpty") + _field(5, dtype)
    tensor = _field(1, _field(1, data_type))  # TypeProto: tensor_type with its elem_type
    output = _field(1, b"s") + _field(2, _field(4, _field(1, tensor)))  # sequence_type with its elem_type
    graph = _field(1, node) + _field(2, b"g") + _field(12, output)
    return _field(1, 8) + _field(_GRAPH, graph) + _field(8, _field(2, 14))  # ir_version, graph, opset


# --- protobuf's wire format -----------------------------------------------------------------------------------------


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, value in _fields(message):
        if number == wanted and isinstance(value, memoryview):
            yield value


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield the number and the value of each field: a number, or the bytes of whatever else."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(message, at)
            yield key >> 3, number
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if at + size > len(message):
            raise ValueError("a field that is longer than its message")
        yield key >> 3, message[at : at + size]
        at += size


def _field(number: int, value: bytes | int) -> bytes:
    """Write one field: a number, or a text or message."""
    if isinstance(value, int):
        return bytes([*_digits(number << 3), *_digits(value)])
    return bytes([*_digits(number << 3 | 2), *_digits(len(value))]) + value


def _digits(number: int) -> Iterator[int]:
    while number > 0x7F:
        yield number & 0x7F | 0x80
        number >>= 7
    yield number


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return a number and where it ends: seven bits a byte, the least first."""
    number = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return (number - (1 << 64) if number >= 1 << 63 else number), at
    raise ValueError("a number that does not end")


def _varints(value: memoryview | int) -> list[int]:
    """Return the numbers of a repeated field, which stands alone or packed."""
    if isinstance(value, int):
        return [value]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(number)
    return numbers
