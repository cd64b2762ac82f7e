# Any Python object -> an array that fits an input, or a sentence that says why not. The call path asks `fits` first;
# whatever is not simply the right array comes here.

cdef dict DTYPE_WORDS = {number: word for number, _, word, _ in ELEMENT_TYPE_ROWS}


cdef inline bint fits(const Slot* slot, cnp.ndarray array) noexcept:
    """Whether ORT can use the array as it is: element type, byte order, layout, rank and fixed dimensions."""
    cdef int i
    cdef cnp.npy_intp* shape
    if element_type_of(array) != slot.element_type or slot.element_type == ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED:
        return False
    if not cnp.PyArray_ISCARRAY_RO(array):
        return False
    if slot.rank >= 0:
        if cnp.PyArray_NDIM(array) != slot.rank:
            return False
        shape = cnp.PyArray_DIMS(array)
        for i in range(slot.rank):
            if shape[i] != slot.dims[i] and slot.dims[i] >= 0:
                return False
    return True


cdef object admit_input(Signature signature, Py_ssize_t index, object value):
    """Return an array that fits the input, made of `value` without copying where possible, or a sentence (str)."""
    cdef const Slot* slot = &signature.slots[index]
    name, info = signature.names[index], signature.infos[index]
    if slot.element_type == ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED:
        return f"input {name!r}: is {info}, which ortx cannot pass to a model"
    word = "None"
    if isinstance(value, Optional):
        problem = optional_problem(value, info)
        if problem is not None:
            return f"input {name!r}: {problem}"
        value, word = value.value, "an empty ortx.Optional"
    if value is None:
        return f"input {name!r}: got {word}; expected {info}" + ("" if slot.required else " (or leave the input out)")
    if isinstance(value, (list, tuple, int, float, complex, numpy.generic)):
        array = array_of_literal(value, numpy.dtype(DTYPE_WORDS[slot.element_type]))
    else:
        array = array_of_exporter(value)
    if isinstance(array, str):
        return f"input {name!r}: {array}; expected {info}"
    if "numpy.ma" in sys.modules and isinstance(array, numpy.ma.MaskedArray):
        return f"input {name!r}: got a masked array; expected {info}: choose what masked elements mean with .filled()"
    advice = mismatch(slot, array)
    if advice is not None:
        return f"input {name!r}: got {array_words(array)}; expected {info}{advice}"
    # ORT knows no strides: this is the one copy that an array which is not C-contiguous (or misaligned) costs.
    return cnp.PyArray_FROM_OF(array, cnp.NPY_ARRAY_CARRAY_RO)


cdef object admit_output(Signature signature, Py_ssize_t index, object value):
    """Return an array over the caller's buffer that ORT can write into, or a sentence (str). Nothing is copied.

    None gives None: ORT allocates that output.
    """
    cdef const Slot* slot = &signature.slots[index]
    name, info = signature.names[index], signature.infos[index]
    if slot.element_type == ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED:
        return f"output {name!r}: is {info}, which ortx cannot return"
    if value is None:
        return None
    array = array_of_exporter(value, shared=True)
    if isinstance(array, str):
        return f"output {name!r}: {array}; expected a writable array or buffer: {info}"
    advice = mismatch(slot, array)
    if advice is not None:
        return f"output {name!r}: got {array_words(array)}; expected {info}{advice}"
    if not cnp.PyArray_ISWRITEABLE(array):
        return f"output {name!r}: got a read-only array; expected a writable one: {info}"
    if not cnp.PyArray_ISCARRAY(array):
        return f"output {name!r}: got an array that is not C-contiguous and aligned; expected one: {info}"
    return array


cdef object array_of_exporter(value, bint shared=False):
    """Return an array over the memory that `value` exports, or what is wrong with it (str).

    With `shared` it must look into the very memory of `value`, which ``__array__`` does not promise.
    """
    if isinstance(value, numpy.ndarray):
        return value
    if isinstance(value, Tensor):
        return (<Tensor>value).array
    try:
        if PyObject_CheckBuffer(value) and not isinstance(value, numpy.generic):
            return numpy.asarray(memoryview(value))  # the view, since numpy would take bytes for a string
        if not shared and (hasattr(value, "__array__") or hasattr(value, "__array_interface__")):
            return numpy.asarray(value)
        if hasattr(value, "__dlpack__"):
            return numpy.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        return f"got {shown(value)}, which cannot be read as an array ({error})"
    return f"got {shown(value)}, which is no array, buffer, list or number"


cdef object array_of_literal(value, dtype):
    """Make an array of a list or scalar with the declared element type, if that loses nothing, or say what is lost."""
    natural = array = None
    try:
        natural = numpy.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        return f"got {shown(value)}, which numpy cannot make an array of ({error})"
    if natural.size == 0 and natural.dtype == numpy.float64:
        return natural.astype(dtype)
    if not numpy.can_cast(natural.dtype, dtype, "same_kind") and not (natural.dtype.kind == "i" and dtype.kind == "u"):
        return f"got {shown(value)}, which holds {natural.dtype}"
    with numpy.errstate(over="ignore"):
        array = natural.astype(dtype)
    if dtype.kind == "f":
        kept = numpy.isfinite(array) | ~numpy.isfinite(natural)
    else:
        kept = array == natural
    if not kept.all():
        return f"got {shown(value)}, of which {natural[~kept].flat[0]} does not fit into {dtype}"
    return array


cdef str mismatch(const Slot* slot, array):
    """Return advice on an array of the wrong type or shape (it may be empty), or None if there is nothing wrong."""
    if not cnp.PyArray_ISNOTSWAPPED(array):
        return ": convert it to native byte order with array.astype(array.dtype.newbyteorder('='))"
    if element_type_of(array) != slot.element_type:
        convertible = array.dtype.kind in "biuf"
        return f": convert it with array.astype({DTYPE_WORDS[slot.element_type]!r})" if convertible else ""
    if slot.rank < 0:
        return None
    if array.ndim != slot.rank:
        return f": {slot.rank} dimension{'' if slot.rank == 1 else 's'}, not {array.ndim}"
    wrong = [
        f"{i} must be {slot.dims[i]}, not {array.shape[i]}"
        for i in range(slot.rank) if slot.dims[i] >= 0 and slot.dims[i] != array.shape[i]]
    return f": dimension {', '.join(wrong)}" if wrong else None


cdef str array_words(array):
    order = "" if cnp.PyArray_ISNOTSWAPPED(array) else (
        "big-endian " if sys.byteorder == "little" else "little-endian ")
    return f"{order}{array.dtype.name} of shape {array.shape}"
