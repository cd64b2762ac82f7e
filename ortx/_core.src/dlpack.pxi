# DLPack, both ways: memory that another library owns as a numpy array, and a tensor's memory for another library. The
# structs are those of DLPack 1.1; before 1.0 a capsule holds the inner half and says nothing of versions or flags.

cdef enum:
    DL_READ_ONLY = 1
    DL_IS_COPIED = 2

cdef int64_t MOST_STRIDE = <int64_t>1 << 56  # elements; in bytes it fits into 64 bits

# What the CPU can read: its own memory, and that which CUDA and ROCm pin or manage for it.
cdef tuple HOST_DEVICE_TYPES = (1, 3, 11, 13)
cdef dict DEVICE_WORDS = {
    2: "cuda", 4: "opencl", 7: "vulkan", 8: "metal", 9: "vpi", 10: "rocm", 12: "ext_dev", 14: "oneapi", 15: "webgpu",
    16: "hexagon", 17: "maia"}

# (code, bits) -> numpy's word
cdef dict DLPACK_TYPES = {
    (0, 8): "int8", (0, 16): "int16", (0, 32): "int32", (0, 64): "int64",
    (1, 8): "uint8", (1, 16): "uint16", (1, 32): "uint32", (1, 64): "uint64",
    (2, 16): "float16", (2, 32): "float32", (2, 64): "float64", (4, 16): "bfloat16", (6, 8): "bool",
    (10, 8): "float8_e4m3fn", (11, 8): "float8_e4m3fnuz", (12, 8): "float8_e5m2", (13, 8): "float8_e5m2fnuz",
    (14, 8): "float8_e8m0fnu"}
cdef dict DLPACK_OF_WORD = {word: key for key, word in DLPACK_TYPES.items()}


# --- from another library -------------------------------------------------------------------------------------------

@cython.final
cdef class BorrowedMemory:
    """The base of an array over memory that another library lends, which is told when the last array is gone."""

    def __cinit__(self):
        self.legacy = NULL
        self.versioned = NULL

    def __init__(self):
        raise TypeError("BorrowedMemory cannot be made directly; it is the base of arrays over others' memory")

    def __dealloc__(self):
        if self.legacy != NULL and self.legacy.deleter != NULL:
            self.legacy.deleter(self.legacy)
        if self.versioned != NULL and self.versioned.deleter != NULL:
            self.versioned.deleter(self.versioned)


cdef object array_of_dlpack(value):
    """Return an array over the memory that `value` lends; nothing is copied. Raises BufferError if that cannot be."""
    cdef BorrowedMemory memory = BorrowedMemory.__new__(BorrowedMemory)
    cdef DLTensor* tensor
    if hasattr(value, "__dlpack_device__"):  # a device is not asked for what would be refused
        device_type, device_id = value.__dlpack_device__()
        require_host_memory(int(device_type), device_id)
    try:
        capsule = value.__dlpack__(max_version=(1, 1))
    except TypeError as error:
        if "max_version" not in str(error) and "keyword" not in str(error):
            raise
        capsule = value.__dlpack__()  # knows nothing of versions
    if PyCapsule_IsValid(capsule, "dltensor_versioned"):
        memory.versioned = <DLManagedTensorVersioned*>PyCapsule_GetPointer(capsule, "dltensor_versioned")
        if memory.versioned.major != 1:
            major, memory.versioned = memory.versioned.major, NULL
            raise BufferError(f"it speaks DLPack {major}, and ortx DLPack 1")
        PyCapsule_SetName(capsule, "used_dltensor_versioned")
        tensor = &memory.versioned.tensor
        read_only = memory.versioned.flags & DL_READ_ONLY != 0
    elif PyCapsule_IsValid(capsule, "dltensor"):
        memory.legacy = <DLManagedTensor*>PyCapsule_GetPointer(capsule, "dltensor")
        PyCapsule_SetName(capsule, "used_dltensor")
        tensor = &memory.legacy.tensor
        read_only = False
    else:
        raise BufferError(f"its __dlpack__ returned {shown(capsule)}, which is no DLPack capsule")
    require_host_memory(tensor.device_type, tensor.device_id)
    array = array_of_dltensor(tensor)
    cnp.set_array_base(array, memory)
    if read_only:
        array.flags.writeable = False
    return array


cdef int require_host_memory(int device_type, device_id) except -1:
    if device_type not in HOST_DEVICE_TYPES:
        device = DEVICE_WORDS.get(device_type, f"device type {device_type}")
        raise BufferError(f"it is in the memory of {device}:{device_id}, and has to be copied to the CPU's first")
    return 0


cdef cnp.ndarray array_of_dltensor(DLTensor* tensor):
    cdef cnp.npy_intp strides[cnp.NPY_MAXDIMS]
    cdef int i, item_size
    word = DLPACK_TYPES.get((tensor.dtype.code, tensor.dtype.bits))
    if word is None or tensor.dtype.lanes != 1:
        raise BufferError(
            f"its elements are of the DLPack type ({tensor.dtype.code}, {tensor.dtype.bits}, {tensor.dtype.lanes}), "
            "which ONNX has none for")
    if not 0 <= tensor.ndim <= cnp.NPY_MAXDIMS:
        raise BufferError(f"it has {tensor.ndim} dimensions; numpy arrays have at most {cnp.NPY_MAXDIMS}")
    if tensor.shape == NULL and tensor.ndim:
        raise BufferError(f"it has {tensor.ndim} dimensions, but no sizes of them")
    dtype = dtype_of(ELEMENT_TYPE_OF_WORD[word])
    item_size = dtype.itemsize
    if tensor.data == NULL and all([tensor.shape[i] != 0 for i in range(tensor.ndim)]):
        raise BufferError("it has elements, but no memory")
    if tensor.strides != NULL:
        for i in range(tensor.ndim):
            if not -MOST_STRIDE <= tensor.strides[i] <= MOST_STRIDE:
                raise BufferError(f"its stride {i} of {tensor.strides[i]} elements leads out of any memory")
            strides[i] = tensor.strides[i] * item_size
    return cnp.PyArray_New(
        cnp.ndarray, tensor.ndim, <cnp.npy_intp*>tensor.shape, <int>dtype.num,
        NULL if tensor.strides == NULL else strides, <char*>(<uintptr_t>tensor.data + tensor.byte_offset), item_size,
        cnp.NPY_ARRAY_WRITEABLE if tensor.strides != NULL else cnp.NPY_ARRAY_CARRAY, None)


# --- for another library --------------------------------------------------------------------------------------------

cdef struct Lent:
    # One block: the struct that is lent, and what it points to.
    DLManagedTensor legacy
    DLManagedTensorVersioned versioned
    int64_t dims[2 * cnp.NPY_MAXDIMS]


cdef object lend(cnp.ndarray array, stream, max_version, dl_device, copy):
    """Make a DLPack capsule over an array's memory, which stays alive as long as it is lent."""
    cdef Lent* lent
    cdef DLTensor* tensor
    cdef int i
    if stream is not None:
        raise BufferError(f"stream: got {shown(stream)}; memory of the CPU knows no streams: expected None")
    if dl_device is not None and dl_device != (1, 0):
        raise BufferError(f"dl_device: got {shown(dl_device)}; the tensor is in the CPU's memory: expected (1, 0)")
    word = numpy_word(element_type_of(array))
    if word not in DLPACK_OF_WORD:
        raise BufferError(f"DLPack has no element type for {array.dtype.name}")
    if max_version is not None and not (isinstance(max_version, tuple) and len(max_version) == 2 and all(
            [isinstance(number, int) for number in max_version])):
        raise BufferError(f"max_version: got {shown(max_version)}; expected a pair of integers such as (1, 1)")
    versioned = max_version is not None and max_version >= (1, 0)
    if copy:
        array = array.copy()
    elif not versioned and not cnp.PyArray_ISWRITEABLE(array):
        raise BufferError("a read-only tensor can be lent by DLPack 1.0 and newer only: max_version=(1, 0)")
    lent = <Lent*>malloc(sizeof(Lent))
    if lent == NULL:
        raise MemoryError()
    tensor = &lent.versioned.tensor if versioned else &lent.legacy.tensor
    tensor.data = cnp.PyArray_DATA(array)
    tensor.device_type, tensor.device_id, tensor.byte_offset = 1, 0, 0
    tensor.ndim = cnp.PyArray_NDIM(array)
    tensor.dtype.code, tensor.dtype.bits = DLPACK_OF_WORD[word]
    tensor.dtype.lanes = 1
    tensor.shape, tensor.strides = lent.dims, lent.dims + cnp.NPY_MAXDIMS
    for i in range(tensor.ndim):
        tensor.shape[i] = cnp.PyArray_DIMS(array)[i]
        tensor.strides[i] = cnp.PyArray_STRIDES(array)[i] // cnp.PyArray_ITEMSIZE(array)
    Py_INCREF(array)
    if versioned:
        lent.versioned.major, lent.versioned.minor = 1, 1
        lent.versioned.flags = (0 if cnp.PyArray_ISWRITEABLE(array) else DL_READ_ONLY) | (DL_IS_COPIED if copy else 0)
        lent.versioned.manager_ctx = <void*>array
        lent.versioned.deleter = give_back_versioned
        return PyCapsule_New(&lent.versioned, "dltensor_versioned", drop_versioned_capsule)
    lent.legacy.manager_ctx = <void*>array
    lent.legacy.deleter = give_back_legacy
    return PyCapsule_New(&lent.legacy, "dltensor", drop_legacy_capsule)


cdef void give_back_legacy(DLManagedTensor* lent) noexcept with gil:
    """Be told that nobody uses the memory any more; on any thread, with or without the GIL."""
    Py_XDECREF(<PyObject*>lent.manager_ctx)
    free(<char*>lent - <size_t>&(<Lent*>NULL).legacy)


cdef void give_back_versioned(DLManagedTensorVersioned* lent) noexcept with gil:
    Py_XDECREF(<PyObject*>lent.manager_ctx)
    free(<char*>lent - <size_t>&(<Lent*>NULL).versioned)


cdef void drop_legacy_capsule(object capsule) noexcept:
    """Take the memory back if nobody took the capsule's content over."""
    if PyCapsule_IsValid(capsule, "dltensor"):
        give_back_legacy(<DLManagedTensor*>PyCapsule_GetPointer(capsule, "dltensor"))


cdef void drop_versioned_capsule(object capsule) noexcept:
    if PyCapsule_IsValid(capsule, "dltensor_versioned"):
        give_back_versioned(<DLManagedTensorVersioned*>PyCapsule_GetPointer(capsule, "dltensor_versioned"))
