# The strings of a tensor: read into str, and written without one allocation for each.
#
# ORT keeps a std::string per element. The C API copies each, and takes 40 to 120 ns for it. Where the library's
# std::string is that of libstdc++ (every Linux wheel), ortx reads these objects itself, and makes them itself, over the
# UTF-8 that Python's strings hold. Nothing is taken for granted: the library in use is asked first, with strings of
# both kinds, and the C API's functions do the work unless each answer is the expected one.

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    object PyUnicode_DecodeUTF8(const char* text, Py_ssize_t size, const char* errors)
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 largest)
    void* PyUnicode_DATA(object text)
    int PyUnicode_KIND(object text)
    void PyUnicode_WRITE(int kind, void* data, Py_ssize_t index, Py_UCS4 character)


cdef struct StringObject:
    const char* data        # of short strings: own_characters
    size_t size
    size_t capacity         # or own_characters, which take 16 bytes
    size_t own_characters

cdef enum:
    SHORT_STRING = 128  # bytes

cdef enum:
    LAYOUT_UNKNOWN, LAYOUT_IS_OURS, LAYOUT_IS_ANOTHER

cdef int string_layout = LAYOUT_UNKNOWN


def _share_strings(share: bool) -> bool:
    """Let strings be read and made in place where that is possible, or never; return how it was. For tests."""
    global string_layout
    ensure_library()
    was_shared = strings_are_shared()
    string_layout = LAYOUT_UNKNOWN if share else LAYOUT_IS_ANOTHER
    return was_shared


cdef inline bint strings_are_shared() except -1:
    global string_layout
    if string_layout == LAYOUT_UNKNOWN:
        string_layout = LAYOUT_IS_OURS if library_has_our_layout() else LAYOUT_IS_ANOTHER
    return string_layout == LAYOUT_IS_OURS


cdef bint library_has_our_layout() except -1:
    """Whether ORT's strings are `StringObject`s: those that it makes, and those that are made for it."""
    cdef OrtValue* theirs = NULL
    cdef OrtValue* ours = NULL
    cdef StringObject made[2]
    cdef char* place = NULL
    cdef int64_t count = 4  # more than are looked at, should the objects be smaller
    try:
        check(api.CreateTensorAsOrtValue(
            default_allocator, &count, 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, &theirs))
        check(api.GetResizedStringTensorElementBuffer(theirs, 0, strlen(SHORT_TEXT), &place))
        memcpy(place, SHORT_TEXT, strlen(SHORT_TEXT))
        check(api.GetResizedStringTensorElementBuffer(theirs, 1, strlen(LONG_TEXT), &place))
        memcpy(place, LONG_TEXT, strlen(LONG_TEXT))
        if not are_our_layout(theirs):
            return False
        count = 2
        made[0] = StringObject(SHORT_TEXT, strlen(SHORT_TEXT), strlen(SHORT_TEXT), 0)
        made[1] = StringObject(LONG_TEXT, strlen(LONG_TEXT), strlen(LONG_TEXT), 0)
        check(api.CreateTensorWithDataAsOrtValue(
            cpu_memory_info, made, sizeof(made), &count, 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, &ours))
        return are_read_by_library(ours)
    except Error:  # a library that will not even do this
        return False
    finally:
        if theirs != NULL:
            api.ReleaseValue(theirs)
        if ours != NULL:
            api.ReleaseValue(ours)


cdef const char* SHORT_TEXT = b"short"
cdef const char* LONG_TEXT = b"longer than what a string object itself has room for"


cdef bint are_our_layout(OrtValue* value) except -1:
    """Whether a short and a long string of ORT's lie as expected. No pointer is followed that is not known for one."""
    cdef StringObject* objects = NULL
    check(api.GetTensorMutableData(value, <void**>&objects))
    return (objects[0].data == <const char*>&objects[0].capacity
            and objects[0].size == strlen(SHORT_TEXT)
            and strcmp(objects[0].data, SHORT_TEXT) == 0
            and objects[1].size == strlen(LONG_TEXT)
            and strlen(LONG_TEXT) <= objects[1].capacity < 2 * strlen(LONG_TEXT)
            and objects[1].data != NULL
            and strcmp(objects[1].data, LONG_TEXT) == 0)


cdef bint are_read_by_library(OrtValue* value) except -1:
    cdef size_t size = 0, total = strlen(SHORT_TEXT) + strlen(LONG_TEXT)
    cdef size_t offsets[2]
    cdef char text[128]
    check(api.GetStringTensorDataLength(value, &size))
    if size != total:
        return False
    check(api.GetStringTensorContent(value, text, size, offsets, 2))
    return (offsets[0] == 0 and offsets[1] == strlen(SHORT_TEXT)
            and memcmp(text, SHORT_TEXT, offsets[1]) == 0
            and memcmp(text + offsets[1], LONG_TEXT, size - offsets[1]) == 0)


# --- in -------------------------------------------------------------------------------------------------------------

cdef tuple string_objects(cnp.ndarray array):
    """Return an array of `StringObject`s over the str in an array of objects, and what keeps those alive.

    Raises UnicodeEncodeError if one of them cannot be written as UTF-8.
    """
    cdef cnp.npy_intp count = cnp.PyArray_SIZE(array), i
    cdef cnp.npy_intp words = 4 * count
    cdef Py_ssize_t size = 0
    kept = cnp.PyArray_NewCopy(array, cnp.NPY_CORDER)  # the caller's array may be changed while the model runs
    cdef PyObject** items = <PyObject**>cnp.PyArray_DATA(kept)
    objects = cnp.PyArray_EMPTY(1, &words, cnp.NPY_UINTP, 0)
    cdef StringObject* made = <StringObject*>cnp.PyArray_DATA(objects)
    for i in range(count):
        made[i].data = PyUnicode_AsUTF8AndSize(<object>items[i], &size)
        made[i].size = made[i].capacity = <size_t>size
    return objects, kept


cdef tuple string_objects_of_ucs4(cnp.ndarray array):
    """Do the same for a C-contiguous array of numpy's ``U`` type; return None if it holds a surrogate."""
    cdef const uint32_t* characters = <const uint32_t*>cnp.PyArray_DATA(array)
    cdef Py_ssize_t size, width = cnp.PyArray_ITEMSIZE(array) // 4
    cdef cnp.npy_intp count = cnp.PyArray_SIZE(array), i
    cdef cnp.npy_intp words = 4 * count, room = count * (4 * width + 1)
    objects = cnp.PyArray_EMPTY(1, &words, cnp.NPY_UINTP, 0)
    text = cnp.PyArray_EMPTY(1, &room, cnp.NPY_UINT8, 0)
    cdef StringObject* made = <StringObject*>cnp.PyArray_DATA(objects)
    cdef char* place = <char*>cnp.PyArray_DATA(text)
    for i in range(count):
        size = utf8_of_ucs4(characters, length_of_ucs4(characters, width), place)
        if size < 0:
            return None
        made[i].data = place
        made[i].size = made[i].capacity = <size_t>size
        place[size] = 0
        place += size + 1
        characters += width
    return objects, text


cdef inline Py_ssize_t length_of_ucs4(const uint32_t* characters, Py_ssize_t width) noexcept nogil:
    """Return the length of a string that numpy has filled up with NULs."""
    while width > 0 and characters[width - 1] == 0:
        width -= 1
    return width


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


# --- out ------------------------------------------------------------------------------------------------------------

cdef int fill_with_strings(cnp.ndarray array, OrtValue* value) except -1:
    """Put the strings of a tensor into an array of objects of the same shape, new and C-contiguous."""
    cdef size_t i, count = <size_t>cnp.PyArray_SIZE(array)
    cdef PyObject** items = <PyObject**>cnp.PyArray_DATA(array)
    cdef StringObject* objects = NULL
    if count == 0:
        return 0
    if not strings_are_shared():
        return fill_with_copied_strings(array, value)
    check(api.GetTensorMutableData(value, <void**>&objects))
    for i in range(count):
        put_string(&items[i], objects[i].data, <Py_ssize_t>objects[i].size)
    return 0


cdef int fill_with_copied_strings(cnp.ndarray array, OrtValue* value) except -1:
    cdef size_t size = 0, i, end, count = <size_t>cnp.PyArray_SIZE(array)
    cdef PyObject** items = <PyObject**>cnp.PyArray_DATA(array)
    cdef char* text
    cdef size_t* offsets
    check(api.GetStringTensorDataLength(value, &size))
    text = <char*>malloc(size + 1)
    offsets = <size_t*>malloc((count + 1) * sizeof(size_t))
    try:
        if text == NULL or offsets == NULL:
            raise MemoryError()
        check(api.GetStringTensorContent(value, text, size, offsets, count))
        for i in range(count):
            end = offsets[i + 1] if i + 1 < count else size
            put_string(&items[i], text + offsets[i], <Py_ssize_t>(end - offsets[i]))
    finally:
        free(text)
        free(offsets)
    return 0


cdef inline int put_string(PyObject** place, const char* text, Py_ssize_t size) except -1:
    if is_ascii(text, size):
        item = PyUnicode_New(size, 127)
        memcpy(PyUnicode_DATA(item), text, <size_t>size)
    else:
        item = decoded_utf8(<const unsigned char*>text, size)
    Py_INCREF(item)
    Py_XDECREF(place[0])
    place[0] = <PyObject*>item
    return 0


cdef object decoded_utf8(const unsigned char* text, Py_ssize_t size):
    """Return UTF-8 as str; what is none is kept as Python keeps such file names: it can be encoded back."""
    cdef uint32_t characters[SHORT_STRING]
    cdef uint32_t all_bits = 0
    cdef Py_ssize_t count = -1, i
    if size <= SHORT_STRING:  # Python's own decoder takes three times as long for these
        count = ucs4_of_utf8(text, size, characters, &all_bits)
    if count < 0:
        return PyUnicode_DecodeUTF8(<const char*>text, size, "surrogateescape")
    item = PyUnicode_New(count, all_bits if all_bits < 0x10000 else 0x10ffff)
    cdef int kind = PyUnicode_KIND(item)
    cdef void* data = PyUnicode_DATA(item)
    for i in range(count):
        PyUnicode_WRITE(kind, data, i, characters[i])
    return item


cdef Py_ssize_t ucs4_of_utf8(
        const unsigned char* text, Py_ssize_t size, uint32_t* characters, uint32_t* all_bits) noexcept nogil:
    """Decode well-formed UTF-8, and return the number of characters; -1 if it is none.

    `all_bits` has each bit that any character has: enough to tell which of Python's widths it takes.
    """
    cdef Py_ssize_t at = 0, count = 0, i
    cdef int more
    cdef uint32_t c, least
    while at < size:
        c = text[at]
        at += 1
        if c >= 0x80:
            if 0xc2 <= c < 0xe0:
                more, c, least = 1, c & 0x1f, 0x80
            elif 0xe0 <= c < 0xf0:
                more, c, least = 2, c & 0x0f, 0x800
            elif 0xf0 <= c < 0xf5:
                more, c, least = 3, c & 0x07, 0x10000
            else:
                return -1
            if at + more > size:
                return -1
            for i in range(more):
                if text[at + i] & 0xc0 != 0x80:
                    return -1
                c = c << 6 | text[at + i] & 0x3f
            at += more
            if c < least or 0xd800 <= c < 0xe000 or c > 0x10ffff:
                return -1
        all_bits[0] |= c
        characters[count] = c
        count += 1
    return count


cdef inline bint is_ascii(const char* text, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i = 0
    cdef uint64_t word = 0, all_bits = 0
    while i + 8 <= size:
        memcpy(&word, text + i, 8)
        all_bits |= word
        i += 8
    while i < size:
        all_bits |= <unsigned char>text[i]
        i += 1
    return not all_bits & <uint64_t>0x8080808080808080
