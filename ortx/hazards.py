"""Models that end the process: what ONNX Runtime crashes on, found by fuzzing, refused before it sees it.

A table of facts about ONNX Runtime, up to 1.31.1 at least; tests/fuzz/crashes has a model for each of them. It is no
protection from models that are made to crash it: see SECURITY.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from . import modelwire
from ._core import InvalidGraph

__all__ = ["check"]

# Inputs of operators for which ONNX Runtime does not expect an empty name, which stands for "left out": the first of
# them. ONNX forbids it for those that take any number of inputs, and allows it for the others.
_NOT_EMPTY = {"Einsum": 0, "Max": 0, "Mean": 0, "Min": 0, "Sum": 0, "DFT": 2, "LayerNormalization": 2}
_FUSED = "LayerNormalization"  # crashes only where nodes are fused
_LEVELS_WITHOUT_FUSION = ("disable", "basic")


def check(function: str, nodes: Iterable[bytes], optimization_level: str) -> None:
    """Refuse a model that would end the process.

    Parameters
    ----------
    function
        Who opens it, for the message.
    nodes
        Those of its nodes that may do so: what the core has found (`_core.src/walk.pxi`), each a NodeProto.
    optimization_level
        The session's.

    Raises
    ------
    InvalidGraph
        It names the node, and what is wrong with it.
    """
    for node in nodes:
        try:
            problem = next(_problems(memoryview(node), optimization_level), "")
        except ValueError:
            return  # damaged: ONNX Runtime says so
        if problem:
            raise InvalidGraph(f"{function}: {problem}; ONNX Runtime crashes on that")


def _problems(message: memoryview, optimization_level: str) -> Iterator[str]:
    name, op_type, inputs, outputs, numbers = _read(message)
    where = f"node {name!r} ({op_type})"
    match op_type:
        case "Split" if len(outputs) > (count := numbers.get("num_outputs", len(outputs))):
            yield f"{where}: has {len(outputs)} outputs, but num_outputs={count}"
        case "Split" if "" in outputs:
            yield f"{where}: output {outputs.index('')} has an empty name"
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
    if op_type == _FUSED and optimization_level in _LEVELS_WITHOUT_FUSION:
        return
    first = _NOT_EMPTY.get(op_type, len(inputs))
    for position, given in enumerate(inputs[first:], first):
        if not given:
            last = position == len(inputs) - 1
            advice = ": leave the empty name at the end out" if last else ""
            yield f"{where}: input {position} has an empty name{advice}"


def _read(node: memoryview) -> tuple[str, str, list[str], list[str], dict[str, float]]:
    """Return name, operator, inputs and outputs of a NodeProto, and its attributes that are one number."""
    numbers: dict[str, float] = {}
    for attribute in modelwire.messages(node, 5):
        for number, value in modelwire.fields(attribute):
            if number == 2 and isinstance(value, memoryview) and len(value) == 4:
                numbers[modelwire.text(attribute, 1)] = struct.unpack("<f", value)[0]
            elif number == 3 and isinstance(value, int):
                numbers[modelwire.text(attribute, 1)] = value
    inputs, outputs = (
        [modelwire.decoded(value) for number, value in modelwire.fields(node) if number == wanted] for wanted in (1, 2)
    )
    return modelwire.text(node, 3), modelwire.text(node, 4), inputs, outputs, numbers
