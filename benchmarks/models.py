"""The models that are run, made on the spot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Model:
    """A model, what goes in and what has to come out.

    The names of inputs and outputs are Python identifiers: they become variables in the statements
    that are measured.
    """

    title: str
    proto: onnx.ModelProto
    inputs: Arrays
    expected: Arrays


def tiny() -> Model:
    """Return y = x * x on six numbers: so little arithmetic that what counts is the call."""
    x = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
    return _model(
        "y = x * x, float32, shape (3, 2)",
        [onnx.helper.make_node("Mul", ["x", "x"], ["y"])],
        {"x": x},
        {"y": x * x},
    )


def _model(title: str, nodes: list[onnx.NodeProto], inputs: Arrays, expected: Arrays) -> Model:
    graph = onnx.helper.make_graph(nodes, "benchmark", _declared(inputs), _declared(expected))
    proto = onnx.helper.make_model(
        graph,
        # Old enough for every ONNX Runtime that ortx supports.
        ir_version=8,
        opset_imports=[onnx.helper.make_opsetid("", 13)],
    )
    return Model(title, proto, inputs, expected)


def _declared(arrays: Arrays) -> list[onnx.ValueInfoProto]:
    return [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in arrays.items()
    ]
