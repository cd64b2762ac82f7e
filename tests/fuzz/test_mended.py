"""What the fuzzers have found in ortx itself, and was mended: each as small as it can be."""

from __future__ import annotations

import models
import numpy as np
import onnx
import pytest
from onnx import helper
from test_fuzz_dlpack import Exporter

import ortx

X = np.ones((3, 2), np.float32)


def test_an_array_in_place_of_a_list_of_outputs_is_a_call_error():
    with (
        ortx.session_from_bytes(models.square()) as session,
        pytest.raises(ortx.CallError, match=r"(?s)outputs: got array.* expected a mapping"),
    ):
        session.run_into({}, X)


@pytest.mark.parametrize(
    ("lies", "words"),
    [
        ({"shape": None}, "it has 2 dimensions, but no sizes of them"),
        ({"shape": None, "data": False}, "no sizes"),
        ({"ndim": -1}, "it has -1 dimensions"),
        ({"ndim": -(2**31)}, "it has -2147483648 dimensions"),
        ({"strides": (2**61, 1)}, "its stride 0 of 2305843009213693952 elements leads out of any memory"),
        ({"strides": (1, -(2**63))}, "its stride 1 of -9223372036854775808 elements"),
    ],
)
def test_a_capsule_without_sense_is_refused(lies, words):
    exporter = Exporter(lies)
    with pytest.raises(ortx.Error, match=words):
        ortx.tensor(exporter)
    assert exporter.given_back == 1


def test_the_largest_strides_that_are_taken_do_not_overflow():
    exporter = Exporter({"strides": (1 << 56, 1), "shape": (1, 2)})
    assert ortx.tensor(exporter).numpy().tolist() == [[128, 129]]


def test_an_output_of_a_shape_that_numpy_cannot_have_is_an_error_of_ortx():
    shape = [0, 2**31, 2**31, 2]
    nodes = [
        helper.make_node("RandomUniform", [], ["y"], shape=shape),
        helper.make_node("SequenceConstruct", ["y"], ["s"]),
    ]
    outputs = [onnx.ValueInfoProto(name="y"), helper.make_tensor_sequence_value_info("s", 1, None)]
    with ortx.session_from_bytes(models.build(nodes, [], outputs), graph_optimization_level="disable") as session:
        for name in ("y", "s"):
            with pytest.raises(
                ortx.NotSupported, match=r"an output has the shape \(0, 2147483648, .* numpy cannot have"
            ):
                session.run([], [name])


def test_lists_deeper_than_numpy_walks_are_an_error_of_ortx():
    value: object = 1.0
    for _ in range(60):
        value = [value]
    with ortx.session_from_bytes(models.identity("int64", ("n",))) as session, pytest.raises(ortx.CallError):
        session.run([value])


@pytest.mark.parametrize("shape", [(2**62,), (2**70,), (0, 2**62, 2**62), (1,) * 70])
@pytest.mark.parametrize("data_type", ["float", "string"])
def test_a_tensor_of_a_shape_that_numpy_cannot_have_is_an_error_of_ortx(shape, data_type):
    for values in (None, []):
        with pytest.raises(ortx.InvalidArgument, match="shape: .* which numpy cannot have"):
            ortx.tensor(data_type, shape, values)
