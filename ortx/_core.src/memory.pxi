# OrtMemoryInfo: where memory is.

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
