"""What can be told of all runs of a model from its operators: what their cost and their shapes follow from."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from .modelwalk import fields, text

__all__ = ["COST_FOLLOWS_FROM_SHAPES", "HAZARDOUS", "SHAPED_BY_VALUES", "consists_of", "has_constant_shapes"]

# Fields of ModelProto, GraphProto, NodeProto, TensorProto, ValueInfoProto and AttributeProto, see ``onnx.proto``.
_GRAPH, _FUNCTION = 7, 25
_NODE, _INITIALIZER, _INPUT = 1, 5, 11
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7
_NAMES = (_OP_TYPE, _DOMAIN)
_NAME, _INPUT_NAME, _ATTRIBUTE_NAME = 8, 1, 1

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

# Operators with nodes that ONNX Runtime crashes on; hazards.py tells which. They are here so that a model without any
# of them need not import that.
HAZARDOUS: Final = (
    "ConvTranspose",
    "DFT",
    "DepthToSpace",
    "Einsum",
    "LayerNormalization",
    "Max",
    "Mean",
    "Min",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Split",
    "Sum",
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
    graphs = fields(model, 0, len(model), {_GRAPH})
    places = itertools.chain.from_iterable(fields(model, at, to, {_NODE}) for _, at, to in graphs)
    nodes = list(itertools.islice(places, most + 1))
    if not 0 < len(nodes) <= most:
        return False
    for _, start, end in nodes:
        texts = {number: text(model, at, to) for number, at, to in fields(model, start, end, _NAMES)}
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
    whole = 0, len(model)
    if any(_inside(model, whole, _FUNCTION)):
        return False  # who knows what an operator's name stands for
    for graph in _inside(model, whole, _GRAPH):
        constants = {_text(model, initializer, _NAME) for initializer in _inside(model, graph, _INITIALIZER)}
        # Of these, a call may bring another one.
        constants -= {_text(model, given, _INPUT_NAME) for given in _inside(model, graph, _INPUT)}
        for node in _inside(model, graph, _NODE):
            operator = _text(model, node, _OP_TYPE)
            if operator == "Constant":
                names = [_text(model, attribute, _ATTRIBUTE_NAME) for attribute in _inside(model, node, _ATTRIBUTE)]
                if "sparse_value" in names:
                    return False
                constants.add(_text(model, node, _NODE_OUTPUT))
            elif operator in shaped_by_values:
                _, *shaping = [text(model, *name) for name in _inside(model, node, _NODE_INPUT)]
                if not constants.issuperset(filter(None, shaping)):
                    return False
    return True


def _inside(model: memoryview, message: tuple[int, int], wanted: int) -> Iterator[tuple[int, int]]:
    """Yield where the fields of this number begin and end in a message, of which this is given, too."""
    for _, start, end in fields(model, *message, {wanted}):
        yield start, end


def _text(model: memoryview, message: tuple[int, int], wanted: int) -> str:
    """Return the last text of this number in a message, or an empty one."""
    texts = [text(model, *place) for place in _inside(model, message, wanted)]
    return texts[-1] if texts else ""
