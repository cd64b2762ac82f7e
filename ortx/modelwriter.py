"""Models of one node, written by ortx for itself, and the one form of protobuf's fields that this takes.

See ``onnx.proto`` for the numbers of the fields.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["concatenation_model", "empty_sequence_model", "field"]

_GRAPH = 7  # of ModelProto


def empty_sequence_model(data_type: int) -> bytes:
    """Return a model without inputs, whose one output ``y`` is an empty sequence of tensors of an element type."""
    return _one_node_model("SequenceEmpty", {"dtype": data_type}, None, _sequence_type(data_type))


def concatenation_model(data_type: int) -> bytes:
    """Return a model that makes one tensor ``y`` of a sequence ``x`` of tensors of one shape, with an axis more."""
    attributes = {"axis": 0, "new_axis": 1}
    return _one_node_model("ConcatFromSequence", attributes, _sequence_type(data_type), _tensor_type(data_type))


def _one_node_model(op_type: str, attributes: dict[str, int], x: bytes | None, y: bytes) -> bytes:
    node = field(2, b"y") + field(4, op_type.encode())
    if x is not None:
        node += field(1, b"x")
    for name, value in attributes.items():
        node += field(5, field(1, name.encode()) + field(20, 2) + field(3, value))  # AttributeProto: type INT, i
    graph = field(1, node) + field(2, b"g") + field(12, field(1, b"y") + field(2, y))
    if x is not None:
        graph += field(11, field(1, b"x") + field(2, x))
    return field(1, 8) + field(_GRAPH, graph) + field(8, field(2, 14))  # ir_version, graph, opset


def _tensor_type(data_type: int) -> bytes:
    return field(1, field(1, data_type))  # TypeProto: tensor_type with its elem_type


def _sequence_type(data_type: int) -> bytes:
    return field(4, field(1, _tensor_type(data_type)))  # TypeProto: sequence_type with its elem_type


def field(number: int, value: bytes | int) -> bytes:
    """Write one field: a number, or a text or message."""
    if isinstance(value, int):
        return bytes([*_digits(number << 3), *_digits(value)])
    return bytes([*_digits(number << 3 | 2), *_digits(len(value))]) + value


def _digits(number: int) -> Iterator[int]:
    while number > 0x7F:
        yield number & 0x7F | 0x80
        number >>= 7
    yield number
