# Execution providers: from the names and options that `providers.py` has read to the functions that append them.

ctypedef OrtStatus* (*AppendCoreMLFunction)(OrtSessionOptions*, uint32_t) noexcept nogil


@cython.binding(True)
def available_providers() -> tuple[str, ...]:
    """Return the execution providers that the loaded library was built with, best first.

    Others may be added by a provider library of their own. Raises `LibraryError` if ONNX Runtime cannot be loaded.
    Stands for ``GetAvailableProviders``.
    """
    cdef char** names = NULL
    cdef int count = 0
    ensure_library()
    check(api.GetAvailableProviders(&names, &count))
    try:
        return tuple([names[i].decode("utf-8", "replace") for i in range(count)])
    finally:
        check(api.ReleaseAvailableProviders(names, count))


cdef list append_providers(OrtSessionOptions* native, str function, table, providers, list failures):
    """Append providers up to the CPU, and return their names; `failures` gets the others, and why."""
    appended = []
    for provider in providers:
        if provider.kind == "cpu":
            break
        try:
            append_provider(native, provider, table)
        except Error as error:
            if not table.fallback_to_cpu:
                raise EpFail(f"{function}: {provider.name} cannot be used: {error}") from error
            failures.append((provider.name, error))
        else:
            appended.append(provider.name)
    return appended


cdef int append_provider(OrtSessionOptions* native, provider, table) except -1:
    cdef OptionTexts texts = make_option_texts(provider.options)
    if provider.kind == "cuda":
        return append_cuda(native, texts)
    if provider.kind == "tensorrt":
        return append_tensorrt(native, texts)
    if provider.append_name == "CoreML":
        require_neural_engine(table)
        if api_version < 21:
            return append_coreml_by_flags(native, provider, table)
    name = provider.append_name.encode()
    return check(api.SessionOptionsAppendExecutionProvider(
        native, PyBytes_AS_STRING(name), texts.keys, texts.values, texts.count))


cdef int append_cuda(OrtSessionOptions* native, OptionTexts texts) except -1:
    cdef OrtCUDAProviderOptionsV2* cuda = NULL
    check(api.CreateCUDAProviderOptions(&cuda))
    live_handles.provider_options += 1
    try:
        check(api.UpdateCUDAProviderOptions(cuda, texts.keys, texts.values, texts.count))
        with nogil:  # loads the provider's own library
            check(api.SessionOptionsAppendExecutionProvider_CUDA_V2(native, cuda))
    finally:
        live_handles.provider_options -= 1
        api.ReleaseCUDAProviderOptions(cuda)
    return 0


cdef int append_tensorrt(OrtSessionOptions* native, OptionTexts texts) except -1:
    cdef OrtTensorRTProviderOptionsV2* tensorrt = NULL
    check(api.CreateTensorRTProviderOptions(&tensorrt))
    live_handles.provider_options += 1
    try:
        check(api.UpdateTensorRTProviderOptions(tensorrt, texts.keys, texts.values, texts.count))
        with nogil:  # loads the provider's own library
            check(api.SessionOptionsAppendExecutionProvider_TensorRT_V2(native, tensorrt))
    finally:
        live_handles.provider_options -= 1
        api.ReleaseTensorRTProviderOptions(tensorrt)
    return 0


cdef int require_neural_engine(table) except -1:
    """Do what ORT's flag does and its provider options cannot say: use CoreML on a device with a Neural Engine only."""
    from . import coreml
    if coreml.resolve(coreml_options(table)).only_device_with_ane and not coreml.has_neural_engine():
        raise EpFail("coreml_only_enable_device_with_ane: this device has no Apple Neural Engine")
    return 0


cdef int append_coreml_by_flags(OrtSessionOptions* native, provider, table) except -1:
    """Append CoreML in ONNX Runtime 1.20, which knows it by a function of its own only."""
    from . import coreml
    cdef uint32_t flags
    cdef AppendCoreMLFunction append
    cdef uintptr_t address = address_in(
        ctypes.CDLL(loaded_from.path), "OrtSessionOptionsAppendExecutionProvider_CoreML")
    if address == 0:
        raise NotSupported(f"{loaded_from.path!r} was built without CoreML")
    flags = coreml.flags(coreml.resolve(coreml_options(table)), dict(provider.options))
    if flags & coreml.CoreMLFlag.ONLY_ENABLE_DEVICE_WITH_ANE and not coreml.has_neural_engine():
        # This version throws a C++ exception through its C function then, which ends the process.
        raise EpFail("this device has no Apple Neural Engine, which ONNX Runtime 1.20 demands for these compute units")
    append = <AppendCoreMLFunction>address
    return check(append(native, flags))


@cython.final
cdef class OptionTexts:
    """Keys and values of a provider's options, as the C API takes them."""

    def __cinit__(self):
        self.keys = self.values = NULL

    def __init__(self):
        raise TypeError("OptionTexts cannot be made directly; ortx.session makes them")

    def __dealloc__(self):
        free(self.keys)
        free(self.values)


cdef OptionTexts make_option_texts(entries):
    """Encode (key, value) pairs."""
    cdef OptionTexts texts = OptionTexts.__new__(OptionTexts)
    cdef size_t i
    texts.encoded = [(key.encode(), value.encode()) for key, value in entries]
    texts.count = len(texts.encoded)
    texts.keys = <const char**>malloc((texts.count + 1) * sizeof(char*))
    texts.values = <const char**>malloc((texts.count + 1) * sizeof(char*))
    if texts.keys == NULL or texts.values == NULL:
        raise MemoryError()
    for i in range(texts.count):
        texts.keys[i] = PyBytes_AS_STRING(texts.encoded[i][0])
        texts.values[i] = PyBytes_AS_STRING(texts.encoded[i][1])
    return texts
