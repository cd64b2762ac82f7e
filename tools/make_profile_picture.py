"""Draw the picture of docs/observability.md: ``python -m tools.make_profile_picture``.

The model has two layers side by side, and a loop with another one in its body.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import ortx

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "profile.svg"
RUNS, ROWS, SIZE = 20, 64, 256


def model() -> bytes:
    """Return the model as bytes."""

    def declared(name: str, shape: Sequence[int] | None, element: int = TensorProto.FLOAT) -> object:
        return helper.make_tensor_value_info(name, element, shape)

    def layer(x: str, y: str) -> list[object]:
        return [
            helper.make_node("MatMul", [x, f"weights_of_{y}"], [f"{y}_product"], name=f"{y}_product"),
            helper.make_node("Sigmoid", [f"{y}_product"], [y], name=f"{y}_activation"),
        ]

    body = helper.make_graph(
        [*layer("state", "step"), helper.make_node("Identity", ["go_on"], ["goes_on"], name="condition")],
        "body",
        [declared("i", (), TensorProto.INT64), declared("go_on", (), TensorProto.BOOL), declared("state", None)],
        [declared("goes_on", (), TensorProto.BOOL), declared("step", None)],
    )
    nodes = [
        *layer("x", "left"),
        *layer("x", "right"),
        helper.make_node("Add", ["left", "right"], ["both"], name="both"),
        helper.make_node("Loop", ["count", "", "both"], ["looped"], name="loop", body=body),
        helper.make_node("Softmax", ["looped"], ["y"], name="softmax"),
    ]
    draw = np.random.default_rng(0).normal
    weights = [
        numpy_helper.from_array(draw(0, 0.05, (SIZE, SIZE)).astype(np.float32), f"weights_of_{layer}")
        for layer in ("left", "right", "step")
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [declared("x", (ROWS, SIZE)), declared("count", (), TensorProto.INT64)],
        [declared("y", (ROWS, SIZE))],
        weights,
    )
    opsets = [helper.make_opsetid("", 17)]
    content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return content


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the model, print its profile and draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", default=str(PICTURE), help="where to write the picture")
    path = parser.parse_args(arguments).path
    x = np.ones((ROWS, SIZE), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        options = {"profile_file_prefix": Path(folder, "profile"), "intra_op_num_threads": 1}
        with ortx.session_from_bytes(model(), options) as session:
            for _ in range(RUNS):
                session.run([x, np.array(6)])
            profile = ortx.profiling.read(session.end_profiling())
    profile.print()
    profile.plot(path)


if __name__ == "__main__":
    main()
