"""What can be told of all runs of a model from its operators: what their cost and their shapes follow from."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from typing import Final

from . import modelwalk
from .modelwire import decoded, fields, messages, text

__all__ = ["COST_FOLLOWS_FROM_SHAPES", "SHAPED_BY_VALUES", "consists_of", "has_constant_shapes"]

# Field numbers of ModelProto, GraphProto, NodeProto and TensorProto, see ``onnx.proto``.
_GRAPH, _FUNCTION = 7, 25
_NODE, _INITIALIZER, _INPUT = 1, 5, 11
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7
_NAMES = (_OP_TYPE, _DOMAIN)
_NAME = 8

# Operators whose cost follows from the shapes of what they are given, never from the values in it.
# Left out on purpose: whatever loops, branches, makes shapes of values (Expand, Range, Tile, Resize, NonZero, ...),
# waits, or is not ONNX's own.
COST_FOLLOWS_FROM_SHAPES: Final[dict[str, frozenset[str]]] = {
    "": frozenset("""
        Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast CastLike Ceil
        Celu Clip Concat Constant Conv Cos Cosh DequantizeLinear Div DynamicQuantizeLinear Elu Equal Erf Exp Flatten
        Floor Gather GatherElements Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization
        HardSigmoid HardSwish Identity InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Less
        LessOrEqual Log LogSoftmax LpNormalization MatMul MatMulInteger Max MaxPool Mean Min Mish Mod Mul Neg Not Or
        PRelu Pow QLinearConv QLinearMatMul QuantizeLinear Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
        ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round Selu Shape Sigmoid Sign
        Sin Sinh Size Slice Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu
        Transpose Unsqueeze Where Xor
    """.split()),  # noqa: SIM905
    "ai.onnx.ml": frozenset("""
        Binarizer FeatureVectorizer LinearClassifier LinearRegressor Normalizer SVMClassifier SVMRegressor Scaler
        TreeEnsembleClassifier TreeEnsembleRegressor
    """.split()),  # noqa: SIM905
}  # fmt: skip

# Of these, those whose results are shaped by values: by what is in their inputs after the first.
SHAPED_BY_VALUES: Final[frozenset[str]] = frozenset(
    """
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
    Reshape Slice Split Squeeze Unsqueeze
    """.split()  # noqa: SIM905
)


def consists_of(model: memoryview, operators: Mapping[str, Collection[str]], most: int) -> bool:
    """Whether a model has at most so many nodes, all of these operators.

    Parameters
    ----------
    operators
        The names, by domain; ONNX's own domain is ``""``.
    most
        How many nodes are looked at: the answer for a larger model is no.
    """
    graphs = modelwalk.fields(model, 0, len(model), {_GRAPH})
    places = itertools.chain.from_iterable(modelwalk.fields(model, at, to, {_NODE}) for _, at, to in graphs)
    nodes = list(itertools.islice(places, most + 1))
    if not 0 < len(nodes) <= most:
        return False
    for _, start, end in nodes:
        texts = {
            number: modelwalk.text(model, at, to) for number, at, to in modelwalk.fields(model, start, end, _NAMES)
        }
        domain = texts.get(_DOMAIN, "")
        if texts.get(_OP_TYPE) not in operators.get("" if domain == "ai.onnx" else domain, ()):
            return False
    return True


def has_constant_shapes(model: memoryview, shaped_by_values: Collection[str]) -> bool:
    """Whether no value that a call brings decides about a shape; shapes that it brings may.

    Parameters
    ----------
    shaped_by_values
        Of the operators of which the model consists, those whose results are shaped by what is in their inputs after
        the first. That has to be the model's own, then.
    """
    if any(True for _ in messages(model, _FUNCTION)):
        return False  # who knows what an operator's name stands for
    for graph in messages(model, _GRAPH):
        constants = {text(initializer, _NAME) for initializer in messages(graph, _INITIALIZER)}
        constants -= {text(given, 1) for given in messages(graph, _INPUT)}  # of which a call may bring another one
        for node in messages(graph, _NODE):
            operator = text(node, _OP_TYPE)
            if operator == "Constant":
                if any(text(attribute, 1) == "sparse_value" for attribute in messages(node, _ATTRIBUTE)):
                    return False
                constants.add(text(node, _NODE_OUTPUT))
            elif operator in shaped_by_values:
                _, *shaping = [decoded(value) for number, value in fields(node) if number == _NODE_INPUT]
                if not constants.issuperset(filter(None, shaping)):
                    return False
    return True
