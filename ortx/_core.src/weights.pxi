# Weights that sessions share: a caller's arrays in place of a model's initializers, and what ORT makes of them once.

@cython.final
@cython.binding(True)
cdef class PrepackedWeights:
    """A container in which sessions share weights that ONNX Runtime has packed for its kernels.

    Give one to each session as the option ``prepacked_weights``, together with the same arrays as ``initializers``:
    packed weights are shared for these only, everything else is packed per session. Sessions keep the container alive.
    It owns an ``OrtPrepackedWeightsContainer``, and may be used by sessions of any number of threads.

    Raises `LibraryError` if ONNX Runtime cannot be loaded. Stands for ``CreatePrepackedWeightsContainer``.
    """

    def __cinit__(self):
        self.handle = NULL
        self.born = fork_generation
        ensure_library()
        check(api.CreatePrepackedWeightsContainer(&self.handle))
        live_handles.prepacked_weights += 1

    def __init__(self):
        """Take no arguments."""

    def __dealloc__(self):
        if self.handle != NULL and self.born == releasing_generation:
            live_handles.prepacked_weights -= 1
            with nogil:  # gives back what may be as large as the model
                api.ReleasePrepackedWeightsContainer(self.handle)
                ortx_trim_heap()


cdef int check_prepacked_weights(str function, prepacked_weights) except -1:
    if prepacked_weights is not None and not isinstance(prepacked_weights, PrepackedWeights):
        raise OptionTypeError(
            f"{function}: option 'prepacked_weights': got {shown(prepacked_weights)}; expected an "
            "ortx.PrepackedWeights()")
    if prepacked_weights is not None and (<PrepackedWeights>prepacked_weights).born != fork_generation:
        refuse_inherited(
            f"{function}: option 'prepacked_weights': the container", (<PrepackedWeights>prepacked_weights).born,
            "make a new ortx.PrepackedWeights() for the sessions of this process")
    return 0


cdef dict shared_initializers(str function, initializers, model, str folder):
    """Return the arrays that stand in place of the model's initializers, by name, or refuse them.

    ORT looks neither at names nor at types, and may use the model's own weights while it optimises the graph: so an
    array has to hold what the model holds. `folder` is where `model` has its external data.
    """
    from . import modelfile
    if modelfile.is_ort_format(model):
        raise NotSupported(f"{function}: option 'initializers': needs an .onnx model; this one is in ORT's own format")
    try:
        weights = modelfile.weights(model)
    except ValueError as error:
        raise InvalidProtobuf(f"{function}: the model is no ONNX model, or a damaged one ({error})") from None
    arrays, problems = {}, []
    for name, value in initializers:
        if name not in weights:
            known = f"(it has {', '.join(weights) or 'none'})" if len(weights) <= 20 else f"(it has {len(weights)})"
            problems.append(f"[{name!r}]: the model has no such initializer{nearest(name, weights)} {known}")
            continue
        array = array_of_exporter(value, shared=True)
        problem = initializer_problem(weights[name], value, array, folder)
        if problem is None:
            arrays[name] = array
        else:
            problems.append(f"[{name!r}]: {problem}")
    if problems:
        raise OptionError("\n".join([f"{function}: option 'initializers'{problem}" for problem in problems]))
    return arrays


cdef str initializer_problem(weights, value, array, str folder):
    """Say why an array cannot stand in place of a model's initializer, or return None."""
    cdef ONNXTensorElementDataType element_type
    # Up to here TensorProto and ORT number them alike.
    word = numpy_word(weights.data_type) if weights.data_type < ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT2 else None
    if word is not None and bits_of(weights.data_type) < 8:
        word = None
    learn_ml_dtypes(import_it=False)
    if word is None:
        return "is of an element type that cannot be shared"
    expected = f"expected {word} of shape {weights.shape}, as the model has it"
    if isinstance(array, str):
        return f"got {shown(value)}; {expected}, in an array or buffer"
    element_type = element_type_of(array)
    if element_type != weights.data_type or array.shape != weights.shape or not cnp.PyArray_ISNOTSWAPPED(array):
        return f"got {array_words(array)}; {expected}"
    if not cnp.PyArray_ISCARRAY_RO(array):
        return f"got an array that is not C-contiguous and aligned, and a copy would not be shared; {expected}"
    if weights.differs_from(array, folder):
        return "holds other values than the model; initializers are for sharing what the model holds"
    return None


cdef int add_initializers(OrtSessionOptions* native, dict arrays, list values) except -1:
    """Add the arrays to the options. `values` gets what has to live until the session is made."""
    cdef cnp.ndarray array
    for name, array in arrays.items():
        value = feed_over(array, element_type_of(array))
        values.append(value)
        encoded = name.encode("utf-8", "surrogateescape")
        check(api.AddInitializer(native, PyBytes_AS_STRING(encoded), value.handle))
    return 0
