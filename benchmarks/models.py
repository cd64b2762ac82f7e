"""The small models that are run, made on the spot, and what all models have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

# Old enough for every ONNX Runtime that ortx supports; 17 is the first with LayerNormalization.
IR_VERSION, OPSET = 8, 17

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """A model, what goes in and what has to come out.

    The names of inputs and outputs are Python identifiers: they become variables in the statements
    that are measured. `reads` is how many tensors, and bytes of strings, a C program reads that
    looks at all outputs.
    """

    proto: onnx.ModelProto
    inputs: Values
    expected: Values
    reads: tuple[int, int]


def tiny() -> Model:
    """Return y = x * x on six numbers: so little arithmetic that what counts is the call."""
    x = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
    return of_arrays([helper.make_node("Mul", ["x", "x"], ["y"])], {"x": x}, {"y": x * x})


def wide(count: int = 100) -> Model:
    """Return y_i = x_i * x_i, each on two numbers."""
    inputs = {f"x{i}": np.array([i, 0.5], np.float32) for i in range(count)}
    return of_arrays(
        [helper.make_node("Mul", [f"x{i}", f"x{i}"], [f"y{i}"]) for i in range(count)],
        inputs,
        {f"y{i}": x * x for i, x in enumerate(inputs.values())},
    )


def mlp() -> Model:
    """Return a perceptron, 256 numbers to 1024 to 256, one row of input."""
    random = np.random.default_rng(1)
    weights = Weights(random)
    x = random.standard_normal((1, 256), np.float32)
    first, second = weights.matrix(256, 1024), weights.matrix(1024, 256)
    nodes = [
        helper.make_node("MatMul", ["x", first], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", second], ["y"]),
    ]
    y = np.maximum(x @ weights.arrays[first], 0) @ weights.arrays[second]
    return of_arrays(nodes, {"x": x}, {"y": y}, weights)


def large_output(side: int = 4096) -> Model:
    """Return y[i, j] = a[i] + b[j]: little goes in, 64 MB come out."""
    a = np.arange(side, dtype=np.float32).reshape(side, 1)
    b = np.arange(side, dtype=np.float32).reshape(1, side)
    return of_arrays([helper.make_node("Add", ["a", "b"], ["y"])], {"a": a, "b": b}, {"y": a + b})


def many_inputs(count: int) -> Model:
    """Return y = all inputs, of one number each, one after another."""
    inputs = {f"x{i}": np.array([i], np.float32) for i in range(count)}
    node = helper.make_node("Concat", list(inputs), ["y"], axis=0)
    return of_arrays([node], inputs, {"y": np.concatenate(list(inputs.values()))})


def many_outputs(count: int) -> Model:
    """Return y_i = the number i of x."""
    x = np.arange(count, dtype=np.float32)
    outputs = {f"y{i}": x[i : i + 1].copy() for i in range(count)}
    weights = Weights(np.random.default_rng(1))
    parts = weights.add(np.ones(count, np.int64))
    return of_arrays([helper.make_node("Split", ["x", parts], list(outputs), axis=0)], {"x": x}, outputs, weights)


def of_size(size: int) -> Model:
    """Return y = -x, of so many bytes."""
    x = np.arange(size // 4, dtype=np.float32)
    return of_arrays([helper.make_node("Neg", ["x"], ["y"])], {"x": x}, {"y": -x})


@dataclass
class Weights:
    """Random weights, and constants, under names of their own."""

    random: np.random.Generator
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def add(self, array: npt.NDArray[Any]) -> str:
        """Keep an array; return its name."""
        name = f"w{len(self.arrays)}"
        self.arrays[name] = array
        return name

    def matrix(self, *shape: int) -> str:
        """Return the name of random weights that keep numbers about as large as they are."""
        fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
        return self.add(self.random.standard_normal(shape, np.float32) * np.float32(fan_in**-0.5))

    def vector(self, size: int, around: float = 0.0) -> str:
        """Return the name of a random bias or scale."""
        return self.add(np.float32(around) + np.float32(0.1) * self.random.standard_normal(size, np.float32))

    def protos(self) -> list[onnx.TensorProto]:
        """Return all as initializers."""
        return [numpy_helper.from_array(array, name) for name, array in self.arrays.items()]


def of_arrays(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, npt.NDArray[Any]],
    expected: Mapping[str, npt.NDArray[Any]],
    weights: Weights | None = None,
) -> Model:
    """Return a model whose inputs and outputs are arrays of numbers."""
    initializers = weights.protos() if weights else []
    proto = build(nodes, _declared(inputs), _declared(expected), initializers)
    return Model(proto, inputs, expected, (len(expected), 0))


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    """Return a model of these parts."""
    return helper.make_model(
        helper.make_graph(nodes, "benchmark", inputs, outputs, initializers),
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 1)],
    )


def _declared(arrays: Mapping[str, npt.NDArray[Any]]) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in arrays.items()
    ]
