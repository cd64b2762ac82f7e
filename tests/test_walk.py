"""The way through a model's messages to what few models have (`_core.src/walk.pxi`)."""

from __future__ import annotations

import models
import onnx
import pytest
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper

from ortx import _core, externalfiles

NOTHING = ([], False, False)


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number: int) -> bytes:
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


EXTERNAL = field(13, field(1, b"location") + field(2, b"weights.bin"))
TENSOR = field(8, b"w") + EXTERNAL
NODE = field(1, b"x") + field(4, b"Split") + field(2, b"y")


# --- where they may be

# The ways from a model down to a tensor, as numbers of fields.
WAYS_TO_A_TENSOR = {
    "an initializer": (7, 5),
    "the values of a sparse initializer": (7, 15, 1),
    "the indices of a sparse initializer": (7, 15, 2),
    "an attribute": (7, 1, 5, 5),
    "an attribute of several": (7, 1, 5, 10),
    "a sparse attribute": (7, 1, 5, 22, 1),
    "a sparse attribute of several": (7, 1, 5, 23, 2),
    "a subgraph": (7, 1, 5, 6, 5),
    "a subgraph of several": (7, 1, 5, 11, 5),
    "a function's node": (25, 7, 5, 5),
    "a default of a function": (25, 11, 5),
    "the initialization of a training": (20, 1, 5),
    "the algorithm of a training": (20, 2, 1, 5, 5),
}


def inside(way: tuple[int, ...], message: bytes) -> bytes:
    for number in reversed(way):
        message = field(number, message)
    return message


@pytest.mark.parametrize("padding", [b"", field(9, bytes(1 << 17))], ids=["small", "large"])
@pytest.mark.parametrize("way", WAYS_TO_A_TENSOR)
def test_data_in_other_files_are_found_wherever_they_may_be(way, padding):
    model = inside(WAYS_TO_A_TENSOR[way], padding + TENSOR)
    assert _core.looked_through(model) == ([], True, False)
    assert list(externalfiles.locations(memoryview(model))) == [("w", "weights.bin")]
    assert _core.looked_through(inside(WAYS_TO_A_TENSOR[way], padding + field(8, b"w"))) == NOTHING


@pytest.mark.parametrize("way", [(7, 1), (25, 7), (7, 1, 5, 6, 1), (7, 1, 5, 11, 1), (25, 7, 5, 6, 1)], ids=str)
def test_nodes_that_may_crash_are_found_in_graphs_functions_and_subgraphs(way):
    assert _core.looked_through(inside(way, NODE)) == ([NODE], False, False)


def test_operators_that_crash_for_an_empty_name_are_found_only_with_one():
    for op_type in sorted(_core.HAZARDOUS):
        found = [
            _core.looked_through(inside((7, 1), field(4, op_type) + b"".join(field(1, name) for name in names)))[0]
            for names in ([b"x", b"x"], [b"x", b""])
        ]
        assert [len(nodes) for nodes in found] == [op_type not in _core.HAZARDOUS_IF_EMPTY, 1]


def test_a_zip_map_is_found_in_the_graph_itself():
    node = field(4, b"ZipMap")
    assert _core.looked_through(inside((7, 1), node)) == ([], False, True)
    for elsewhere in (inside((7, 1, 5, 6, 1), node), inside((25, 7), node), inside((7, 1), field(3, b"ZipMap"))):
        assert _core.looked_through(elsewhere) == NOTHING


def test_an_ordinary_model_has_none_of_it():
    assert _core.looked_through(models.square()) == NOTHING
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    model = models.build(
        [helper.make_node("Max", ["x", "w"], ["y"])], [models.tensor("x", shape=(3,))], [models.tensor("y")], [weights]
    )
    assert _core.looked_through(model) == NOTHING


# --- how they may be written


@pytest.mark.parametrize("zeros", range(9))  # ten bytes at most
def test_numbers_may_have_more_bytes_than_they_need(zeros):
    tensor = field(5, TENSOR)
    padded = bytes([len(tensor) | 0x80]) + b"\x80" * zeros + b"\x00"
    assert _core.looked_through(b"\x3a" + padded + tensor) == ([], True, False)


def test_a_number_of_more_than_64_bits_is_no_end():
    """Protobuf drops the bits above; a model with one is read as if they were not there."""
    ir_version = b"\x08" + b"\x88" + b"\x80" * 8 + b"\x7e"
    assert onnx.ModelProto.FromString(ir_version + inside((7, 5), TENSOR)).graph.initializer[0].name == "w"
    assert _core.looked_through(ir_version + inside((7, 5), TENSOR))[1]


def test_fields_in_any_order_twice_and_of_other_kinds_hide_nothing():
    graph = field(2, b"name") + b"\x18\x07" + b"\x25abcd" + b"\x29abcdefgh" + b"\x43" + field(99, b"?") + b"\x44"
    assert _core.looked_through(field(7, field(5, field(8, b"v"))) + field(7, graph + field(5, TENSOR)))[1]


@pytest.mark.parametrize(
    "damage", [b"\x3a\xff", b"\x00", b"\x07\x01", b"\x08", b"\x08" + b"\xff" * 10 + b"\x01", b"\x0d\x01", b"ORTM"]
)
def test_of_a_damaged_model_nothing_is_told(damage):
    model = inside((7, 5), TENSOR) + inside((7, 1), NODE)
    assert _core.looked_through(model) == ([NODE], True, False)
    assert _core.looked_through(model + damage) == NOTHING
    with pytest.raises(DecodeError):
        onnx.ModelProto.FromString(model + damage)


@pytest.mark.parametrize(("levels", "is_read"), [(20, True), (200, False)])
def test_messages_may_be_nested_as_deep_as_protobuf_reads_them(levels, is_read):
    model = inside((7, *(1, 5, 6) * levels, 5), TENSOR)
    assert _core.looked_through(model)[1] is is_read
    if not is_read:
        with pytest.raises(DecodeError):
            onnx.ModelProto.FromString(model)
