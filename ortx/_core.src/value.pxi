# OrtValue: over a caller's buffer for the time of a call, or under a numpy array for as long as somebody looks at it.

cdef enum:
    LARGE_VALUE = 1 << 20  # bytes; giving back more than this may take longer than a microsecond


@cython.final
cdef class Value:
    """The owner of an output's memory: the ``base`` of the arrays that ortx returns."""

    def __cinit__(self):
        self.handle = NULL

    def __init__(self):
        raise TypeError("Value cannot be made directly; it is the base of the arrays that Session.run returns")

    def __dealloc__(self):
        if self.handle == NULL or finalizing:
            return
        live_handles.value -= 1
        # Unmapping a large block takes long enough to let other threads work; for a small one switching costs more.
        if self.size >= LARGE_VALUE:
            with nogil:
                api.ReleaseValue(self.handle)
        else:
            api.ReleaseValue(self.handle)


cdef inline int make_value(cnp.ndarray array, ONNXTensorElementDataType element_type, OrtValue** value) except -1:
    """Make an OrtValue over the array's own memory. The array must be C-contiguous and must outlive the value."""
    check(api.CreateTensorWithDataAsOrtValue(
        cpu_memory_info, cnp.PyArray_DATA(array), size_in_bytes(array, element_type),
        <const int64_t*>cnp.PyArray_DIMS(array), <size_t>cnp.PyArray_NDIM(array), element_type, value))
    live_handles.value += 1
    return 0


cdef object array_over(OrtValue* value, str name):
    """Make an array over a tensor's memory. The value is taken over, whether this succeeds or not."""
    cdef int has_value = 0
    cdef ONNXTensorElementDataType element_type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED
    cdef const int64_t* shape = NULL
    cdef size_t rank = 0
    cdef Value owner = Value.__new__(Value)
    owner.handle = value
    live_handles.value += 1
    check(api.HasValue(value, &has_value))
    if not has_value:
        return None  # an optional output without a value: no other question may be asked of it
    if api_version >= 24:
        check(api.GetTensorElementTypeAndShapeDataReference(value, &element_type, &shape, &rank))
        return array_of_shape(owner, element_type, shape, rank, name)
    return array_of_classic_shape(owner, name)


cdef object array_of_classic_shape(Value owner, str name):
    """Do for libraries before 1.24 what GetTensorElementTypeAndShapeDataReference does without allocating."""
    cdef OrtTensorTypeAndShapeInfo* info = NULL
    cdef ONNXTensorElementDataType element_type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED
    cdef size_t rank = 0
    cdef int64_t shape[cnp.NPY_MAXDIMS]
    check(api.GetTensorTypeAndShape(owner.handle, &info))
    try:
        check(api.GetTensorElementType(info, &element_type))
        check(api.GetDimensionsCount(info, &rank))
        if rank <= cnp.NPY_MAXDIMS:
            check(api.GetDimensions(info, shape, rank))
    finally:
        api.ReleaseTensorTypeAndShapeInfo(info)
    return array_of_shape(owner, element_type, shape, rank, name)


cdef inline object array_of_shape(
        Value owner, ONNXTensorElementDataType element_type, const int64_t* shape, size_t rank, str name):
    cdef ElementType* element = &element_types[<int>element_type if 0 <= <int>element_type < ELEMENT_TYPES else 0]
    cdef void* data = NULL
    if element.type_number < 0:
        raise NotSupported(f"output {name!r} is tensor({onnx_word(element_type)}), which numpy has no element type for")
    if rank > cnp.NPY_MAXDIMS:
        raise NotSupported(f"output {name!r} has {rank} dimensions; numpy arrays have at most {cnp.NPY_MAXDIMS}")
    check(api.GetTensorMutableData(owner.handle, &data))
    if data == NULL:  # nothing in it
        return cnp.PyArray_EMPTY(<int>rank, <cnp.npy_intp*>shape, element.type_number, 0)
    array = cnp.PyArray_SimpleNewFromData(<int>rank, <cnp.npy_intp*>shape, element.type_number, data)
    owner.size = size_in_bytes(array, element_type)
    cnp.set_array_base(array, owner)
    return array
