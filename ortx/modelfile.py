"""The weights of ``.onnx`` files.

An ``.onnx`` file is one protobuf message; only the fields on the way to what is wanted are looked into, and the others
jumped over, so the size of a model does not matter. See ``onnx.proto`` for the numbers.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy

from . import modelsource, modelwire

__all__ = ["Weights", "external_files", "is_ort_format", "stored_data", "weights", "weights_of"]

# Field numbers of ModelProto, GraphProto, TensorProto and StringStringEntryProto.
_GRAPH, _INITIALIZER = 7, 5
_DIMS, _DATA_TYPE, _FLOAT_DATA, _INT32_DATA, _INT64_DATA, _NAME = 1, 2, 4, 5, 7, 8
_RAW_DATA, _DOUBLE_DATA, _UINT64_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 10, 11, 13, 14
_KEY, _VALUE = 1, 2

# Bytes of an element, by TensorProto's number of its type: where a model does not say how long external data is.
_ITEM_SIZES = {1: 4, 4: 2, 5: 2, 6: 4, 7: 8, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}

_CHUNK = 1 << 20  # bytes compared at a time


class Weights(NamedTuple):
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
        if self.data is None:
            return modelsource.differs_from_file(self.location, folder, array)
        if len(self.data) != array.nbytes:
            return True
        ours, theirs = array.reshape(-1).view(numpy.uint8), numpy.frombuffer(self.data, numpy.uint8)
        starts = range(0, len(theirs), _CHUNK)
        return any((ours[at : at + _CHUNK] != theirs[at : at + _CHUNK]).any() for at in starts)


def is_ort_format(model: memoryview) -> bool:
    """Whether a file is in ONNX Runtime's own format."""
    return bytes(model[4:8]) == b"ORTM"


def weights(model: memoryview) -> dict[str, Weights]:
    """Return the initializers of an ``.onnx`` model's main graph, by name.

    Raises ValueError if it is damaged. The result looks into `model`.
    """
    found: dict[str, Weights] = {}
    for graph in modelwire.messages(model, _GRAPH):  # several of them are one message, cut into pieces
        found |= weights_of(graph)
    return found


def weights_of(graph: memoryview) -> dict[str, Weights]:
    """Return the initializers of a graph, by name."""
    return dict(_read_tensor(tensor) for tensor in modelwire.messages(graph, _INITIALIZER))


def external_files(model: memoryview) -> dict[str, int]:
    """Return the files that weights of the main graph are in, as the model names them, and the least size of each.

    Raises ValueError if the model is damaged.
    """
    sizes: dict[str, int] = {}
    for tensor in weights(model).values():
        if tensor.data is None:
            name = tensor.location.get("location", "")
            default = _size_of(tensor) if tensor.data_type <= 20 else 0  # what is newer is smaller than a byte
            end = int(tensor.location.get("offset", 0)) + int(tensor.location.get("length", default))
            sizes[name] = max(sizes.get(name, 0), end)
    return sizes


def _size_of(weights: Weights) -> int:
    return int(numpy.prod(weights.shape, dtype=numpy.int64)) * _ITEM_SIZES.get(weights.data_type, 1)


def _read_tensor(tensor: memoryview) -> tuple[str, Weights]:
    name, data_type, external = "", 0, False
    shape: list[int] = []
    location = {}
    data: dict[int, list[memoryview | int]] = {}
    for number, value in modelwire.fields(tensor):
        if number == _DIMS:
            shape += modelwire.varints(value)
        elif number == _DATA_TYPE and isinstance(value, int):
            data_type = value
        elif number == _NAME and isinstance(value, memoryview):
            name = str(value, "utf-8", "surrogateescape")
        elif number == _DATA_LOCATION:
            external = value == 1
        elif number == _EXTERNAL_DATA and isinstance(value, memoryview):
            entry = {key: str(text, "utf-8") for key, text in modelwire.fields(value) if isinstance(text, memoryview)}
            location[entry.get(_KEY, "")] = entry.get(_VALUE, "")
        else:
            data.setdefault(number, []).append(value)
    return name, Weights(data_type, tuple(shape), None if external else _stored(data, data_type), location)


def _stored(data: dict[int, list[memoryview | int]], data_type: int) -> memoryview:
    """Return the elements as they lie in memory, from whichever field holds them."""
    for number in (_RAW_DATA, _FLOAT_DATA, _DOUBLE_DATA):
        pieces = [piece for piece in data.get(number, ()) if isinstance(piece, memoryview)]
        if pieces:  # of a repeated field all of them count, of another the last
            whole = len(pieces) == 1 or number == _RAW_DATA
            return pieces[-1] if whole else memoryview(b"".join(pieces))
    numbers = [
        element
        for number in (_INT32_DATA, _INT64_DATA, _UINT64_DATA)
        for piece in data.get(number, ())
        for element in modelwire.varints(piece)
    ]
    elements = numpy.array(numbers, numpy.int64)  # float16 stands there as its bits
    size = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 9: 1, 10: 2, 12: 4}.get(data_type, 8)
    return memoryview(elements.astype(f"i{size}").tobytes())


def stored_data(weights: Weights, folder: str) -> memoryview | None:
    """Return the elements of an initializer: in the model, or mapped; `folder` is the model's. None: not readable."""
    if weights.data is not None:
        return weights.data
    return _external_data(weights.location, folder, _size_of(weights))


def _external_data(location: dict[str, str], folder: str, size: int) -> memoryview | None:
    path = os.path.join(folder, location.get("location", ""))
    try:
        offset, length = int(location.get("offset", 0)), int(location.get("length", size))
        if offset + length > os.path.getsize(path):
            return None
        return numpy.memmap(path, numpy.uint8, "r", offset, (length,)).data
    except (OSError, OverflowError, ValueError):
        return None
