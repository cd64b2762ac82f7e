# OrtValue: over a caller's buffer for the time of a call, or under a numpy array for as long as somebody looks at it.
# Tensors only; what holds several values is in container.pxi.

cdef enum:
    LARGE_VALUE = 1 << 20  # bytes; giving back more than this may take longer than a microsecond


@cython.final
@cython.freelist(64)
cdef class Value:
    """The owner of an output's memory: the ``base`` of the arrays that ortx returns."""

    def __cinit__(self):
        self.handle = NULL
        self.born = fork_generation

    def __init__(self):
        raise TypeError("Value cannot be made directly; it is the base of the arrays that Session.run returns")

    def __dealloc__(self):
        if self.handle == NULL or self.born != releasing_generation:
            return
        live_handles.value -= 1
        # Unmapping a large block takes long enough to let other threads work; for a small one switching costs more.
        if self.size >= LARGE_VALUE:
            with nogil:
                api.ReleaseValue(self.handle)
        else:
            api.ReleaseValue(self.handle)


@cython.final
cdef class Feed:
    """The owner of a value that goes into a model."""

    def __cinit__(self):
        self.handle = NULL
        self.born = fork_generation

    def __init__(self):
        raise TypeError("Feed cannot be made directly; Session.run makes them of what it is given")

    def __dealloc__(self):
        if self.handle != NULL and self.born == releasing_generation:
            live_handles.value -= 1
            api.ReleaseValue(self.handle)


cdef inline int make_value(cnp.ndarray array, ONNXTensorElementDataType element_type, OrtValue** value) except -1:
    """Make an OrtValue over the array's own memory. The array must be C-contiguous and must outlive the value."""
    check(api.CreateTensorWithDataAsOrtValue(
        cpu_memory_info, cnp.PyArray_DATA(array), size_in_bytes(array, element_type),
        <const int64_t*>cnp.PyArray_DIMS(array), <size_t>cnp.PyArray_NDIM(array), number_to_create(element_type),
        value))
    live_handles.value += 1
    return 0


cdef inline Value own_value(OrtValue* value):
    """Make the owner of an OrtValue that ORT has allocated."""
    cdef Value owner = Value.__new__(Value)
    owner.handle = value
    live_handles.value += 1
    return owner


cdef inline Feed make_feed(OrtValue* value, object kept):
    """Make the owner of an OrtValue, and of what that looks into."""
    cdef Feed feed = Feed.__new__(Feed)
    feed.handle = value
    feed.kept = kept
    live_handles.value += 1
    return feed


cdef inline Feed feed_over(cnp.ndarray array, ONNXTensorElementDataType element_type):
    """Make a tensor over an array's memory."""
    cdef OrtValue* value = NULL
    make_value(array, element_type, &value)
    live_handles.value -= 1  # make_feed counts it
    feed = make_feed(value, array)
    feed.size = size_in_bytes(array, element_type)
    return feed


cdef inline OrtValue* give_away(Feed feed) noexcept:
    """Take the OrtValue out of its owner, with the duty to release it and to count that."""
    value, feed.handle = feed.handle, NULL
    return value


cdef object array_over(Value owner, str name):
    """Make an array over a tensor's memory, or of its elements where numpy has them in another form."""
    cdef ONNXTensorElementDataType element_type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED
    cdef const int64_t* shape = NULL
    cdef size_t rank = 0
    if api_version >= 24:
        check(api.GetTensorElementTypeAndShapeDataReference(owner.handle, &element_type, &shape, &rank))
        return array_of_shape(owner, element_type, shape, rank, name)
    return array_of_classic_shape(owner, name)


cdef object array_of_classic_shape(Value owner, str name):
    """Do for libraries before 1.24 what GetTensorElementTypeAndShapeDataReference does without allocating."""
    cdef OrtTensorTypeAndShapeInfo* info = NULL
    cdef ONNXTensorElementDataType element_type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED
    cdef size_t rank = 0
    cdef int64_t shape[cnp.NPY_MAXDIMS]
    check(api.GetTensorTypeAndShape(owner.handle, &info))
    live_handles.tensor_info += 1
    try:
        check(api.GetTensorElementType(info, &element_type))
        check(api.GetDimensionsCount(info, &rank))
        if rank <= cnp.NPY_MAXDIMS:
            check(api.GetDimensions(info, shape, rank))
    finally:
        live_handles.tensor_info -= 1
        api.ReleaseTensorTypeAndShapeInfo(info)
    return array_of_shape(owner, element_type, shape, rank, name)


cdef inline object array_of_shape(
        Value owner, ONNXTensorElementDataType element_type, const int64_t* shape, size_t rank, str name):
    cdef ElementType* element = &element_types[<int>element_type if 0 <= <int>element_type < ELEMENT_TYPES else 0]
    cdef void* data = NULL
    if rank > cnp.NPY_MAXDIMS:
        raise NotSupported(f"output {name!r} has {rank} dimensions; numpy arrays have at most {cnp.NPY_MAXDIMS}")
    if element.type_number < 0:
        dtype = dtype_of(element_type)  # imports ml_dtypes
        if element.type_number < 0:
            array = fresh_array(<int>rank, shape, <int>dtype.num)
            fill_array(array, owner.handle, element_type)
            return array
    check(api.GetTensorMutableData(owner.handle, &data))
    return array_at(owner, data, <cnp.dtype>element.dtype, shape, rank)


cdef object fresh_array(int rank, const int64_t* shape, int type_number):
    """Make an array with memory of its own. Without elements it may still have dimensions that numpy cannot have."""
    try:
        return cnp.PyArray_EMPTY(rank, <cnp.npy_intp*>shape, type_number, 0)
    except ValueError as error:
        raise NotSupported(
            f"an output has the shape {tuple([shape[i] for i in range(rank)])}, which numpy cannot have: {error}"
        ) from None


cdef inline object array_at(Value owner, void* data, cnp.dtype dtype, const int64_t* shape, size_t rank):
    """Make an array over memory of the owner's."""
    if data == NULL:  # nothing in it
        return fresh_array(<int>rank, shape, dtype.num)
    Py_INCREF(dtype)
    array = PyArray_NewFromDescr(
        &PyArray_Type, <PyArray_Descr*>dtype, <int>rank, <cnp.npy_intp*>shape, NULL, data, cnp.NPY_ARRAY_CARRAY,
        NULL)
    owner.size = <size_t>cnp.PyArray_NBYTES(array)
    cnp.set_array_base(array, owner)
    return array


cdef Feed make_string_value(cnp.ndarray array):
    """Make a string tensor of an array of objects, all of them str.

    Raises UnicodeEncodeError if one of them cannot be written as UTF-8.
    """
    cdef const char* text
    cdef char* place = NULL
    cdef Py_ssize_t i, size = 0
    if strings_are_shared() and cnp.PyArray_SIZE(array):
        return feed_of_string_objects(array, string_objects(array))
    feed = make_tensor_of(array, ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING)
    cdef PyObject** items = <PyObject**>cnp.PyArray_DATA(array)
    for i in range(cnp.PyArray_SIZE(array)):
        text = PyUnicode_AsUTF8AndSize(<object>items[i], &size)
        check(api.GetResizedStringTensorElementBuffer(feed.handle, <size_t>i, <size_t>size, &place))
        memcpy(place, text, <size_t>size)
    return feed


cdef Feed make_string_value_of_ucs4(cnp.ndarray array):
    """Make a string tensor of a C-contiguous array of numpy's ``U`` type, or return None if it holds a surrogate."""
    cdef const uint32_t* characters = <const uint32_t*>cnp.PyArray_DATA(array)
    cdef char* place = NULL
    cdef Py_ssize_t i, size, length, width = cnp.PyArray_ITEMSIZE(array) // 4
    if strings_are_shared() and cnp.PyArray_SIZE(array):
        objects = string_objects_of_ucs4(array)
        return None if objects is None else feed_of_string_objects(array, objects)
    feed = make_tensor_of(array, ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING)
    for i in range(cnp.PyArray_SIZE(array)):
        length = length_of_ucs4(characters, width)
        size = utf8_of_ucs4(characters, length, NULL)
        if size < 0:
            return None
        check(api.GetResizedStringTensorElementBuffer(feed.handle, <size_t>i, <size_t>size, &place))
        utf8_of_ucs4(characters, length, place)
        characters += width
    return feed


cdef Feed feed_of_string_objects(cnp.ndarray array, tuple objects):
    """Make a string tensor of an array's shape over what `string_objects` has made."""
    cdef OrtValue* value = NULL
    cdef cnp.ndarray made = objects[0]
    check(api.CreateTensorWithDataAsOrtValue(
        cpu_memory_info, cnp.PyArray_DATA(made), <size_t>cnp.PyArray_NBYTES(made),
        <const int64_t*>cnp.PyArray_DIMS(array), <size_t>cnp.PyArray_NDIM(array),
        ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, &value))
    return make_feed(value, objects)


cdef Feed make_tensor_of(cnp.ndarray array, ONNXTensorElementDataType element_type):
    """Make a tensor of an array's shape in ORT's own memory."""
    cdef OrtValue* value = NULL
    check(api.CreateTensorAsOrtValue(
        default_allocator, <const int64_t*>cnp.PyArray_DIMS(array), <size_t>cnp.PyArray_NDIM(array),
        number_to_create(element_type), &value))
    return make_feed(value, None)


cdef Feed make_packed_value(cnp.ndarray array, ONNXTensorElementDataType element_type):
    """Make a tensor of elements that are smaller than a byte, of a C-contiguous array with one byte for each."""
    cdef void* data = NULL
    feed = make_tensor_of(array, element_type)
    feed.size = <size_t>cnp.PyArray_NBYTES(array)
    check(api.GetTensorMutableData(feed.handle, &data))
    pack(<unsigned char*>cnp.PyArray_DATA(array), <unsigned char*>data, cnp.PyArray_SIZE(array), bits_of(element_type))
    return feed
