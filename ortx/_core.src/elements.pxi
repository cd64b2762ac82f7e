# Elements that lie otherwise in ORT's memory than in numpy's: strings, and what is smaller than a byte. They are
# copied, each way in one pass.

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    object PyUnicode_DecodeUTF8(const char* text, Py_ssize_t size, const char* errors)
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 largest)
    void* PyUnicode_DATA(object text)


cdef int fill_array(cnp.ndarray array, OrtValue* value, ONNXTensorElementDataType element_type) except -1:
    """Copy the elements of a tensor into an array of the same shape, new and C-contiguous."""
    cdef void* data = NULL
    if element_type == ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING:
        return fill_with_strings(array, value)
    check(api.GetTensorMutableData(value, &data))
    unpack(
        <unsigned char*>data, <unsigned char*>cnp.PyArray_DATA(array), cnp.PyArray_SIZE(array), bits_of(element_type))
    return 0


cdef int fill_with_strings(cnp.ndarray array, OrtValue* value) except -1:
    cdef size_t size = 0, i, end, count = <size_t>cnp.PyArray_SIZE(array)
    cdef PyObject** items = <PyObject**>cnp.PyArray_DATA(array)
    cdef char* text
    cdef size_t* offsets
    if count == 0:
        return 0
    check(api.GetStringTensorDataLength(value, &size))
    text = <char*>malloc(size + 1)
    offsets = <size_t*>malloc(count * sizeof(size_t))
    try:
        if text == NULL or offsets == NULL:
            raise MemoryError()
        check(api.GetStringTensorContent(value, text, size, offsets, count))
        ascii_only = is_ascii(<unsigned char*>text, size)
        for i in range(count):
            end = offsets[i + 1] if i + 1 < count else size
            if ascii_only:
                item = PyUnicode_New(<Py_ssize_t>(end - offsets[i]), 127)
                memcpy(PyUnicode_DATA(item), text + offsets[i], end - offsets[i])
            else:
                # What is no UTF-8 is kept as Python keeps such file names: it can be encoded back.
                item = PyUnicode_DecodeUTF8(text + offsets[i], <Py_ssize_t>(end - offsets[i]), "surrogateescape")
            Py_INCREF(item)
            Py_XDECREF(items[i])
            items[i] = <PyObject*>item
    finally:
        free(text)
        free(offsets)
    return 0


cdef bint is_ascii(const unsigned char* text, size_t size) noexcept nogil:
    cdef size_t i
    cdef unsigned char all_bits = 0
    for i in range(size):
        all_bits |= text[i]
    return all_bits < 0x80


cdef Py_ssize_t utf8_of_ucs4(const uint32_t* characters, Py_ssize_t count, char* place) noexcept nogil:
    """Write characters as UTF-8, or only return the size if there is no place. -1: a surrogate, which has no form."""
    cdef Py_ssize_t i, size = 0
    cdef uint32_t c
    for i in range(count):
        c = characters[i]
        if c < 0x80:
            if place != NULL:
                place[size] = <char>c
            size += 1
            continue
        if 0xd800 <= c < 0xe000:
            return -1
        if place != NULL:
            if c < 0x800:
                place[size] = <char>(0xc0 | c >> 6)
            elif c < 0x10000:
                place[size] = <char>(0xe0 | c >> 12)
                place[size + 1] = <char>(0x80 | c >> 6 & 0x3f)
            else:
                place[size] = <char>(0xf0 | c >> 18)
                place[size + 1] = <char>(0x80 | c >> 12 & 0x3f)
                place[size + 2] = <char>(0x80 | c >> 6 & 0x3f)
        size += 2 if c < 0x800 else 3 if c < 0x10000 else 4
        if place != NULL:
            place[size - 1] = <char>(0x80 | c & 0x3f)
    return size


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
