# Element types: one row per ONNXTensorElementDataType with ORT's number, ONNX's word and numpy's word, and two look-up
# tables for the call path. A type that numpy has no scalar type for has type number -1.

cdef enum:
    ELEMENT_TYPES = 27
    TYPE_NUMBERS = 32     # numpy's built-in type numbers are all below

cdef struct ElementType:
    int type_number       # numpy's, or -1
    int item_size         # bytes, or 0

cdef ElementType[ELEMENT_TYPES] element_types
cdef ONNXTensorElementDataType[TYPE_NUMBERS] element_type_of_type_number

# (ORT's number, ONNX's word inside `tensor(...)`, numpy's word, numpy's type number)
cdef tuple ELEMENT_TYPE_ROWS = (
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED, "undefined", "undefined", -1),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, "float", "float32", cnp.NPY_FLOAT32),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, "uint8", "uint8", cnp.NPY_UINT8),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8, "int8", "int8", cnp.NPY_INT8),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16, "uint16", "uint16", cnp.NPY_UINT16),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16, "int16", "int16", cnp.NPY_INT16),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, "int32", "int32", cnp.NPY_INT32),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, "int64", "int64", cnp.NPY_INT64),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, "string", "string", -1),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, "bool", "bool", cnp.NPY_BOOL),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, "float16", "float16", cnp.NPY_FLOAT16),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE, "double", "float64", cnp.NPY_FLOAT64),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32, "uint32", "uint32", cnp.NPY_UINT32),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64, "uint64", "uint64", cnp.NPY_UINT64),
    # ORT has the two complex types in its enumeration, but makes no tensor of them (ORT_NOT_IMPLEMENTED).
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_COMPLEX64, "complex64", "complex64", -1),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_COMPLEX128, "complex128", "complex128", -1),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16, "bfloat16", "bfloat16", -1),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E4M3FN, "float8e4m3fn", "float8_e4m3fn", -1),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E4M3FNUZ, "float8e4m3fnuz", "float8_e4m3fnuz", -1),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E5M2, "float8e5m2", "float8_e5m2", -1),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E5M2FNUZ, "float8e5m2fnuz", "float8_e5m2fnuz", -1),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT4, "uint4", "uint4", -1),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_INT4, "int4", "int4", -1),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT4E2M1, "float4e2m1", "float4_e2m1fn", -1),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT2, "uint2", "uint2", -1),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_INT2, "int2", "int2", -1),
    (ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E8M0, "float8e8m0", "float8_e8m0fnu", -1),
)


cdef int fill_element_types() except -1:
    cdef int number, type_number
    for number in range(TYPE_NUMBERS):
        element_type_of_type_number[number] = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED
    for number, _, name, type_number in ELEMENT_TYPE_ROWS:
        element_types[number].type_number = type_number
        element_types[number].item_size = 0
        if type_number >= 0:
            element_types[number].item_size = numpy.dtype(name).itemsize
            element_type_of_type_number[type_number] = <ONNXTensorElementDataType>number
    # C has two integer types of 64 (or 32) bits, and so has numpy.
    for twin in ("l", "q", "i", "L", "Q", "I"):
        dtype = numpy.dtype(twin)
        element_type_of_type_number[<int>dtype.num] = element_type_of_type_number[<int>numpy.dtype(dtype.str).num]
    return 0


fill_element_types()


cdef inline ONNXTensorElementDataType element_type_of(cnp.ndarray array) noexcept:
    """Return ORT's element type for an array of native byte order, or UNDEFINED."""
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


cdef str element_word(int element_type, int column):
    """Return ONNX's word (column 1) or numpy's word (column 2) for an element type."""
    if 0 <= element_type < ELEMENT_TYPES:
        return ELEMENT_TYPE_ROWS[element_type][column]
    return f"element type {element_type}"


cdef inline str onnx_word(int element_type):
    return element_word(element_type, 1)


cdef inline str numpy_word(int element_type):
    return element_word(element_type, 2)
