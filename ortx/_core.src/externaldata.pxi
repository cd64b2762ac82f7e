# External data from memory: the files that a model keeps its weights in, as buffers of the caller's.

cdef str DIRECTLY = "session.use_external_initializer_file_buffers_directly"


cdef dict external_buffers(str function, external_data, model):
    """Return a view of each buffer, by the model's own name for the file; they may not change while there is a view.

    `model` is the content of the model's file.
    """
    from . import memoryoptions, modelfile
    if modelfile.is_ort_format(model):
        raise NotSupported(f"{function}: option 'external_data': needs an .onnx model; this one is in ORT's own format")
    try:
        needed = modelfile.external_files(model)
    except ValueError as error:
        raise InvalidProtobuf(f"{function}: the model is no ONNX model, or a damaged one ({error})") from None
    for name in needed:
        if library_minor < 31 and memoryoptions.same_file(name) != name:  # ORT looks for the one, and keeps the other
            raise NotSupported(
                f"{function}: option 'external_data': the model calls a file {name!r}; ONNX Runtime "
                f"{library_version} finds such a name only on disk, 1.31 and newer also in memory")
    views = {name: memoryview(buffer) for name, buffer in external_data}
    sizes = {name: view.nbytes for name, view in views.items()}
    return {name: views[given] for name, given in memoryoptions.matched_files(function, sizes, needed).items()}


cdef int add_external_data(OrtSessionOptions* native, dict buffers) except -1:
    """Add the buffers to the options. They have to live until the session is made; their names are copied."""
    cdef Py_ssize_t i = 0, count = len(buffers)
    cdef Py_buffer view
    cdef void** block
    if count == 0:
        return 0
    block = <void**>malloc(3 * count * sizeof(void*))
    if block == NULL:
        raise MemoryError()
    names = [native_path(name) for name in buffers]  # keeps the characters alive
    try:
        for name, buffer in zip(names, buffers.values()):
            PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
            block[i] = <void*>path_characters(name)
            block[count + i] = view.buf
            (<size_t*>block)[2 * count + i] = <size_t>view.len
            PyBuffer_Release(&view)  # the memoryview itself holds the memory
            i += 1
        check(api.AddExternalInitializersFromFilesInMemory(
            native, <const ORTCHAR_T* const*>block, <char* const*>(block + count), <const size_t*>(block + 2 * count),
            <size_t>count))
    finally:
        free(block)
    return 0


cdef bint is_read_in_place(table) except -1:
    """Whether a session uses external data where it lies, for as long as it lives."""
    return dict(table.config_entries).get(DIRECTLY) == "1"
