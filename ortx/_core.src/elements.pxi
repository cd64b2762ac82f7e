# Elements that lie otherwise in ORT's memory than in numpy's: strings, and what is smaller than a byte. They are
# copied, each way in one pass. (Strings: strings.pxi.)

cdef int fill_array(cnp.ndarray array, OrtValue* value, ONNXTensorElementDataType element_type) except -1:
    """Copy the elements of a tensor into an array of the same shape, new and C-contiguous."""
    cdef void* data = NULL
    if element_type == ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING:
        return fill_with_strings(array, value)
    check(api.GetTensorMutableData(value, &data))
    unpack(
        <unsigned char*>data, <unsigned char*>cnp.PyArray_DATA(array), cnp.PyArray_SIZE(array), bits_of(element_type))
    return 0


cdef void pack(const unsigned char* elements, unsigned char* packed, Py_ssize_t count, int bits) noexcept nogil:
    """Put 2 or 4 elements into each byte, the first into its lowest bits; what is left of the last byte is 0."""
    cdef Py_ssize_t i
    cdef int per_byte = 8 // bits, mask = (1 << bits) - 1, at
    for i in range(count):
        at = <int>(i % per_byte) * bits
        packed[i // per_byte] = (packed[i // per_byte] if at else 0) | ((elements[i] & mask) << at)


cdef void unpack(const unsigned char* packed, unsigned char* elements, Py_ssize_t count, int bits) noexcept nogil:
    cdef Py_ssize_t i
    cdef int per_byte = 8 // bits, mask = (1 << bits) - 1
    for i in range(count):
        elements[i] = (packed[i // per_byte] >> (<int>(i % per_byte) * bits)) & mask
