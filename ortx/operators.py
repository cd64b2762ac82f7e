"""ONNX operators whose cost follows from the shapes of what they are given, never from the values in it."""

from __future__ import annotations

from typing import Final

__all__ = ["COST_FOLLOWS_FROM_SHAPES", "SHAPED_BY_VALUES"]

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
