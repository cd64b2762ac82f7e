# The way through the messages of a model, which an .onnx file is: to the nodes and tensors that matter before it is
# opened, past all others.
#
# What is read here is all that protobuf's own parser would read, and perhaps more, so that nothing can be written in
# some unusual form to be passed over. modelwalk.py does the same in Python, for what few models have. Here are the
# questions that are asked of each: for most models the answers are no, and nothing has to be imported.

cdef enum:
    # Fields of ModelProto, GraphProto, NodeProto, AttributeProto, FunctionProto, TensorProto and ValueInfoProto, see
    # `onnx.proto`.
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
    ATTRIBUTE_NAME = 1
    ATTRIBUTE_GRAPH = 6
    ATTRIBUTE_GRAPHS = 11
    FUNCTION_NODE = 7
    TENSOR_NAME = 8
    TENSOR_EXTERNAL_DATA = 13
    INPUT_NAME = 1

    DEEPEST = 100  # protobuf refuses a message that is nested deeper

cdef enum MessageKind:
    NO_MESSAGE
    A_MODEL
    A_GRAPH
    A_NODE
    AN_ATTRIBUTE
    A_FUNCTION
    A_SPARSE_TENSOR
    A_TRAINING
    A_TENSOR

# Operators with nodes that ONNX Runtime crashes on, which hazards.py tells from sound ones. Nodes of the first seven
# are handed to it only if an input of theirs has an empty name, those of the others in any case.
HAZARDOUS_IF_EMPTY = frozenset(b"DFT Einsum LayerNormalization Max Mean Min Sum".split())
HAZARDOUS = HAZARDOUS_IF_EMPTY | frozenset(b"""
    ConvTranspose DepthToSpace RandomNormal RandomNormalLike RandomUniform RandomUniformLike Split
""".split())


# --- one message


cdef struct Message:
    const uint8_t* at
    const uint8_t* end


cdef Message message_of(content, Py_buffer* buffer) except *:
    """Return the bytes of an object, whose buffer is to be released."""
    cdef Message message
    PyObject_GetBuffer(content, buffer, PyBUF_SIMPLE)
    message.at = <const uint8_t*>buffer.buf
    message.end = message.at + buffer.len
    return message


cdef uint64_t take_number(Message* rest) except? 0:
    """Take a number off a message: seven bits a byte, the least first. Of one that is too large, protobuf takes 64."""
    cdef uint64_t number = 0
    cdef int shift
    cdef uint8_t byte
    for shift in range(0, 70, 7):
        if rest.at == rest.end:
            break
        byte = rest.at[0]
        rest.at += 1
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


cdef int take_next_field(Message* rest, Message* taken) except -1:
    """Take one field off a message. Return the number of a message or a text, 0 for anything else."""
    cdef uint32_t tag = <uint32_t>take_number(rest)  # as protobuf does
    cdef int kind = tag & 7
    if tag < 8 or kind > 5:
        raise ValueError("a field without a number, or of an unknown kind")
    if kind == 2:
        take_bytes(rest, take_number(rest), taken)
        return tag >> 3
    if kind == 0:
        take_number(rest)
    elif kind == 1 or kind == 5:
        take_bytes(rest, 8 if kind == 1 else 4, taken)
    # 3 and 4 are the brackets of a group, which protobuf skips. What is inside is looked at as if it were outside:
    # fields too many do no harm.
    taken.at = taken.end = rest.at
    return 0


cdef int take_any_field(Message* rest, Message* taken) except -1:
    """Take fields off a message up to the next that is a message or a text. Return its number; 0: there is none."""
    cdef int number = 0
    while number == 0 and rest.at < rest.end:
        number = take_next_field(rest, taken)
    return number


cdef bint take_field(Message* rest, int wanted, Message* taken) except -1:
    """Take fields off a message up to the next message or text of this number. False: there is none."""
    cdef int number = -1
    while number != 0 and number != wanted:
        number = take_any_field(rest, taken)
    return number == wanted


cdef bytes text_of(Message message, int wanted):
    """Return the last text of this number in a message, or an empty one."""
    texts = texts_of(message, wanted)
    return texts[len(texts) - 1] if texts else b""


cdef list texts_of(Message message, int wanted):
    """Return the texts of this number in a message."""
    cdef Message text
    found = []
    while take_field(&message, wanted, &text):
        found.append(text.at[:text.end - text.at])
    return found


cdef set names_in(Message message, int wanted, int name):
    """Return the names of all messages of this number in a message."""
    cdef Message inner
    names = set()
    while take_field(&message, wanted, &inner):
        names.add(text_of(inner, name))
    return names


# --- a model


cdef bint has_node(Message model, bytes op_type) except -1:
    """Whether a graph of the model, but for those inside of nodes, has a node of this operator."""
    cdef Message graph, node
    while take_field(&model, MODEL_GRAPH, &graph):
        while take_field(&graph, GRAPH_NODE, &node):
            if text_of(node, NODE_OP_TYPE) == op_type:
                return True
    return False


cdef int find_hazardous(Message model, list found) except -1:
    """Add the nodes of a model that ONNX Runtime may crash on."""
    cdef Message rest = model, inner
    while take_field(&rest, MODEL_GRAPH, &inner):
        find_hazardous_nodes(inner, GRAPH_NODE, 0, found)
    while take_field(&model, MODEL_FUNCTION, &inner):
        find_hazardous_nodes(inner, FUNCTION_NODE, 0, found)
    return 0


cdef int find_hazardous_nodes(Message graph, int number_of_nodes, int depth, list found) except -1:
    cdef Message node, rest, attribute, inner
    cdef int number
    if depth > DEEPEST:
        raise ValueError("messages nested deeper than protobuf reads them")
    while take_field(&graph, number_of_nodes, &node):
        op_type = text_of(node, NODE_OP_TYPE)
        if op_type in HAZARDOUS and (op_type not in HAZARDOUS_IF_EMPTY or b"" in texts_of(node, NODE_INPUT)):
            found.append(node.at[:node.end - node.at])
        rest = node
        while take_field(&rest, NODE_ATTRIBUTE, &attribute):
            while (number := take_any_field(&attribute, &inner)) != 0:
                if number == ATTRIBUTE_GRAPH or number == ATTRIBUTE_GRAPHS:
                    find_hazardous_nodes(inner, GRAPH_NODE, depth + 1, found)
    return 0


cdef MessageKind kind_inside(MessageKind kind, int number) noexcept:
    """Return what a field of this number in a message of this kind leads to, if that may be a tensor."""
    if kind == A_MODEL:
        return A_GRAPH if number == 7 else A_TRAINING if number == 20 else A_FUNCTION if number == 25 else NO_MESSAGE
    if kind == A_GRAPH:
        return A_NODE if number == 1 else A_TENSOR if number == 5 else A_SPARSE_TENSOR if number == 15 else NO_MESSAGE
    if kind == A_NODE:
        return AN_ATTRIBUTE if number == 5 else NO_MESSAGE
    if kind == AN_ATTRIBUTE:
        if number == 5 or number == 10:
            return A_TENSOR
        if number == 6 or number == 11:
            return A_GRAPH
        return A_SPARSE_TENSOR if number == 22 or number == 23 else NO_MESSAGE
    if kind == A_FUNCTION:
        return A_NODE if number == 7 else AN_ATTRIBUTE if number == 11 else NO_MESSAGE
    if kind == A_SPARSE_TENSOR:
        return A_TENSOR if number == 1 or number == 2 else NO_MESSAGE
    return A_GRAPH if kind == A_TRAINING and (number == 1 or number == 2) else NO_MESSAGE


cdef bint has_external_data(Message message, MessageKind kind, int depth) except -1:
    """Whether a tensor anywhere in a message says that its elements are elsewhere."""
    cdef Message inner
    cdef MessageKind kind_of_inner
    cdef int number
    if depth > DEEPEST:
        raise ValueError("messages nested deeper than protobuf reads them")
    if kind == A_TENSOR:
        return take_field(&message, TENSOR_EXTERNAL_DATA, &inner)
    while (number := take_any_field(&message, &inner)) != 0:
        kind_of_inner = kind_inside(kind, number)
        if kind_of_inner != NO_MESSAGE and has_external_data(inner, kind_of_inner, depth + 1):
            return True
    return False


def looked_through(content) -> tuple[list[bytes], bool, bool]:
    """Return what few models have: nodes that ONNX Runtime may crash on, tensors in other files, nodes named ZipMap.

    Of a model that is damaged, or of another format, nothing is told: ONNX Runtime refuses it, and reads no other file.
    """
    cdef Py_buffer buffer
    cdef Message model = message_of(content, &buffer)
    nodes = []
    try:
        find_hazardous(model, nodes)
        return nodes, has_external_data(model, A_MODEL, 0), has_node(model, b"ZipMap")
    except ValueError:
        return [], False, False
    finally:
        PyBuffer_Release(&buffer)


# --- a model's file without its weights


cdef enum:
    LONGEST_HEADER = 20        # bytes of a field's number and length, or number and value
    LARGE_FIELD = 1 << 16      # elements of so many bytes are passed over
    LEAST_READ = 1 << 12       # bytes that are read at a time: few behind weights, then more and more
    MOST_READ = 1 << 18


cdef bint holds_elements(MessageKind kind, int number) noexcept:
    """Whether a field holds the elements of a tensor, or an attribute that is a text or a list of numbers."""
    if kind == A_TENSOR:
        return number == 4 or number == 5 or number == 6 or number == 7 or 9 <= number <= 11
    return kind == AN_ATTRIBUTE and (number == 4 or number == 7 or number == 8)


cdef struct Reading:
    const uint8_t* begin
    const uint8_t* end
    const uint8_t* read  # up to here the file is in its place, or is passed over
    Py_ssize_t step


cdef int read_up_to(Reading* file, const uint8_t* wanted, lay) except -1:
    cdef Py_ssize_t count
    if wanted > file.read:
        count = min(max(wanted - file.read, file.step), file.end - file.read)
        lay(file.read - file.begin, file.read - file.begin + count)
        file.read += count
        file.step = min(2 * file.step, <Py_ssize_t>MOST_READ)
    return 0


def lay_all_but_elements(memory, lay: Callable[[int, int], None]) -> None:
    """Have all of a model's file laid into memory of its size, but for the elements of large tensors.

    `lay` reads a piece of the file into its place, of which the beginning and the end are given. Raises ValueError if
    the messages are damaged.
    """
    cdef Py_buffer buffer
    cdef Message rest = message_of(memory, &buffer), inner
    cdef Reading file = Reading(rest.at, rest.end, rest.at, MOST_READ)
    cdef const uint8_t* ends[DEEPEST + 1]
    cdef MessageKind kinds[DEEPEST + 1]
    cdef MessageKind kind_of_inner
    cdef int depth = 0, number
    ends[0], kinds[0] = rest.end, A_MODEL
    try:
        while depth >= 0:
            rest.end = ends[depth]
            if rest.at == rest.end:
                depth -= 1
                continue
            read_up_to(&file, rest.at + min(<Py_ssize_t>LONGEST_HEADER, rest.end - rest.at), lay)
            number = take_next_field(&rest, &inner)
            if inner.end - inner.at <= LARGE_FIELD:
                continue
            kind_of_inner = kind_inside(kinds[depth], number)
            if kind_of_inner != NO_MESSAGE:
                if depth == DEEPEST:
                    raise ValueError("messages nested deeper than protobuf reads them")
                depth += 1
                ends[depth], kinds[depth] = inner.end, kind_of_inner
                rest.at = inner.at
            elif holds_elements(kinds[depth], number) and inner.end > file.read:
                file.read, file.step = inner.end, LEAST_READ
        read_up_to(&file, file.end, lay)
    finally:
        PyBuffer_Release(&buffer)
