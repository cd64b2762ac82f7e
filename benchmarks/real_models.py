"""Models in which arithmetic counts: a perceptron, a transformer and a convolutional network with random weights.

What an option is worth does not depend on the weights, so they are drawn at random, from a fixed seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]

SEED = 1
# Old enough for every ONNX Runtime that ortx supports; 17 is the first that has LayerNormalization.
OPSET, IR_VERSION = 17, 8


@dataclass(frozen=True)
class RealModel:
    """A model as bytes, and the one array that goes in."""

    key: str
    title: str
    content: bytes
    x: Array


@dataclass
class Builder:
    """Collects nodes and weights; each method appends something and returns the name of its result."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(SEED))

    def node(self, operator: str, *inputs: str, **attributes: object) -> str:
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, value: Array) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def normal(self, *shape: int) -> str:
        """Return weights that keep values about as large as they were, whatever the depth, if a ReLU follows."""
        values = self.random.standard_normal(shape, np.float32)
        summands = np.prod(shape[1:]) if len(shape) == 4 else shape[0]
        return self.constant(values * np.float32(np.sqrt(2 / summands)))

    def numbers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def dense(self, x: str, width: int, to: int) -> str:
        """x @ w + b"""
        return self.node("Add", self.node("MatMul", x, self.normal(width, to)), self.constant(np.zeros(to, np.float32)))

    def normalised(self, x: str, width: int) -> str:
        scale, bias = np.ones(width, np.float32), np.zeros(width, np.float32)
        return self.node("LayerNormalization", x, self.constant(scale), self.constant(bias))

    def attention(self, x: str, length: int, width: int, heads: int) -> str:
        """Self-attention of a single sequence."""
        split = self.numbers(1, length, heads, width // heads)
        query, key, value = (
            self.node("Transpose", self.node("Reshape", self.dense(x, width, width), split), perm=order)
            for order in ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3))
        )
        scale = self.constant(np.array(np.sqrt(width // heads), np.float32))
        weights = self.node("Softmax", self.node("Div", self.node("MatMul", query, key), scale), axis=-1)
        mixed = self.node("Transpose", self.node("MatMul", weights, value), perm=(0, 2, 1, 3))
        return self.dense(self.node("Reshape", mixed, self.numbers(1, length, width)), width, width)

    def model(self, key: str, title: str, shape: Sequence[int], output: str) -> RealModel:
        """Return the model of the input ``x`` whose output is `output`."""
        self.nodes.append(helper.make_node("Identity", [output], ["y"]))
        declared = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
        # Without its shape, which ONNX Runtime infers.
        result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "benchmark", [declared], [result], self.weights)
        proto = helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])
        return RealModel(key, title, proto.SerializeToString(), self.random.standard_normal(tuple(shape), np.float32))


def perceptron(widths: Sequence[int] = (256, 1024, 256)) -> RealModel:
    """Return dense layers with ReLU between them, on a single row."""
    builder = Builder()
    x = "x"
    for i in range(len(widths) - 1):
        x = builder.dense(builder.node("Relu", x) if i else x, widths[i], widths[i + 1])
    return builder.model("perceptron", f"MLP {'-'.join(map(str, widths))}, one row", (1, widths[0]), x)


def transformer(layers: int = 2, length: int = 32, width: int = 512, heads: int = 8) -> RealModel:
    """Return encoder layers with attention and a feed-forward part, on one sequence of vectors."""
    builder = Builder()
    x = "x"
    for _ in range(layers):
        x = builder.normalised(builder.node("Add", x, builder.attention(x, length, width, heads)), width)
        inner = builder.node("Relu", builder.dense(x, width, 4 * width))
        x = builder.normalised(builder.node("Add", x, builder.dense(inner, 4 * width, width)), width)
    title = f"transformer, {layers} layers of width {width}, {length} tokens"
    return builder.model("transformer", title, (1, length, width), x)


def convolutional(widths: Sequence[int] = (32, 64, 128, 256, 512, 512), size: int = 64) -> RealModel:
    """Return 3x3 convolutions that halve a picture of 3 channels again and again, and the mean of what is left."""
    builder = Builder()
    x, channels = "x", 3
    for width in widths:
        for stride, before in ((2, channels), (1, width)):
            x = builder.node(
                "Conv", x, builder.normal(width, before, 3, 3), pads=[1, 1, 1, 1], strides=[stride, stride]
            )
            x = builder.node("Relu", x)
        channels = width
    title = f"CNN, {2 * len(widths)} convolutions, {size} x {size} pixels"
    return builder.model("cnn", title, (1, 3, size, size), builder.node("GlobalAveragePool", x))
