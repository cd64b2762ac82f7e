# Values that are no tensors: sequences are lists, maps are dicts, an optional without a value is None. Reading them.

cdef enum:
    SMALL_ITEM = 4096  # bytes; to copy so much costs less than to keep an OrtValue for it
    UNWRITTEN = 0xa5   # in each byte
    MANY_ITEMS = 16    # a run that joins them costs less than to fetch so many one by one

# By element type: sessions that join the items of a sequence, made when first needed, never released, as the env.
cdef OrtSession* joining_sessions[ELEMENT_TYPES]
cdef bint joining_is_tried[ELEMENT_TYPES]


def _forget_joining_sessions() -> None:
    """Make sessions of its own in a forked child."""
    memset(joining_sessions, 0, sizeof(joining_sessions))
    memset(joining_is_tried, 0, sizeof(joining_is_tried))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_joining_sessions)


cdef object python_value(OrtValue* value, str name):
    """Return what Python has for a value, which is taken over, whether this succeeds or not."""
    return python_of(own_value(value), name)


cdef inline bint is_plain_tensor(const Slot* slot) noexcept:
    """Whether an output is a tensor, and always there."""
    return slot.tensor_type != ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED and slot.required


cdef inline object declared_tensor(Value owner, str name):
    """Do as `python_of` does for a plain tensor, with fewer questions."""
    cdef int is_tensor = 0
    cdef ONNXTensorElementDataType element_type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED
    cdef const int64_t* shape = NULL
    cdef size_t rank = 0
    check(api.IsTensor(owner.handle, &is_tensor))
    if not is_tensor or api_version < 24:  # a sparse constant may be declared as a tensor
        return python_of(owner, name)
    check(api.GetTensorElementTypeAndShapeDataReference(owner.handle, &element_type, &shape, &rank))
    return array_of_shape(owner, element_type, shape, rank, name)


cdef object python_of(Value owner, str name):
    cdef int has_value = 0, is_tensor = 0
    cdef ONNXType onnx_type = ONNX_TYPE_UNKNOWN
    check(api.HasValue(owner.handle, &has_value))
    if not has_value:
        return None  # an optional without a value: no other question may be asked of it
    check(api.IsTensor(owner.handle, &is_tensor))
    if is_tensor:
        return array_over(owner, name)
    check(api.GetValueType(owner.handle, &onnx_type))
    if onnx_type == ONNX_TYPE_SEQUENCE:
        return list_of(owner, name)
    if onnx_type == ONNX_TYPE_MAP:
        keys, values = items_of(owner)
        return dict(zip(array_over(keys, name).tolist(), array_over(values, name).tolist()))
    if onnx_type == ONNX_TYPE_SPARSETENSOR:
        return sparse_tensor_of(owner, name)
    word = ONNX_TYPE_WORDS.get(onnx_type, f"type {<int>onnx_type}")
    raise NotSupported(f"output {name!r} is {word}, which ortx cannot read")


cdef list list_of(Value owner, str name):
    """Return what a sequence holds. ORT copies each item, and small ones are copied once more, into numpy's memory."""
    cdef size_t count = 0, i
    cdef OrtValue* item = NULL
    cdef Value value
    cdef list items = []
    check(api.GetValueCount(owner.handle, &count))
    for i in range(count):
        check(api.GetValue(owner.handle, <int>i, default_allocator, &item))
        value = own_value(item)
        array = small_array(value)
        if i == 0 and array is not None and count >= MANY_ITEMS:
            joined = joined_items(owner, array, count)
            if joined is not None:
                return joined
        items.append(python_of(value, name) if array is None else array)
    return items


cdef object small_array(Value owner):
    """Return a copy of a small tensor in numpy's own memory; None if it is something else."""
    cdef ONNXTensorElementDataType element_type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED
    cdef const int64_t* shape = NULL
    cdef ElementType* element
    cdef size_t rank = 0, i, size
    cdef int is_tensor = 0
    cdef void* data = NULL
    if api_version < 24:
        return None
    check(api.IsTensor(owner.handle, &is_tensor))
    if not is_tensor:
        return None
    check(api.GetTensorElementTypeAndShapeDataReference(owner.handle, &element_type, &shape, &rank))
    if not 0 <= <int>element_type < ELEMENT_TYPES or rank > cnp.NPY_MAXDIMS:
        return None
    element = &element_types[<int>element_type]
    size = <size_t>element.item_size
    for i in range(rank):
        size *= <size_t>shape[i]
    if element.type_number < 0 or size > SMALL_ITEM:
        return None
    check(api.GetTensorMutableData(owner.handle, &data))
    return copied_array(data, size, <int>rank, shape, element.type_number)


cdef inline object copied_array(const void* data, size_t size, int rank, const int64_t* shape, int type_number):
    array = fresh_array(rank, shape, type_number)
    if size:
        memcpy(cnp.PyArray_DATA(array), data, size)
    return array


cdef list joined_items(Value owner, cnp.ndarray first, size_t count):
    """Fetch all the items of a sequence at once, if they are of one shape; otherwise return None.

    GetValue costs half a microsecond and more; a model of one node joins them for a quarter of that. It passes over
    items without elements, and leaves the end of the result as it was: whether it has written there tells.
    """
    cdef const char* input_name = "x"
    cdef const char* output_name = "y"
    cdef OrtStatus* status
    cdef Py_ssize_t i, size = cnp.PyArray_NBYTES(first)
    cdef int rank = cnp.PyArray_NDIM(first), type_number = cnp.PyArray_TYPE(first)
    cdef cnp.npy_intp shape[cnp.NPY_MAXDIMS]
    cdef OrtSession* session = joining_session(element_type_of(first))
    if session == NULL or size == 0 or rank == cnp.NPY_MAXDIMS:
        return None
    shape[0] = <cnp.npy_intp>count
    for i in range(rank):
        shape[i + 1] = cnp.PyArray_DIM(first, <int>i)
    array = cnp.PyArray_EMPTY(rank + 1, shape, type_number, 0)
    cdef const char* data = <const char*>cnp.PyArray_DATA(array)
    cdef char* last = <char*>data + (<Py_ssize_t>count - 1) * size
    memset(last, UNWRITTEN, <size_t>size)
    joined = feed_over(array, element_type_of(first))
    with nogil:
        status = api.Run(
            session, NULL, &input_name, <const OrtValue* const*>&owner.handle, 1, &output_name, 1, &joined.handle)
    if status != NULL:
        discard(status)  # they are not of one shape
        return None
    for i in range(size):
        if <unsigned char>last[i] != UNWRITTEN:
            break
    else:
        return None
    return [
        copied_array(data + i * size, <size_t>size, rank, <const int64_t*>(shape + 1), type_number)
        for i in range(<Py_ssize_t>count)]


cdef OrtSession* joining_session(ONNXTensorElementDataType element_type) except? NULL:
    """Return the session for an element type; NULL if ORT has none, or none for this type."""
    cdef int number = <int>element_type
    if not joining_is_tried[number]:
        from . import modelwriter
        begin_opening()  # before the lock, for which a fork would wait
        try:
            with setup_lock:  # another thread may be at it
                if not joining_is_tried[number]:
                    model = modelwriter.concatenation_model(tensor_proto_number(number))
                    try:
                        joining_sessions[number] = open_helper(model)
                    except Error:
                        joining_sessions[number] = NULL  # a build of ORT without this kernel
                    joining_is_tried[number] = True
        finally:
            end_opening()
    return joining_sessions[number]


cdef OrtSession* open_helper(bytes model) except NULL:
    """Open a model of ortx's own: on one thread, and without a word about failures, which are expected."""
    cdef OrtSession* session
    cdef OrtSessionOptions* options = NULL
    cdef const char* data = PyBytes_AS_STRING(model)
    cdef size_t size = <size_t>len(model)
    check(api.CreateSessionOptions(&options))
    live_handles.session_options += 1
    try:
        check(api.SetIntraOpNumThreads(options, 1))
        check(api.SetSessionLogSeverityLevel(options, <int>ORT_LOGGING_LEVEL_FATAL))
        session = create_session(options, NULL, data, size, NULL)
    finally:
        live_handles.session_options -= 1
        api.ReleaseSessionOptions(options)
    return session


cdef list items_of(Value owner):
    """Return the values in a sequence, or the keys and the values of a map. ORT copies them."""
    cdef size_t count = 0, i
    cdef OrtValue* item = NULL
    check(api.GetValueCount(owner.handle, &count))
    items = []
    for i in range(count):
        check(api.GetValue(owner.handle, <int>i, default_allocator, &item))
        items.append(own_value(item))
    return items


cdef Feed make_container(ONNXType onnx_type, list parts, ONNXTensorElementDataType element_type):
    """Make a sequence of feeds and of arrays of an element type, or a map of two: its keys and its values."""
    cdef OrtValue* made = NULL
    cdef Py_ssize_t i, count = 0
    cdef size_t size = 0
    cdef OrtValue** handles = <OrtValue**>malloc((len(parts) + 1) * sizeof(OrtValue*))
    if handles == NULL:
        raise MemoryError()
    try:
        for part in parts:
            if type(part) is Feed:
                handles[count] = give_away(part)
                size += (<Feed>part).size
            else:
                make_value(part, element_type, &handles[count])
                size += size_in_bytes(part, element_type)
            count += 1
        check(api.CreateValue(<const OrtValue* const*>handles, <size_t>count, onnx_type, &made))
    finally:
        for i in range(count):  # the container has references of its own
            api.ReleaseValue(handles[i])
        live_handles.value -= count
        free(handles)
    feed = make_feed(made, parts)  # whose memory it looks into
    feed.size = size if onnx_type == ONNX_TYPE_SEQUENCE else 0  # nor is a map counted on its way out
    return feed


cdef Feed make_empty_sequence(TypeFacts element):
    """Make a sequence of nothing, which CreateValue cannot: a model that consists of one node does."""
    cdef OrtSession* session
    cdef OrtValue* made = NULL
    cdef const char* output = "y"
    from . import modelwriter
    if element.onnx_type != "tensor":
        raise NotSupported(f"ONNX Runtime can make no empty seq({element.type})")
    number = tensor_proto_number(ELEMENT_TYPE_OF_WORD[element.data_type])
    session = open_helper(modelwriter.empty_sequence_model(number))
    live_handles.session += 1
    try:
        check(api.Run(session, NULL, NULL, NULL, 0, &output, 1, &made))
    finally:
        live_handles.session -= 1
        api.ReleaseSession(session)
    return make_feed(made, None)
