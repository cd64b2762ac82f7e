# What can be told of all runs of a model from its operators: what their cost and their shapes follow from.

cdef enum:
    MOST_NODES = 128  # of a model whose cost and shapes are predicted

# Operators whose cost follows from the shapes of what they are given, never from the values in it, by domain.
# Left out on purpose: whatever loops, branches, makes shapes of values (Expand, Range, Tile, Resize, NonZero, ...),
# waits, or is not ONNX's own.
COST_FOLLOWS_FROM_SHAPES = {
    b"": frozenset(b"""
        Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast CastLike Ceil
        Celu Clip Concat Constant Conv Cos Cosh DequantizeLinear Div DynamicQuantizeLinear Elu Equal Erf Exp Flatten
        Floor Gather GatherElements Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization
        HardSigmoid HardSwish Identity InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Less
        LessOrEqual Log LogSoftmax LpNormalization MatMul MatMulInteger Max MaxPool Mean Min Mish Mod Mul Neg Not Or
        PRelu Pow QLinearConv QLinearMatMul QuantizeLinear Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
        ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round Selu Shape Sigmoid Sign
        Sin Sinh Size Slice Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu
        Transpose Unsqueeze Where Xor
    """.split()),
    b"ai.onnx.ml": frozenset(b"""
        Binarizer FeatureVectorizer LinearClassifier LinearRegressor Normalizer SVMClassifier SVMRegressor Scaler
        TreeEnsembleClassifier TreeEnsembleRegressor
    """.split()),
}

# Of these, those whose results are shaped by values: by what is in their inputs after the first.
SHAPED_BY_VALUES = frozenset(b"""
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
    Reshape Slice Split Squeeze Unsqueeze
""".split())

# --- the operators of a model


cdef bint consists_of_known_operators(Message model) except -1:
    """Whether a model has nodes, not too many, whose cost follows from shapes."""
    cdef Message graph, node
    cdef int nodes = 0
    while take_field(&model, MODEL_GRAPH, &graph):
        while take_field(&graph, GRAPH_NODE, &node):
            nodes += 1
            domain = text_of(node, NODE_DOMAIN)
            known = COST_FOLLOWS_FROM_SHAPES.get(b"" if domain == b"ai.onnx" else domain, ())
            if nodes > MOST_NODES or text_of(node, NODE_OP_TYPE) not in known:
                return False
    return nodes > 0


cdef bint has_constant_shapes(Message model) except -1:
    """Whether no value that a call brings decides about a shape, in a model of known operators.

    Shapes that a call brings may. What is after the first in the inputs of operators that values shape has to be the
    model's own.
    """
    cdef Message functions = model, graph, inner
    if take_field(&functions, MODEL_FUNCTION, &inner):
        return False  # who knows what an operator's name stands for
    while take_field(&model, MODEL_GRAPH, &graph):
        constants = names_in(graph, GRAPH_INITIALIZER, TENSOR_NAME)
        constants -= names_in(graph, GRAPH_INPUT, INPUT_NAME)  # of these, a call may bring another one
        while take_field(&graph, GRAPH_NODE, &inner):
            operator_name = text_of(inner, NODE_OP_TYPE)
            if operator_name == b"Constant":
                if b"sparse_value" in names_in(inner, NODE_ATTRIBUTE, ATTRIBUTE_NAME):
                    return False
                constants.add(text_of(inner, NODE_OUTPUT))
            elif operator_name in SHAPED_BY_VALUES:
                if not constants.issuperset(filter(None, texts_of(inner, NODE_INPUT)[1:])):
                    return False
    return True


def predictions(content) -> tuple[bool, bool]:
    """Return whether the shapes of a model's inputs tell what it costs, and whether they tell the outputs' shapes.

    Of a model that is damaged, or of another format, nothing is told.
    """
    cdef Py_buffer buffer
    cdef Message model
    if content is None:
        return False, False
    model = message_of(content, &buffer)
    try:
        return (True, has_constant_shapes(model)) if consists_of_known_operators(model) else (False, False)
    except ValueError:
        return False, False
    finally:
        PyBuffer_Release(&buffer)
