# What a session says of its model: OrtModelMetadata, and OrtMemoryInfo of its inputs and outputs.

ctypedef OrtStatus* (*MetadataTextFunction)(const OrtModelMetadata*, OrtAllocator*, char**) noexcept nogil
ctypedef OrtStatus* (*MemoryInfosFunction)(const OrtSession*, const OrtMemoryInfo**, size_t) noexcept nogil

cdef enum:
    NO_MODEL_VERSION = 0x7fffffffffffffff  # what ORT says of a model that has no version

cdef object model_metadata(NativeSession session):
    """Read the metadata of a session's model into a `Metadata`."""
    from .modelinfo import Metadata
    cdef OrtModelMetadata* metadata = NULL
    cdef int64_t version = 0
    check(api.SessionGetModelMetadata(session.handle, &metadata))
    live_handles.model_metadata += 1
    try:
        check(api.ModelMetadataGetVersion(metadata, &version))
        return Metadata(
            producer_name=metadata_text(metadata, api.ModelMetadataGetProducerName),
            graph_name=metadata_text(metadata, api.ModelMetadataGetGraphName),
            graph_description=metadata_text(metadata, api.ModelMetadataGetGraphDescription),
            description=metadata_text(metadata, api.ModelMetadataGetDescription),
            domain=metadata_text(metadata, api.ModelMetadataGetDomain),
            version=None if version == NO_MODEL_VERSION else version,
            custom_metadata=custom_metadata(metadata))
    finally:
        live_handles.model_metadata -= 1
        api.ReleaseModelMetadata(metadata)


cdef str metadata_text(const OrtModelMetadata* metadata, MetadataTextFunction get_text):
    cdef char* text = NULL
    check(get_text(metadata, default_allocator, &text))
    return take_string(text)


cdef dict custom_metadata(const OrtModelMetadata* metadata):
    cdef char** keys = NULL
    cdef char* value = NULL
    cdef int64_t count = 0, i
    found = {}
    check(api.ModelMetadataGetCustomMetadataMapKeys(metadata, default_allocator, &keys, &count))
    try:
        for i in range(count):
            check(api.ModelMetadataLookupCustomMetadataMap(metadata, default_allocator, keys[i], &value))
            found[keys[i].decode("utf-8", "surrogateescape")] = take_string(value)
    finally:
        for i in range(count):
            check(api.AllocatorFree(default_allocator, keys[i]))
        if keys != NULL:
            check(api.AllocatorFree(default_allocator, keys))
    return found


cdef Outputs memory_infos(NativeSession session, MemoryInfosFunction get_infos, tuple names):
    """Return where a session's inputs or outputs lie, by position and by name."""
    cdef Py_ssize_t count = len(names)
    cdef const OrtMemoryInfo** infos = <const OrtMemoryInfo**>malloc((count + 1) * sizeof(void*))
    if infos == NULL:
        raise MemoryError()
    try:
        check(get_infos(session.handle, infos, <size_t>count))
        return make_outputs(names, tuple([memory_info(infos[i]) for i in range(count)]))
    finally:
        free(infos)
