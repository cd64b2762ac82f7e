"""ZipMap nodes of ``.onnx`` models: what they are, and the model without them."""

from __future__ import annotations

from typing import NamedTuple

from . import modelfile, modelwire
from .modelwriter import field

__all__ = ["ZipMap", "without_zip_maps"]

# Field numbers of ModelProto, GraphProto and NodeProto, see ``onnx.proto``.
_GRAPH, _OPSET_IMPORT = 7, 8
_NODE, _OUTPUT = 1, 12
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7


class ZipMap(NamedTuple):
    """A node of scikit-learn's converters that makes a list of dictionaries of a tensor, as an output of the model.

    Attributes
    ----------
    output : str
        Name of the output.
    tensor : str
        Name of the tensor, of shape (rows, labels) or (labels,).
    labels : tuple of str or of int
        The keys, in the order of the columns.
    """

    output: str
    tensor: str
    labels: tuple[str, ...] | tuple[int, ...]


def without_zip_maps(model: memoryview) -> tuple[bytes, tuple[ZipMap, ...]]:
    """Return a model whose outputs are the tensors that its ZipMap nodes read, and what those nodes are.

    Empty if there is none, or none that nothing else depends on.
    """
    if not any(b"ai.onnx.ml" in bytes(opset) for opset in modelwire.messages(model, _OPSET_IMPORT)):
        return b"", ()  # ONNX Runtime has to say so
    graphs = list(modelwire.messages(model, _GRAPH))
    if len(graphs) != 1 or any(weights.data is None for weights in modelfile.weights_of(graphs[0]).values()):
        return b"", ()  # the file's own place counts for weights in other files
    graph = graphs[0]
    found = _removable_zip_maps(graph)
    if not found:
        return b"", ()
    tensor_of = {zip_map.output: zip_map.tensor for zip_map in found}
    pieces: list[bytes | memoryview] = []
    for number, value, start, end in modelwire.spans(graph):
        name = modelwire.text(value, 1) if number == _OUTPUT else ""
        if number == _NODE and modelwire.text(value, _NODE_OUTPUT) in tensor_of:
            continue
        if name in tensor_of:
            float_tensor = field(1, field(1, 1))  # TypeProto: tensor_type with elem_type FLOAT, of any shape
            info = field(1, tensor_of[name].encode("utf-8", "surrogateescape")) + field(2, float_tensor)
            pieces.append(field(_OUTPUT, info))
        else:
            pieces.append(graph[start:end])
    changed = b"".join(pieces)
    return b"".join(
        field(_GRAPH, changed) if number == _GRAPH else model[start:end]
        for number, _, start, end in modelwire.spans(model)
    ), tuple(found)


def _removable_zip_maps(graph: memoryview) -> list[ZipMap]:
    """Return the ZipMap nodes that make an output which no other node reads, of a tensor that a node computes."""
    outputs = [modelwire.text(output, 1) for output in modelwire.messages(graph, _OUTPUT)]
    made: set[str] = set()
    read: list[str] = []
    candidates = []
    for node in modelwire.messages(graph, _NODE):
        fields = list(modelwire.fields(node))
        inputs = [modelwire.decoded(value) for number, value in fields if number == _NODE_INPUT]
        made.update(modelwire.decoded(value) for number, value in fields if number == _NODE_OUTPUT)
        read += inputs
        if modelwire.text(node, _OP_TYPE) == "ZipMap" and modelwire.text(node, _DOMAIN) == "ai.onnx.ml":
            labels = _labels_of([value for number, value in fields if number == _ATTRIBUTE])
            outputs_of_node = [number for number, _ in fields].count(_NODE_OUTPUT)
            if len(inputs) == 1 and outputs_of_node == 1:
                candidates.append(ZipMap(modelwire.text(node, _NODE_OUTPUT), inputs[0], labels))
        elif any(number == _ATTRIBUTE and _has_graph(value) for number, value in fields):
            return []  # a subgraph may read anything
    return [
        zip_map
        for zip_map in candidates
        if zip_map.labels
        and outputs.count(zip_map.output) == 1
        and _is_declared(graph, zip_map)
        and sum(other.output == zip_map.output for other in candidates) == 1
        and zip_map.tensor in made
        and zip_map.tensor not in outputs
        and zip_map.output not in read
        and sum(other.tensor == zip_map.tensor for other in candidates) == 1
    ]


def _is_declared(graph: memoryview, zip_map: ZipMap) -> bool:
    """Whether the graph declares the output as ONNX Runtime would have it: a sequence of maps with such keys."""
    key_type = 8 if isinstance(zip_map.labels[0], str) else 7  # STRING, INT64
    outputs = modelwire.messages(graph, _OUTPUT)
    output = next(output for output in outputs if modelwire.text(output, 1) == zip_map.output)
    return any(
        (1, key_type) in modelwire.fields(mapping)
        for type_ in modelwire.messages(output, 2)
        for sequence in modelwire.messages(type_, 4)
        for element in modelwire.messages(sequence, 1)
        for mapping in modelwire.messages(element, 5)
    )


def _labels_of(attributes: list[memoryview | int]) -> tuple[str, ...] | tuple[int, ...]:
    """Return the labels if the one attribute is a list of them, otherwise nothing: then ONNX Runtime has to say so."""
    if len(attributes) != 1:
        return ()
    name, fields = modelwire.text(attributes[0], 1), list(modelwire.fields(attributes[0]))
    if name == "classlabels_strings" and (20, 8) in fields:  # type STRINGS
        return tuple(modelwire.decoded(value) for number, value in fields if number == 9)
    if name == "classlabels_int64s" and (20, 7) in fields:  # type INTS
        return tuple(label for number, value in fields if number == 8 for label in modelwire.varints(value))
    return ()


def _has_graph(attribute: memoryview | int) -> bool:
    return isinstance(attribute, memoryview) and any(number in (6, 11) for number, _ in modelwire.fields(attribute))
