# Element types: one row per ONNXTensorElementDataType with ORT's number, ONNX's word and numpy's word, and two look-up
# tables for the call path. Types that numpy lacks come from ml_dtypes, which is imported when one appears.

cdef enum:
    ELEMENT_TYPES = 27
    TYPE_NUMBERS = 512    # numpy's built-in type numbers are below 32, those of ml_dtypes begin at 256
    STRINGS = -1          # in place of bits: ORT's own objects
    NO_TENSOR = 0         # in place of bits: ORT makes no tensor of it

cdef struct ElementType:
    int type_number       # numpy's, if its elements lie as ORT's; -1: they do not, or ml_dtypes is not known yet
    int item_size         # bytes of such an element, or 0
    PyObject* dtype       # numpy's; an owned reference, for good

cdef ElementType[ELEMENT_TYPES] element_types
cdef ONNXTensorElementDataType[TYPE_NUMBERS] element_type_of_type_number

# (ORT's number, ONNX's word inside `tensor(...)`, numpy's word, bits, whether it is ml_dtypes that has it)
cdef tuple ELEMENT_TYPE_ROWS = (
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED, "undefined", "undefined", NO_TENSOR, False),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, "float", "float32", 32, False),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, "uint8", "uint8", 8, False),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8, "int8", "int8", 8, False),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16, "uint16", "uint16", 16, False),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16, "int16", "int16", 16, False),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, "int32", "int32", 32, False),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, "int64", "int64", 64, False),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, "string", "string", STRINGS, False),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, "bool", "bool", 8, False),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, "float16", "float16", 16, False),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE, "double", "float64", 64, False),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32, "uint32", "uint32", 32, False),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64, "uint64", "uint64", 64, False),
    # ORT has the two complex types in its enumeration, but makes no tensor of them (ORT_NOT_IMPLEMENTED).
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_COMPLEX64, "complex64", "complex64", NO_TENSOR, False),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_COMPLEX128, "complex128", "complex128", NO_TENSOR, False),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16, "bfloat16", "bfloat16", 16, True),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E4M3FN, "float8e4m3fn", "float8_e4m3fn", 8, True),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E4M3FNUZ, "float8e4m3fnuz", "float8_e4m3fnuz", 8, True),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E5M2, "float8e5m2", "float8_e5m2", 8, True),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E5M2FNUZ, "float8e5m2fnuz", "float8_e5m2fnuz", 8, True),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT4, "uint4", "uint4", 4, True),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_INT4, "int4", "int4", 4, True),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT4E2M1, "float4e2m1", "float4_e2m1fn", 4, True),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT2, "uint2", "uint2", 2, True),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_INT2, "int2", "int2", 2, True),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E8M0, "float8e8m0", "float8_e8m0fnu", 8, True),
)
cdef dict ELEMENT_TYPE_OF_WORD = {word: number for number, _, word, bits, _ in ELEMENT_TYPE_ROWS if bits != NO_TENSOR}
# ... and by ONNX's own words: "float" is float32 there.
cdef dict ELEMENT_TYPE_OF_ANY_WORD = ELEMENT_TYPE_OF_WORD | {
    word: number for number, word, _, bits, _ in ELEMENT_TYPE_ROWS if bits != NO_TENSOR}
cdef bint knows_ml_dtypes = False


cdef int fill_element_types() except -1:
    cdef int number
    for number in range(TYPE_NUMBERS):
        element_type_of_type_number[number] = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED
    for number in range(ELEMENT_TYPES):
        element_types[number].type_number = -1
        element_types[number].item_size = 0
        element_types[number].dtype = NULL
    for number, _, name, bits, from_ml_dtypes in ELEMENT_TYPE_ROWS:
        if bits > 0 and not from_ml_dtypes:
            enter_element_type(number, numpy.dtype(name), bits)
    # C has two integer types of 64 (or 32) bits, and so has numpy.
    enter_integers(cnp.NPY_INT, cnp.NPY_UINT, sizeof(int))
    enter_integers(cnp.NPY_LONG, cnp.NPY_ULONG, sizeof(long))
    enter_integers(cnp.NPY_LONGLONG, cnp.NPY_ULONGLONG, sizeof(long long))
    return 0


cdef int enter_integers(int signed_type, int unsigned_type, size_t size) except -1:
    element_type_of_type_number[signed_type] = (
        ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32 if size == 4 else ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64)
    element_type_of_type_number[unsigned_type] = (
        ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32 if size == 4 else ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64)
    return 0


cdef int enter_element_type(int number, dtype, int bits) except -1:
    element_type_of_type_number[<int>dtype.num] = <ONNXTensorElementDataType>number
    if bits >= 8:  # smaller ones lie in bytes of their own in numpy, and packed in ORT
        element_types[number].type_number = dtype.num
        element_types[number].item_size = dtype.itemsize
        if element_types[number].dtype == NULL:
            element_types[number].dtype = <PyObject*>dtype
            Py_INCREF(dtype)
    return 0


cdef int learn_ml_dtypes(bint import_it) except -1:
    """Enter the element types of ml_dtypes into the tables; without `import_it` only if somebody has imported it."""
    global knows_ml_dtypes
    if knows_ml_dtypes or not (import_it or "ml_dtypes" in sys.modules):
        return 0
    import ml_dtypes
    for number, _, name, bits, from_ml_dtypes in ELEMENT_TYPE_ROWS:
        scalar_type = getattr(ml_dtypes, name, None) if from_ml_dtypes else None
        if scalar_type is not None and 0 <= numpy.dtype(scalar_type).num < TYPE_NUMBERS:
            enter_element_type(number, numpy.dtype(scalar_type), bits)
    knows_ml_dtypes = True
    return 0


cdef object dtype_of(int element_type):
    """Return numpy's element type for ORT's; of strings, that of arrays of objects."""
    _, word, name, bits, from_ml_dtypes = ELEMENT_TYPE_ROWS[element_type if 0 <= element_type < ELEMENT_TYPES else 0]
    if bits == STRINGS:
        return numpy.dtype(object)
    if bits == NO_TENSOR:
        raise NotSupported(f"tensor({word}) is an element type that ONNX Runtime makes no tensors of")
    if not from_ml_dtypes:
        return numpy.dtype(name)
    try:
        learn_ml_dtypes(import_it=True)
        import ml_dtypes
        return numpy.dtype(getattr(ml_dtypes, name))
    except (ImportError, AttributeError):
        raise NotSupported(
            f"tensor({word}) needs the package ml_dtypes, and one that has {name}: pip install -U ml_dtypes") from None


fill_element_types()


cdef inline ONNXTensorElementDataType element_type_of(cnp.ndarray array) noexcept:
    """Return ORT's element type for an array of native byte order, or UNDEFINED; strings have none."""
    cdef int number = cnp.PyArray_TYPE(array)
    if 0 <= number < TYPE_NUMBERS:
        return element_type_of_type_number[number]
    return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED


cdef inline size_t size_in_bytes(cnp.ndarray array, ONNXTensorElementDataType element_type) noexcept:
    """Return what ``array.nbytes`` does, without asking numpy: it would make two calls for it."""
    cdef size_t size = <size_t>element_types[<int>element_type].item_size
    cdef int i
    for i in range(cnp.PyArray_NDIM(array)):
        size *= <size_t>cnp.PyArray_DIMS(array)[i]
    return size


cdef inline int bits_of(int element_type) except? -2:
    """Return how many bits an element has in ORT's memory; or STRINGS or NO_TENSOR."""
    return ELEMENT_TYPE_ROWS[element_type][3] if 0 <= element_type < ELEMENT_TYPES else NO_TENSOR


cdef inline ONNXTensorElementDataType number_to_create(ONNXTensorElementDataType element_type) noexcept nogil:
    """Return the number that makes a tensor of a type: from 1.24 to 1.30 it is TensorProto's for the newest ones."""
    if element_type < ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT2 or not 24 <= library_minor <= 30:
        return element_type
    if element_type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E8M0:
        return <ONNXTensorElementDataType>24
    return <ONNXTensorElementDataType>(<int>element_type + 1)


cdef int tensor_proto_number(int element_type) except -1:
    """Return the number that TensorProto, the file format, has for an element type."""
    newest = {
        ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT2: 25, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT2: 26,
        ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E8M0: 24}
    return newest.get(element_type, element_type)


cdef str element_word(int element_type, int column):
    """Return ONNX's word (column 1) or numpy's word (column 2) for an element type."""
    if 0 <= element_type < ELEMENT_TYPES:
        return ELEMENT_TYPE_ROWS[element_type][column]
    return f"element type {element_type}"


cdef inline str onnx_word(int element_type):
    return element_word(element_type, 1)


cdef inline str numpy_word(int element_type):
    return element_word(element_type, 2)
