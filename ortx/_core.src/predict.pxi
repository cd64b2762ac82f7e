# What can be told of all runs of a model from its operators: what their cost and their shapes follow from; and whether
# a model may have what has to be looked at more closely.
#
# modelwalk.py goes through the messages of a model, too. What is here is asked of every model that is opened, and a
# small one is open before Python has imported anything.

cdef enum:
    # Fields of ModelProto, GraphProto, NodeProto, TensorProto, ValueInfoProto and AttributeProto, see `onnx.proto`.
    MODEL_GRAPH = 7
    MODEL_FUNCTION = 25
    GRAPH_NODE = 1
    GRAPH_INITIALIZER = 5
    GRAPH_INPUT = 11
    NODE_INPUT = 1
    NODE_OUTPUT = 2
    NODE_OP_TYPE = 4
    NODE_ATTRIBUTE = 5
    NODE_DOMAIN = 7
    TENSOR_NAME = 8
    INPUT_NAME = 1
    ATTRIBUTE_NAME = 1

    MOST_NODES = 128         # of a model whose cost and shapes are predicted
    MOST_SEARCHED = 1 << 16  # bytes of a model that is searched for words

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

# Operators with nodes that ONNX Runtime crashes on; hazards.py tells which.
HAZARDOUS = tuple(b"""
    ConvTranspose DFT DepthToSpace Einsum LayerNormalization Max Mean Min RandomNormal RandomNormalLike RandomUniform
    RandomUniformLike Split Sum
""".split())


# --- the bytes of a message


cdef struct Message:
    const uint8_t* at
    const uint8_t* end


cdef uint64_t take_number(Message* rest) except? 0:
    """Take a number off a message: seven bits a byte, the least first."""
    cdef uint64_t number = 0
    cdef int shift
    cdef uint8_t byte
    for shift in range(0, 64, 7):
        if rest.at == rest.end:
            break
        byte = rest.at[0]
        rest.at += 1
        if shift == 63 and byte > 1:
            break
        number |= <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            return number
    raise ValueError("a number that does not end")


cdef int take_bytes(Message* rest, uint64_t count, Message* taken) except -1:
    if count > <uint64_t>(rest.end - rest.at):
        raise ValueError("a field that is longer than its message")
    taken.at = rest.at
    rest.at += count
    taken.end = rest.at
    return 0


cdef bint take_field(Message* rest, int wanted, Message* taken) except -1:
    """Take fields off a message up to the next of this number, a message or a text. False: there is none any more."""
    cdef uint64_t tag
    cdef int kind
    while rest.at < rest.end:
        tag = take_number(rest) & <uint64_t>0xFFFFFFFF  # as protobuf does
        kind = tag & 7
        if tag < 8 or kind > 5:
            raise ValueError("a field without a number, or of an unknown kind")
        if kind == 0:
            take_number(rest)
        elif kind == 2:
            take_bytes(rest, take_number(rest), taken)
            if tag >> 3 == <uint64_t>wanted:
                return True
        elif kind == 1 or kind == 5:
            take_bytes(rest, 8 if kind == 1 else 4, taken)
        # 3 and 4 are the brackets of a group, which protobuf skips. What is inside is looked at as if it were outside.
    return False


cdef bytes text_of(Message message, int wanted):
    """Return the last text of this number in a message, or an empty one."""
    cdef Message text
    text.at = text.end = NULL
    found = b""
    while take_field(&message, wanted, &text):
        found = text.at[:text.end - text.at]
    return found


cdef list texts_of(Message message, int wanted):
    """Return the texts of this number in a message."""
    cdef Message text
    found = []
    while take_field(&message, wanted, &text):
        found.append(text.at[:text.end - text.at])
    return found


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


cdef set names_in(Message message, int wanted, int name):
    """Return the names of all messages of this number in a message."""
    cdef Message inner
    names = set()
    while take_field(&message, wanted, &inner):
        names.add(text_of(inner, name))
    return names


def predictions(content) -> tuple[bool, bool]:
    """Return whether the shapes of a model's inputs tell what it costs, and whether they tell the outputs' shapes.

    Of a model that is damaged, or of another format, nothing is told.
    """
    cdef Py_buffer view
    cdef Message model
    if content is None:
        return False, False
    PyObject_GetBuffer(content, &view, PyBUF_SIMPLE)
    model.at = <const uint8_t*>view.buf
    model.end = model.at + view.len
    try:
        return (True, has_constant_shapes(model)) if consists_of_known_operators(model) else (False, False)
    except ValueError:
        return False, False
    finally:
        PyBuffer_Release(&view)


cdef bint may_have(content, tuple words) except -1:
    """Whether any of some words stands in a model, or it is so large that it takes more than a look to tell.

    It saves a small model the way through its messages, and what has to be imported for that.
    """
    if len(content) > MOST_SEARCHED:
        return True
    text = bytes(content)
    return any([word in text for word in words])
