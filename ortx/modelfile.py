"""What ortx itself reads of ``.onnx`` files: weights, ZipMap nodes, which operators there are.

An ``.onnx`` file is one protobuf message; only the fields on the way to what is wanted are looked into, and the others
jumped over, so the size of a model does not matter. See ``onnx.proto`` for the numbers.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy

from . import modelsource, modelwalk
from .modelwriter import field

__all__ = [
    "Node",
    "Weights",
    "ZipMap",
    "consists_of",
    "external_files",
    "has_constant_shapes",
    "is_ort_format",
    "node",
    "stored_data",
    "weights",
    "without_zip_maps",
]

# Field numbers of ModelProto, GraphProto, NodeProto, TensorProto and StringStringEntryProto.
_GRAPH, _OPSET_IMPORT, _FUNCTION = 7, 8, 25
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7
_DIMS, _DATA_TYPE, _FLOAT_DATA, _INT32_DATA, _INT64_DATA, _NAME = 1, 2, 4, 5, 7, 8
_RAW_DATA, _DOUBLE_DATA, _UINT64_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 10, 11, 13, 14
_KEY, _VALUE = 1, 2
_NAMES = (_OP_TYPE, _DOMAIN)

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
    for graph in _messages(model, _GRAPH):  # several of them are one message, cut into pieces
        found |= weights_of(graph)
    return found


def weights_of(graph: memoryview) -> dict[str, Weights]:
    """Return the initializers of a graph, by name."""
    return dict(_read_tensor(tensor) for tensor in _messages(graph, _INITIALIZER))


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
        if pieces:  # of a repeated field all of them count, of another the last
            whole = len(pieces) == 1 or number == _RAW_DATA
            return pieces[-1] if whole else memoryview(b"".join(pieces))
    numbers = [
        element
        for number in (_INT32_DATA, _INT64_DATA, _UINT64_DATA)
        for piece in data.get(number, ())
        for element in _varints(piece)
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


# --- ZipMap ---------------------------------------------------------------------------------------------------------


class ZipMap(NamedTuple):
    """A node of scikit-learn's converters that makes a list of dictionaries of a tensor, as an output of the model.

    Attributes
    ----------
    output : str
        Name of the output.
    tensor : str
        Name of the tensor, of shape (rows, labels) or (labels,).
    labels : tuple of str or of int
        The keys, in the order of the columns.
    """

    output: str
    tensor: str
    labels: tuple[str, ...] | tuple[int, ...]


def without_zip_maps(model: memoryview) -> tuple[bytes, tuple[ZipMap, ...]]:
    """Return a model whose outputs are the tensors that its ZipMap nodes read, and what those nodes are.

    Empty if there is none, or none that nothing else depends on. Models without such nodes cost next to nothing.
    """
    if not modelwalk.has_node(model, "ZipMap"):
        return b"", ()
    if not any(b"ai.onnx.ml" in bytes(opset) for opset in _messages(model, _OPSET_IMPORT)):
        return b"", ()  # ONNX Runtime has to say so
    graphs = list(_messages(model, _GRAPH))
    if len(graphs) != 1 or any(weights.data is None for weights in weights_of(graphs[0]).values()):
        return b"", ()  # the file's own place counts for weights in other files
    graph = graphs[0]
    found = _removable_zip_maps(graph)
    if not found:
        return b"", ()
    tensor_of = {zip_map.output: zip_map.tensor for zip_map in found}
    pieces: list[bytes | memoryview] = []
    for number, value, start, end in _spans(graph):
        name = _text(value, 1) if number == _OUTPUT else ""
        if number == _NODE and _text(value, _NODE_OUTPUT) in tensor_of:
            continue
        if name in tensor_of:
            float_tensor = field(1, field(1, 1))  # TypeProto: tensor_type with elem_type FLOAT, of any shape
            info = field(1, tensor_of[name].encode("utf-8", "surrogateescape")) + field(2, float_tensor)
            pieces.append(field(_OUTPUT, info))
        else:
            pieces.append(graph[start:end])
    changed = b"".join(pieces)
    return b"".join(
        field(_GRAPH, changed) if number == _GRAPH else model[start:end] for number, _, start, end in _spans(model)
    ), tuple(found)


def _removable_zip_maps(graph: memoryview) -> list[ZipMap]:
    """Return the ZipMap nodes that make an output which no other node reads, of a tensor that a node computes."""
    outputs = [_text(output, 1) for output in _messages(graph, _OUTPUT)]
    made: set[str] = set()
    read: list[str] = []
    candidates = []
    for node in _messages(graph, _NODE):
        fields = list(_fields(node))
        inputs = [_decoded(value) for number, value in fields if number == _NODE_INPUT]
        made.update(_decoded(value) for number, value in fields if number == _NODE_OUTPUT)
        read += inputs
        if _text(node, _OP_TYPE) == "ZipMap" and _text(node, _DOMAIN) == "ai.onnx.ml":
            labels = _labels_of([value for number, value in fields if number == _ATTRIBUTE])
            outputs_of_node = [number for number, _ in fields].count(_NODE_OUTPUT)
            if len(inputs) == 1 and outputs_of_node == 1:
                candidates.append(ZipMap(_text(node, _NODE_OUTPUT), inputs[0], labels))
        elif any(number == _ATTRIBUTE and _has_graph(value) for number, value in fields):
            return []  # a subgraph may read anything
    return [
        zip_map
        for zip_map in candidates
        if zip_map.labels
        and outputs.count(zip_map.output) == 1
        and _is_declared(graph, zip_map)
        and sum(other.output == zip_map.output for other in candidates) == 1
        and zip_map.tensor in made
        and zip_map.tensor not in outputs
        and zip_map.output not in read
        and sum(other.tensor == zip_map.tensor for other in candidates) == 1
    ]


def _is_declared(graph: memoryview, zip_map: ZipMap) -> bool:
    """Whether the graph declares the output as ONNX Runtime would have it: a sequence of maps with such keys."""
    key_type = 8 if isinstance(zip_map.labels[0], str) else 7  # STRING, INT64
    output = next(output for output in _messages(graph, _OUTPUT) if _text(output, 1) == zip_map.output)
    return any(
        (1, key_type) in _fields(mapping)
        for type_ in _messages(output, 2)
        for sequence in _messages(type_, 4)
        for element in _messages(sequence, 1)
        for mapping in _messages(element, 5)
    )


def _labels_of(attributes: list[memoryview | int]) -> tuple[str, ...] | tuple[int, ...]:
    """Return the labels if the one attribute is a list of them, otherwise nothing: then ONNX Runtime has to say so."""
    if len(attributes) != 1:
        return ()
    name, fields = _text(attributes[0], 1), list(_fields(attributes[0]))
    if name == "classlabels_strings" and (20, 8) in fields:  # type STRINGS
        return tuple(_decoded(value) for number, value in fields if number == 9)
    if name == "classlabels_int64s" and (20, 7) in fields:  # type INTS
        return tuple(label for number, value in fields if number == 8 for label in _varints(value))
    return ()


def _has_graph(attribute: memoryview | int) -> bool:
    return isinstance(attribute, memoryview) and any(number in (6, 11) for number, _ in _fields(attribute))


def _text(message: memoryview | int, wanted: int) -> str:
    """Return the last text with this number in a message, or an empty one."""
    texts = [_decoded(value) for number, value in _fields(message) if number == wanted] if message else []
    return texts[-1] if texts else ""


def _decoded(value: memoryview | int) -> str:
    return "" if isinstance(value, int) else str(value, "utf-8", "surrogateescape")


# --- what a model consists of ---------------------------------------------------------------------------------------


def consists_of(model: memoryview, operators: Mapping[str, Collection[str]], most: int) -> bool:
    """Whether a model has at most so many nodes, all of these operators.

    Parameters
    ----------
    operators
        The names, by domain; ONNX's own domain is ``""``.
    most
        How many nodes are looked at: the answer for a larger model is no.
    """
    graphs = modelwalk.fields(model, 0, len(model), {_GRAPH})
    places = itertools.chain.from_iterable(modelwalk.fields(model, at, to, {_NODE}) for _, at, to in graphs)
    nodes = list(itertools.islice(places, most + 1))
    if not 0 < len(nodes) <= most:
        return False
    for _, start, end in nodes:
        texts = {
            number: modelwalk.text(model, at, to) for number, at, to in modelwalk.fields(model, start, end, _NAMES)
        }
        domain = texts.get(_DOMAIN, "")
        if texts.get(_OP_TYPE) not in operators.get("" if domain == "ai.onnx" else domain, ()):
            return False
    return True


def has_constant_shapes(model: memoryview, shaped_by_values: Collection[str]) -> bool:
    """Whether no value that a call brings decides about a shape; shapes that it brings may.

    Parameters
    ----------
    shaped_by_values
        Of the operators of which the model consists, those whose results are shaped by what is in their inputs after
        the first. That has to be the model's own, then.
    """
    if any(True for _ in _messages(model, _FUNCTION)):
        return False  # who knows what an operator's name stands for
    for graph in _messages(model, _GRAPH):
        constants = {_text(initializer, _NAME) for initializer in _messages(graph, _INITIALIZER)}
        constants -= {_text(given, 1) for given in _messages(graph, _INPUT)}  # of which a call may bring another one
        for node in _messages(graph, _NODE):
            operator = _text(node, _OP_TYPE)
            if operator == "Constant":
                if any(_text(attribute, 1) == "sparse_value" for attribute in _messages(node, _ATTRIBUTE)):
                    return False
                constants.add(_text(node, _NODE_OUTPUT))
            elif operator in shaped_by_values:
                _, *shaping = [_decoded(value) for number, value in _fields(node) if number == _NODE_INPUT]
                if not constants.issuperset(filter(None, shaping)):
                    return False
    return True


class Node(NamedTuple):
    """A node as far as it can be told without its subgraphs; `numbers` are its attributes that are one number."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: dict[str, float]


def node(message: memoryview) -> Node:
    """Read a NodeProto."""
    numbers: dict[str, float] = {}
    for attribute in _messages(message, _ATTRIBUTE):
        for number, value in _fields(attribute):
            if number == 2 and isinstance(value, memoryview) and len(value) == 4:
                numbers[_text(attribute, 1)] = struct.unpack("<f", value)[0]
            elif number == 3 and isinstance(value, int):
                numbers[_text(attribute, 1)] = value
    inputs, outputs = (
        tuple(_decoded(value) for number, value in _fields(message) if number == wanted)
        for wanted in (_NODE_INPUT, _NODE_OUTPUT)
    )
    return Node(_text(message, 3), _text(message, _OP_TYPE), inputs, outputs, numbers)


# --- protobuf's wire format -----------------------------------------------------------------------------------------


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, value in _fields(message):
        if number == wanted and isinstance(value, memoryview):
            yield value


def _fields(message: memoryview | int) -> Iterator[tuple[int, memoryview | int]]:
    """Yield the number and the value of each field: a number, or the bytes of whatever else."""
    for number, value, _, _ in _spans(message):
        yield number, value


def _spans(message: memoryview | int) -> Iterator[tuple[int, memoryview | int, int, int]]:
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


def _varints(value: memoryview | int) -> list[int]:
    """Return the numbers of a repeated field, which stands alone or packed."""
    if isinstance(value, int):
        return [value]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(number)
    return numbers
