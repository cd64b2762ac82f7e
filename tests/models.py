"""Small models for the tests, built on the spot with the package `onnx`; each function returns the model's bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dimensions = Sequence[int | str | None] | None

OPSET = 17
IR_VERSION = 8  # what the oldest supported ONNX Runtime reads, too

NUMPY_TYPES = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "bool": TensorProto.BOOL,
}


def tensor(name: str, dtype: str = "float32", shape: Dimensions = ("n", 2)) -> onnx.ValueInfoProto:
    """Declare a tensor input or output; `None` for the shape leaves even the rank open."""
    return helper.make_tensor_value_info(name, NUMPY_TYPES[dtype], shape)


def constant(name: str, value: object, dtype: str = "float32") -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def build(
    nodes: Iterable[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
) -> bytes:
    graph = helper.make_graph(list(nodes), "graph", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()


def square(shape: Dimensions = ("n", 2)) -> bytes:
    """y = x * x"""
    return build(
        [helper.make_node("Mul", ["x", "x"], ["y"])],
        [tensor("x", shape=shape)],
        [tensor("y", shape=shape)],
    )


def add() -> bytes:
    """y = x + bias, with x of shape (batch, 2) and bias of shape (1, 2)"""
    return build(
        [helper.make_node("Add", ["x", "bias"], ["y"])],
        [tensor("x", shape=("batch", 2)), tensor("bias", shape=(1, 2))],
        [tensor("y", shape=("batch", 2))],
    )


def identity(dtype: str = "float32", shape: Dimensions = None) -> bytes:
    """y = x, copied by a node"""
    return build(
        [helper.make_node("Identity", ["x"], ["y"])],
        [tensor("x", dtype, shape)],
        [tensor("y", dtype, shape)],
    )


def passed_through() -> bytes:
    """Outputs x itself, which is an input, and y = x * x."""
    return build([helper.make_node("Mul", ["x", "x"], ["y"])], [tensor("x")], [tensor("x"), tensor("y")])


def overridable() -> bytes:
    """y = x * scale, where scale is an input with a default: an overridable initializer"""
    return build(
        [helper.make_node("Mul", ["x", "scale"], ["y"])],
        [tensor("x"), tensor("scale", shape=(1,))],
        [tensor("y")],
        [constant("scale", [10.0])],
    )


def sum_and_difference() -> bytes:
    """sum = a + b and difference = a - b"""
    names = ("a", "b")
    return build(
        [helper.make_node("Add", names, ["sum"]), helper.make_node("Sub", names, ["difference"])],
        [tensor(name) for name in names],
        [tensor("sum"), tensor("difference")],
    )


def many(count: int) -> bytes:
    """y0 = x0 * x0, y1 = x1 * x1, and so on"""
    return build(
        [helper.make_node("Mul", [f"x{i}", f"x{i}"], [f"y{i}"]) for i in range(count)],
        [tensor(f"x{i}") for i in range(count)],
        [tensor(f"y{i}") for i in range(count)],
    )


def sequence_output() -> bytes:
    """first = x * x, and a sequence of two tensors"""
    return build(
        [
            helper.make_node("Mul", ["x", "x"], ["first"]),
            helper.make_node("SequenceConstruct", ["x", "x"], ["both"]),
        ],
        [tensor("x")],
        [
            tensor("first"),
            helper.make_tensor_sequence_value_info("both", TensorProto.FLOAT, ("n", 2)),
        ],
    )


def slow(steps: int = 400, size: int = 256) -> bytes:
    """y = a long chain of matrix products of x with itself: something that takes a while, node by node"""
    nodes = [helper.make_node("MatMul", [f"t{i}", "x"], [f"t{i + 1}"]) for i in range(steps)]
    nodes[0].input[0] = "x"
    nodes[-1].output[0] = "y"
    return build(nodes, [tensor("x", shape=(size, size))], [tensor("y", shape=(size, size))])


def failing() -> bytes:
    """y = x reshaped to (3, 5): fails while it runs unless x has 15 elements"""
    return build(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [tensor("x", shape=("n",))],
        [tensor("y", shape=(3, 5))],
        [constant("shape", [3, 5], "int64")],
    )


def chain(*op_types: str) -> bytes:
    """Return a model of one operator after the other."""
    names = ["x", *(f"t{i}" for i in range(1, len(op_types))), "y"]
    nodes = [helper.make_node(op_type, [names[i]], [names[i + 1]]) for i, op_type in enumerate(op_types)]
    return build(nodes, [tensor("x")], [tensor("y")])


def loop() -> bytes:
    """Return y = 2 ** trips: the value of an input says how long it takes."""
    body = helper.make_graph(
        [helper.make_node("Add", ["v", "v"], ["w"]), helper.make_node("Identity", ["condition"], ["again"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            tensor("v", shape=[]),
        ],
        [helper.make_tensor_value_info("again", TensorProto.BOOL, []), tensor("w", shape=[])],
    )
    return build(
        [helper.make_node("Loop", ["trips", "", "one"], ["y"], body=body)],
        [tensor("trips", "int64", [])],
        [tensor("y", shape=[])],
        [constant("one", 1.0)],
    )


def reshaped(shape: onnx.ValueInfoProto | onnx.TensorProto, *more: onnx.NodeProto) -> bytes:
    """Return a model that declares y of shape (3, 2), and gives what `shape` says."""
    inputs, initializers = [tensor("x", shape=(6,))], []
    (inputs if isinstance(shape, onnx.ValueInfoProto) else initializers).append(shape)
    nodes = [*more, helper.make_node("Reshape", ["x", "shape"], ["y"])]
    return build(nodes, inputs, [tensor("y", shape=(3, 2))], initializers)
