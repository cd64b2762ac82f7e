# OrtMemoryInfo: where memory is; OrtAllocator: what a session's allocators say of themselves.

cdef dict MEM_TYPE_WORDS = {
    OrtMemTypeCPUInput: "cpu_input", OrtMemTypeCPUOutput: "cpu_output", OrtMemTypeDefault: "default"}
cdef dict ALLOCATOR_TYPE_WORDS = {
    OrtInvalidAllocator: "invalid", OrtDeviceAllocator: "device", OrtArenaAllocator: "arena",
    OrtReadOnlyAllocator: "read_only"}
cdef dict DEVICE_TYPE_WORDS = {
    OrtMemoryInfoDeviceType_CPU: "cpu", OrtMemoryInfoDeviceType_GPU: "gpu", OrtMemoryInfoDeviceType_FPGA: "fpga",
    OrtMemoryInfoDeviceType_NPU: "npu"}
cdef dict DEVICE_MEMORY_TYPE_WORDS = {
    OrtDeviceMemoryType_DEFAULT: "default", OrtDeviceMemoryType_HOST_ACCESSIBLE: "host_accessible"}


cdef object memory_info(const OrtMemoryInfo* info):
    """Read an OrtMemoryInfo, which stays ORT's, into a `MemoryInfo`."""
    from .modelinfo import MemoryInfo
    cdef const char* name = NULL
    cdef int number = 0
    cdef OrtMemType mem_type = OrtMemTypeDefault
    cdef OrtAllocatorType allocator_type = OrtInvalidAllocator
    cdef OrtMemoryInfoDeviceType device_type = OrtMemoryInfoDeviceType_CPU
    require_version(23, "memory information")
    check(api.MemoryInfoGetName(info, &name))
    check(api.MemoryInfoGetId(info, &number))
    check(api.MemoryInfoGetMemType(info, &mem_type))
    check(api.MemoryInfoGetType(info, &allocator_type))
    api.MemoryInfoGetDeviceType(info, &device_type)
    return MemoryInfo(
        name=name.decode("utf-8", "replace"), id=number,
        mem_type=MEM_TYPE_WORDS.get(mem_type, str(<int>mem_type)),
        allocator_type=ALLOCATOR_TYPE_WORDS.get(allocator_type, str(<int>allocator_type)),
        device_type=DEVICE_TYPE_WORDS.get(device_type, str(<int>device_type)),
        device_mem_type=DEVICE_MEMORY_TYPE_WORDS.get(api.MemoryInfoGetDeviceMemType(info), "unknown"),
        vendor_id=api.MemoryInfoGetVendorId(info))


cdef dict allocator_stats(NativeSession session, size_t inputs, size_t outputs):
    """Return what the allocators of the CPU, and of where so many inputs and outputs lie, say of themselves."""
    cdef size_t i
    cdef const OrtMemoryInfo** infos
    require_version(23, "allocator_stats")
    infos = <const OrtMemoryInfo**>malloc((1 + inputs + outputs) * sizeof(void*))
    if infos == NULL:
        raise MemoryError()
    try:
        infos[0] = cpu_memory_info
        check(api.SessionGetMemoryInfoForInputs(session.handle, infos + 1, inputs))
        check(api.SessionGetMemoryInfoForOutputs(session.handle, infos + 1 + inputs, outputs))
        found = {}
        for i in range(1 + inputs + outputs):
            device = device_words(infos[i])
            if device not in found:
                found[device] = stats_of_allocator(session, infos[i])
        return found
    finally:
        free(infos)


cdef str device_words(const OrtMemoryInfo* info):
    """Return a device as runs name it, such as "cpu:0"."""
    where = memory_info(info)
    host = " host_accessible" if where.device_mem_type == "host_accessible" else ""
    return f"{where.device_type}:{where.id}{host}"


cdef dict stats_of_allocator(NativeSession session, const OrtMemoryInfo* info):
    cdef OrtAllocator* allocator = NULL
    cdef OrtKeyValuePairs* pairs = NULL
    cdef const char* const* keys = NULL
    cdef const char* const* values = NULL
    cdef size_t count = 0
    require_version(23, "allocator_stats")
    check(api.CreateAllocator(session.handle, info, &allocator))
    live_handles.allocator += 1
    try:
        check(api.AllocatorGetStats(allocator, &pairs))
    except NotSupported:  # an allocator of a provider that keeps no books
        return {}
    finally:
        live_handles.allocator -= 1
        api.ReleaseAllocator(allocator)
    live_handles.key_value_pairs += 1
    try:
        api.GetKeyValuePairs(pairs, &keys, &values, &count)
        return {keys[i].decode("utf-8", "replace"): number_or_text(values[i]) for i in range(count)}
    finally:
        live_handles.key_value_pairs -= 1
        api.ReleaseKeyValuePairs(pairs)


cdef object number_or_text(const char* value):
    text = value.decode("utf-8", "replace")
    return int(text) if re.fullmatch(r"-?[0-9]{1,20}", text) else text
