"""Write the models of crashes/ anew, each as small as it can be: ``python tests/fuzz/make_crashes.py``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

FOLDER = Path(__file__).with_name("crashes")
X = ("x", TensorProto.FLOAT, (2, 3))


def model(
    op_type: str,
    inputs: list[str],
    outputs: int | list[str] = 1,
    x: tuple = X,
    opset: int = 17,
    initializers: Sequence[onnx.TensorProto] = (),
    **attributes,
) -> bytes:
    """Return a model of one node, whose inputs are all of one shape, or weights of its own."""
    names = [f"y{i}" for i in range(outputs)] if isinstance(outputs, int) else outputs
    node = helper.make_node(op_type, inputs, names, **attributes)
    given = dict.fromkeys(name for name in inputs if name and name not in {weights.name for weights in initializers})
    ends = [helper.make_tensor_value_info(name, *x[1:]) for name in given]
    results = [onnx.ValueInfoProto(name=name) for name in names if name]
    graph = helper.make_graph([node], "graph", ends, results, initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name="")
    return made.SerializeToString(deterministic=True)


def one_hot() -> bytes:
    """Return OneHot of a depth without elements, given as an initializer or in a run; here the former."""
    depth = helper.make_tensor("depth", TensorProto.INT64, [0], [])
    ends = [helper.make_tensor_value_info(name, TensorProto.INT64, [2]) for name in ("indices", "values")]
    node = helper.make_node("OneHot", ["indices", "depth", "values"], ["y"])
    graph = helper.make_graph([node], "graph", ends, [onnx.ValueInfoProto(name="y")], [depth])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="")
    return made.SerializeToString(deterministic=True)


IMAGE = ("x", TensorProto.FLOAT, (1, 1, 1, 1))
SIGNAL = ("x", TensorProto.FLOAT, (1, 4, 2))
# By what is wrong; hazards.py refuses all of them.
REFUSED = {
    "conv-transpose-of-no-groups": lambda: model(
        "ConvTranspose", ["x", "w"], x=IMAGE, initializers=[helper.make_tensor("w", *IMAGE[1:], [1.0])], group=0
    ),
    "depth-to-space-blocksize": lambda: model(
        "DepthToSpace", ["x"], x=("x", TensorProto.FLOAT, (1, 4, 1, 1)), blocksize=2**32
    ),
    "dft-without-axis": lambda: model("DFT", ["x", "", ""], x=SIGNAL, opset=20),
    "einsum-empty-input": lambda: model("Einsum", ["x", ""], equation="ij,ij->ij"),
    "layer-normalization-without-bias": lambda: model("LayerNormalization", ["x", "x", ""]),
    "max-empty-input": lambda: model("Max", ["x", ""]),
    "mean-empty-input": lambda: model("Mean", ["x", "", "x"]),
    "min-empty-input": lambda: model("Min", ["x", ""]),
    "random-normal-scale": lambda: model("RandomNormal", [], scale=0.0, shape=[2]),
    "random-normal-like-scale": lambda: model("RandomNormalLike", ["x"], scale=-1.0),
    "random-uniform-bounds": lambda: model("RandomUniform", [], low=2.0, shape=[2]),
    "random-uniform-like-bounds": lambda: model("RandomUniformLike", ["x"], high=float("nan")),
    "split-empty-output": lambda: model("Split", ["x"], ["y0", ""], opset=18, num_outputs=2),
    "split-more-outputs-than-it-says": lambda: model("Split", ["x"], 4, opset=18, num_outputs=1),
    "sum-empty-input": lambda: model("Sum", ["x", ""]),
}
# What cannot be told from the model alone, since it depends on the values and shapes of a run.
KNOWN = {
    "one-hot-of-no-depth": one_hot,
    "unique-along-an-axis-of-nothing": lambda: model("Unique", ["x"], x=("x", TensorProto.FLOAT, (2, 0)), axis=0),
}
MODELS = REFUSED | KNOWN

if __name__ == "__main__":
    for name, made in MODELS.items():
        (FOLDER / f"{name}.onnx").write_bytes(made())
