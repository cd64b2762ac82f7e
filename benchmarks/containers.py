"""Models whose inputs or outputs are not arrays of numbers: strings, sequences, dictionaries."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from .models import Model, build


def strings(length: int, count: int = 10_000) -> Model:
    """Return y = x, so many strings of so many bytes."""
    x = np.array([f"{i:0{length}}" for i in range(count)], object)
    proto = build(
        [helper.make_node("Identity", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.STRING, [count])],
        [helper.make_tensor_value_info("y", TensorProto.STRING, [count])],
    )
    return Model(proto, {"x": x}, {"y": x.copy()}, (0, count * length))


def sequence(count: int = 1000) -> Model:
    """Return y = x, a sequence of so many tensors of four numbers."""
    x = [np.arange(4, dtype=np.float32) + i for i in range(count)]
    proto = build(
        [helper.make_node("Identity", ["x"], ["y"])],
        [helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, [4])],
    )
    return Model(proto, {"x": x}, {"y": [element.copy() for element in x]}, (count, 0))


def zip_map(rows: int = 10_000) -> Model:
    """Return a classifier of three classes, as scikit-learn's converters write them: a dictionary for each row."""
    labels = [3, 1, 2]
    coefficients = np.array([[1, 0.5], [0.5, 1], [-0.5, 0.25]], np.float32)
    intercepts = np.array([0, 0.25, 0.5], np.float32)
    x = np.random.default_rng(1).standard_normal((rows, 2), np.float32)
    scores = x @ coefficients.T + intercepts
    powers = np.exp(scores - scores.max(1, keepdims=True))
    probabilities = powers / powers.sum(1, keepdims=True)
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "scores"],
            domain="ai.onnx.ml",
            classlabels_ints=labels,
            coefficients=coefficients.ravel().tolist(),
            intercepts=intercepts.tolist(),
            multi_class=1,
            post_transform="SOFTMAX",
        ),
        helper.make_node("ZipMap", ["scores"], ["y"], domain="ai.onnx.ml", classlabels_int64s=labels),
    ]
    of_floats = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    dictionary = helper.make_map_type_proto(TensorProto.INT64, of_floats)
    proto = build(
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_value_info("y", helper.make_sequence_type_proto(dictionary)),
        ],
    )
    expected = {
        "label": np.array(labels)[scores.argmax(1)],
        "y": [dict(sorted(zip(labels, row, strict=True))) for row in probabilities.tolist()],
    }
    return Model(proto, {"x": x}, expected, (1 + 2 * rows, 0))
