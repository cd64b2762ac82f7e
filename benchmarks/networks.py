"""Models of the size that people run, with random weights: what they compute means nothing, what it costs does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime  # type: ignore[import-untyped]
from onnx import TensorProto, helper

from .models import Model, Weights, build


@dataclass
class Network:
    """Nodes that are added one after another; every method returns the name of what it computes."""

    weights: Weights = field(default_factory=lambda: Weights(np.random.default_rng(1)))
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add one node."""
        name = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def numbers(self, *values: float) -> str:
        """Return a constant of float32: a scalar if it is only one."""
        return self.weights.add(np.array(values[0] if len(values) == 1 else values, np.float32))

    def sizes(self, *values: int) -> str:
        """Return a constant of int64."""
        return self.weights.add(np.array(values, np.int64))

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        """Add a matrix product and a bias."""
        return self.add(
            "Add", self.add("MatMul", x, self.weights.matrix(inputs, outputs)), self.weights.vector(outputs)
        )

    def normalised(self, x: str, size: int, output: str = "") -> str:
        """Add a LayerNormalization over the last axis."""
        scale, bias = self.weights.vector(size, around=1), self.weights.vector(size)
        return self.add("LayerNormalization", x, scale, bias, output=output, axis=-1, epsilon=1e-12)

    def gelu(self, x: str) -> str:
        """Add x / 2 * (1 + erf(x / sqrt 2)), node by node, as exporters write it."""
        erf = self.add("Erf", self.add("Div", x, self.numbers(2**0.5)))
        return self.add("Mul", self.add("Mul", x, self.add("Add", erf, self.numbers(1.0))), self.numbers(0.5))

    def convolution(self, x: str, inputs: int, outputs: int, size: int, stride: int) -> str:
        """Add a Conv, its BatchNormalization folded into it as ONNX Runtime would do."""
        # The factor keeps the numbers as large as they are although each Relu takes half of them.
        name = self.weights.matrix(outputs, inputs, size, size)
        self.weights.arrays[name] *= np.float32(2**0.5)
        pad = size // 2
        bias = self.weights.vector(outputs)
        return self.add("Conv", x, name, bias, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[pad] * 4)


def transformer(
    layers: int = 6,
    hidden: int = 384,
    heads: int = 12,
    inner: int = 1536,
    vocabulary: int = 30522,
    length: int = 128,
) -> Model:
    """Return an encoder of MiniLM's size: one text of `length` tokens to one vector per token."""
    net = Network()
    each = hidden // heads
    embedded = net.add("Gather", net.weights.matrix(vocabulary, hidden), "input_ids")
    x = net.normalised(net.add("Add", embedded, net.weights.matrix(length, hidden)), hidden)
    ones = net.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    left_out = net.add("Mul", net.add("Sub", net.numbers(1.0), ones), net.numbers(-10000.0))
    mask = net.add("Unsqueeze", left_out, net.sizes(1, 2))

    def split(value: str, permutation: list[int]) -> str:
        parts = net.add("Reshape", value, net.sizes(1, length, heads, each))
        return net.add("Transpose", parts, perm=permutation)

    for layer in range(layers):
        query, key, value = (net.linear(x, hidden, hidden) for _ in range(3))
        product = net.add("MatMul", split(query, [0, 2, 1, 3]), split(key, [0, 2, 3, 1]))
        scores = net.add("Add", net.add("Div", product, net.numbers(each**0.5)), mask)
        mixed = net.add("MatMul", net.add("Softmax", scores, axis=-1), split(value, [0, 2, 1, 3]))
        joined = net.add("Reshape", net.add("Transpose", mixed, perm=[0, 2, 1, 3]), net.sizes(1, length, hidden))
        x = net.normalised(net.add("Add", net.linear(joined, hidden, hidden), x), hidden)
        wide = net.gelu(net.linear(x, hidden, inner))
        output = "y" if layer == layers - 1 else ""
        x = net.normalised(net.add("Add", net.linear(wide, inner, hidden), x), hidden, output)
    ids = net.weights.random.integers(0, vocabulary, (1, length))
    mask_values = np.ones((1, length), np.int64)
    mask_values[0, length * 3 // 4 :] = 0
    return _computed(net, {"input_ids": ids, "attention_mask": mask_values}, [1, length, hidden])


def resnet(
    widths: tuple[int, ...] = (64, 128, 256, 512), blocks: int = 2, side: int = 224, classes: int = 1000
) -> Model:
    """Return a network of ResNet-18's size: one picture to a number for each class."""
    net = Network()
    x = net.add("Relu", net.convolution("x", 3, widths[0], 7, 2))
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inputs = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            inner = net.add("Relu", net.convolution(x, inputs, width, 3, stride))
            inner = net.convolution(inner, width, width, 3, 1)
            same = x if stride == 1 and inputs == width else net.convolution(x, inputs, width, 1, stride)
            half = net.add("Mul", net.add("Add", inner, same), net.numbers(0.5**0.5))
            x, inputs = net.add("Relu", half), width
    pooled = net.add("Flatten", net.add("GlobalAveragePool", x), axis=1)
    net.add("Gemm", pooled, net.weights.matrix(inputs, classes), net.weights.vector(classes), output="y")
    picture = net.weights.random.standard_normal((1, 3, side, side), np.float32)
    return _computed(net, {"x": picture}, [1, classes])


def _computed(net: Network, inputs: Mapping[str, npt.NDArray[Any]], shape: list[int]) -> Model:
    """Finish a model. What the official package computes is what every row has to."""
    declared = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in inputs.items()
    ]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    proto = build(net.nodes, declared, [y], net.weights.protos())
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, dict(inputs))
    return Model(proto, inputs, {"y": expected}, (1, 0))
