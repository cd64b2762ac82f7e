"""Run a model with two inputs on Core ML where there is one, else on the CPU.

    pip install "ortx[cpu]" onnx
    python examples/run_model.py --make-model model.onnx
    python examples/run_model.py model.onnx

The model has to compute an output y from two inputs x and bias, all of them float32 of shape (1, 2).
The first command above writes one that adds them, so the second prints 1.5. `run` shows the whole way:

* `ortx.session(path, providers=["coreml", "cpu"])` loads the model for the first provider that can
  be used. `fallback_to_cpu=True`, the default, turns one that cannot into a warning, which says why.
  `session.providers()` says what is used after all.
* `ortx.tensor("float32", (1, 2), [1.0, 2.0])` makes a tensor of a type, a shape and values. A numpy
  array would do as well.
* `ortx.run_options(tag="demo")` names the run in ONNX Runtime's messages.
* The outputs are numpy arrays, found by name, `outputs["y"]`, or position, `outputs[0]`.
* Whatever goes wrong in ortx is an `ortx.Error`.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import ortx


def run(path: Path) -> float:
    """Run the model and return the first element of y."""
    with ortx.session(path, providers=["coreml", "cpu"], fallback_to_cpu=True, coreml_compute_units="all") as session:
        x = ortx.tensor("float32", (1, 2), [1.0, 2.0])
        bias = ortx.tensor("float32", (1, 2), [0.5, -0.5])
        run_options = ortx.run_options(tag="demo")
        outputs = session.run({"x": x, "bias": bias}, ["y"], run_options)
        return outputs["y"].item(0)


def make_model(path: Path) -> None:
    """Write a model that adds x and bias.

    Raises ModuleNotFoundError if the package onnx is not installed, and OSError if there is such a
    file already or it cannot be written.
    """
    from onnx import TensorProto, helper

    x, bias, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 2)) for name in ("x", "bias", "y"))
    add = helper.make_node("Add", ["x", "bias"], ["y"])
    graph = helper.make_graph([add], "demo", [x, bias], [y])
    # These versions are old enough for any ONNX Runtime that ortx works with.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with path.open("xb") as file:
        file.write(model.SerializeToString())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 1 if the model cannot be run, else 0."""
    parser = argparse.ArgumentParser(
        description="Run a model on Core ML, or on the CPU where there is none, and print the first "
        "element of its output y. The model takes x and bias, both float32 of shape (1, 2).",
        epilog="For a model to try, use --make-model once; that needs the package onnx.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="the model, such as model.onnx")
    parser.add_argument(
        "--make-model", action="store_true", help="do not run MODEL, but write one there that adds x and bias"
    )
    given = parser.parse_args(arguments)

    # A warning takes one line here; by default it shows the code that it is about, too.
    warnings.showwarning = lambda message, *_: print(f"{parser.prog}: warning: {message}", file=sys.stderr)
    try:
        if given.make_model:
            make_model(given.model)
        else:
            print(run(given.model))
    except (ortx.Error, ModuleNotFoundError, OSError, ortx.ProviderFallbackWarning) as error:
        # A message that lists several problems has a line for each.
        print(f"{parser.prog}:", *map(str.strip, str(error).splitlines()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
