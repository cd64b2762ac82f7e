"""Models that end the process: what ONNX Runtime crashes on, found by fuzzing, refused before it sees it.

A table of facts about ONNX Runtime, up to 1.31.1 at least; tests/fuzz/crashes has a model for each of them. It is no
protection from models that are made to crash it: see SECURITY.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from . import modelfile, modelwalk
from .errors import InvalidGraph

__all__ = ["check"]

_GRAPH, _NODE, _ATTRIBUTE, _FUNCTION = range(1, 5)
_CHILDREN = {
    modelwalk.MODEL: {7: _GRAPH, 25: _FUNCTION},
    _GRAPH: {1: _NODE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {6: _GRAPH, 11: _GRAPH},
    _FUNCTION: {7: _NODE},
}

# Inputs of operators for which ONNX Runtime does not expect an empty name, which stands for "left out": the first of
# them. ONNX forbids it for those that take any number of inputs, and allows it for the others.
_NOT_EMPTY = {"Einsum": 0, "Max": 0, "Mean": 0, "Min": 0, "Sum": 0, "DFT": 2, "LayerNormalization": 2}
_FUSED = "LayerNormalization"  # crashes only where nodes are fused
_LEVELS_WITHOUT_FUSION = ("disable", "basic")

_OPERATORS = (
    *_NOT_EMPTY,
    "ConvTranspose",
    "DepthToSpace",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Split",
)
_WORDS = re.compile(b"|".join(b"\x22" + bytes([len(name)]) + name.encode() for name in _OPERATORS))


def check(function: str, model: memoryview, optimization_level: str) -> None:
    """Refuse a model that would end the process.

    Parameters
    ----------
    function
        Who opens it, for the message.
    model
        Its content.
    optimization_level
        The session's.

    Raises
    ------
    InvalidGraph
        It names the node, and what is wrong with it.
    """
    try:
        for _, start, end in modelwalk.walk(model, _CHILDREN, {_NODE}, _WORDS):
            for problem in _problems(model[start:end], optimization_level):
                raise InvalidGraph(f"{function}: {problem}; ONNX Runtime crashes on that")
    except ValueError as error:
        if isinstance(error, InvalidGraph):
            raise
        return  # damaged, or no .onnx file: ONNX Runtime says so


def _problems(message: memoryview, optimization_level: str) -> Iterator[str]:
    node = modelfile.node(message)
    where = f"node {node.name!r} ({node.op_type})"
    numbers = node.numbers
    match node.op_type:
        case "Split" if len(node.outputs) > (count := numbers.get("num_outputs", len(node.outputs))):
            yield f"{where}: has {len(node.outputs)} outputs, but num_outputs={count}"
        case "Split" if "" in node.outputs:
            yield f"{where}: output {node.outputs.index('')} has an empty name"
        case "ConvTranspose" if numbers.get("group", 1) == 0:
            yield f"{where}: group=0: expected at least 1"
        case "DepthToSpace" if (size := numbers.get("blocksize", 1)) >= 2**31:  # its square is 0 in 64 bits
            yield f"{where}: blocksize={size}: expected less than 2**31"
        case "RandomUniform" | "RandomUniformLike":
            low, high = numbers.get("low", 0.0), numbers.get("high", 1.0)
            if not low <= high:
                yield f"{where}: low={low} and high={high}: expected low <= high"
        case "RandomNormal" | "RandomNormalLike" if not numbers.get("scale", 1.0) > 0:
            yield f"{where}: scale={numbers['scale']}: expected more than 0"
    if node.op_type == _FUSED and optimization_level in _LEVELS_WITHOUT_FUSION:
        return
    first = _NOT_EMPTY.get(node.op_type, len(node.inputs))
    for position, name in enumerate(node.inputs[first:], first):
        if not name:
            last = position == len(node.inputs) - 1
            advice = ": leave the empty name at the end out" if last else ""
            yield f"{where}: input {position} has an empty name{advice}"
