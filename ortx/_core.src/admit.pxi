# Any Python object -> an array that fits an input or output, or a sentence that says why not. The call path asks `fits`
# first; whatever is not simply the right array comes here. (What is no array at all: feed.pxi.)


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


cdef object admit_array(const Slot* slot, TypeFacts info, object value):
    """Return an array that fits a slot, made of `value` without copying where possible, or a sentence (str)."""
    if isinstance(value, (list, tuple, int, float, complex, numpy.generic)):
        array = array_of_literal(value, dtype_of(slot.tensor_type))
        if not isinstance(array, str):
            array = with_declared_dimensions(slot, value, array)
    else:
        array = array_of_exporter(value)
    if isinstance(array, str):
        return f"{array}; expected {info}"
    advice = mismatch(slot, array)
    if advice is not None:
        return f"got {array_words(array)}; expected {info}{advice}"
    # ORT knows no strides: this is the one copy that an array which is not C-contiguous (or misaligned) costs.
    return cnp.PyArray_FROM_OF(array, cnp.NPY_ARRAY_CARRAY_RO)


cdef bint is_masked(array) except -1:
    return "numpy.ma" in sys.modules and isinstance(array, numpy.ma.MaskedArray)


cdef object admit_output(Signature signature, Py_ssize_t index, object value):
    """Return an array over the caller's buffer that the output can be written into, or a sentence (str).

    None gives None: ORT allocates that output. Nothing is copied.
    """
    cdef const Slot* slot = &signature.slots[index]
    name, info = signature.names[index], signature.facts[index]
    if value is None:
        return None
    if slot.tensor_type == ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED:
        return f"output {name!r}: got {shown(value)}; expected None, since {info} is made anew in each run"
    learn_ml_dtypes(import_it=False)
    if is_masked(value):
        return f"output {name!r}: got a masked array; expected a plain one, writable: {info}"
    array = array_of_exporter(value, shared=True)
    if isinstance(array, str):
        return f"output {name!r}: {array}; expected a writable array or buffer: {info}"
    if mismatch(slot, array) is not None:  # to convert it would not help: that makes another one
        advice = wrong_shape(slot, array) if array.dtype == dtype_of(slot.tensor_type) else None
        return f"output {name!r}: got {array_words(array)}; expected {info}{advice or ''}"
    if not cnp.PyArray_ISWRITEABLE(array):
        return f"output {name!r}: got a read-only array; expected a writable one: {info}"
    if not cnp.PyArray_ISCARRAY(array):
        return f"output {name!r}: got an array that is not C-contiguous and aligned; expected one: {info}"
    return array


cdef object array_of_exporter(value, bint shared=False):
    """Return an array over the memory that `value` exports, or what is wrong with it (str).

    With `shared` it must look into the very memory of `value`, which ``__array__`` does not promise.
    """
    if is_masked(value):
        return "got a masked array; choose what masked elements mean with .filled()"
    if isinstance(value, numpy.ndarray):
        return value
    if isinstance(value, Tensor):
        return (<Tensor>value).array
    try:
        if PyObject_CheckBuffer(value) and not isinstance(value, numpy.generic):
            return numpy.asarray(memoryview(value))  # the view, since numpy would take bytes for a string
        if getattr(value, "null_count", 0):
            return f"got {shown(value)}, which holds nulls; choose what they mean, with fill_null() for example"
        as_array = not shared and (hasattr(value, "__array__") or hasattr(value, "__array_interface__"))
        if hasattr(value, "__dlpack__"):
            try:
                return array_of_dlpack(value)
            except MemoryError:
                raise
            except Exception:
                if not as_array:
                    raise
        if as_array:
            return numpy.asarray(value)
    except MemoryError:
        raise
    except Exception as error:  # whatever another library's exporter raises
        return f"got {shown(value)}, which cannot be read as an array ({error})"
    return f"got {shown(value)}, which is no array, buffer, list or number"


cdef object array_of_literal(value, dtype):
    """Make an array of a list or scalar with the declared element type, if that loses nothing, or say what is lost."""
    natural = array = None
    if is_masked(value) or isinstance(value, (list, tuple)) and any([is_masked(item) for item in value]):
        return "got a masked array; choose what masked elements mean with .filled()"
    if dtype == object:
        return f"got {shown(value)}, which are no strings"
    try:
        natural = numpy.asarray(value)
        if natural.dtype == numpy.float64 and dtype.kind in "iu" and all(
                [isinstance(item, (int, numpy.integer)) for item in numpy.asarray(value, object).ravel()]):
            natural = numpy.asarray(value, dtype)  # numpy makes floats of integers that no one type of its own holds
    except (ValueError, TypeError, OverflowError) as error:
        return f"got {shown(value)}, which numpy cannot make an array of ({error})"
    if natural.size == 0 and natural.dtype == numpy.float64:
        return natural.astype(dtype)
    if natural.dtype == dtype:
        return natural
    if dtype.isbuiltin != 1:
        return array_of_small_literal(value, natural, dtype)
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


cdef object with_declared_dimensions(const Slot* slot, value, array):
    """Give empty nested lists the dimensions that they cannot show, or say which one is not declared either."""
    if array.size or array.ndim >= slot.rank or array.shape[array.ndim - 1]:
        return array
    unknown = [i for i in range(array.ndim, slot.rank) if slot.dims[i] < 0]
    shape = array.shape + tuple([slot.dims[i] if slot.dims[i] >= 0 else 1 for i in range(array.ndim, slot.rank)])
    if not unknown:
        return array.reshape(shape)
    return (f"got {shown(value)}, whose empty lists do not say how large dimension {unknown[0]} is; "
            f"pass an array, such as numpy.zeros({shape}, {str(array.dtype)!r})")


cdef object array_of_small_literal(value, natural, dtype):
    """Do the same for a type of ml_dtypes: integers have to be kept, and floats stay within its limits."""
    import ml_dtypes
    array = kept = None
    is_float = "float" in dtype.name
    if natural.dtype.kind not in ("iuf" if is_float else "iu"):
        return f"got {shown(value)}, which holds {natural.dtype}"
    with numpy.errstate(all="ignore"):
        array = natural.astype(dtype)
        if is_float:
            limits = ml_dtypes.finfo(dtype)
            again = array.astype(natural.dtype)  # some of these types lack infinity or NaN
            kept = numpy.where(
                numpy.isfinite(natural), (natural >= float(limits.min)) & (natural <= float(limits.max)),
                (again == natural) | numpy.isnan(again) & numpy.isnan(natural))
        else:
            kept = array.astype(natural.dtype) == natural
    if not kept.all():
        return f"got {shown(value)}, of which {natural[~kept].flat[0]} does not fit into {dtype}"
    return array


cdef str mismatch(const Slot* slot, array):
    """Return advice on an array of the wrong type or shape (it may be empty), or None if there is nothing wrong."""
    if slot.tensor_type == ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING:
        return wrong_shape(slot, array) if array.dtype == object else ": an array of objects"
    if not cnp.PyArray_ISNOTSWAPPED(array):
        return ": convert it to native byte order with array.astype(array.dtype.newbyteorder('='))"
    if element_type_of(array) != slot.tensor_type:
        if array.dtype.kind not in "biuf":
            return ""
        word = numpy_word(slot.tensor_type)
        return f": convert it with array.astype({f'ml_dtypes.{word}' if needs_ml_dtypes(word) else repr(word)})"
    return wrong_shape(slot, array)


cdef bint needs_ml_dtypes(str word) except -1:
    return any([name == word and from_ml_dtypes for _, _, name, _, from_ml_dtypes in ELEMENT_TYPE_ROWS])


cdef str wrong_shape(const Slot* slot, array):
    """Return advice on an array of the wrong shape, or None if there is nothing wrong."""
    if slot.rank < 0:
        return None
    if array.ndim != slot.rank:
        return f": {slot.rank} dimension{'' if slot.rank == 1 else 's'}, not {array.ndim}"
    wrong = [
        f"{i} must be {slot.dims[i]}, not {array.shape[i]}"
        for i in range(slot.rank) if slot.dims[i] >= 0 and slot.dims[i] != array.shape[i]]
    return f": dimension {', '.join(wrong)}" if wrong else None


cdef bint all_are_str(cnp.ndarray array) noexcept:
    cdef PyObject** items = <PyObject**>cnp.PyArray_DATA(array)
    cdef Py_ssize_t i
    for i in range(cnp.PyArray_SIZE(array)):
        if items[i] == NULL or not isinstance(<object>items[i], str):
            return False
    return True


cdef object with_decoded_bytes(array):
    """Return the array with bytes decoded, or what is in it that is neither str nor UTF-8."""
    decoded = numpy.empty(array.shape, object)
    for index, item in numpy.ndenumerate(array):
        if isinstance(item, bytes):
            try:
                item = item.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"got {shown(item)} at {index}, which is no UTF-8 ({error.reason})"
        elif not isinstance(item, str):
            return f"got {shown(item)} at {index} among the strings"
        decoded[index] = item
    return decoded


cdef str array_words(array):
    order = "" if cnp.PyArray_ISNOTSWAPPED(array) else (
        "big-endian " if sys.byteorder == "little" else "little-endian ")
    return f"{order}{array.dtype.name} of shape {array.shape}"
