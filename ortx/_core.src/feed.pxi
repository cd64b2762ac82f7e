# Any Python object -> what an input of any type takes: an array that fits, a Feed that was made of it, or a sentence
# (str) that says why neither is possible.

cdef object admit_value(Signature signature, Py_ssize_t index, object value):
    """Admit a value for an input. A sentence does not name the input: it begins with what was got."""
    cdef const Slot* slot = &signature.slots[index]
    cdef TypeFacts info = signature.facts[index]
    learn_ml_dtypes(import_it=False)
    word = "None"
    if isinstance(value, Optional):
        problem = optional_problem(value, info)
        if problem is not None:
            return problem
        value, word = value.value, "an empty ortx.Optional"
    if value is None:
        return f"got {word}; expected {info}" + ("" if slot.required else " (or leave the input out)")
    if info.onnx_type == "optional":
        info = info.element
    if slot.element_type != ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED:
        return admit_array(slot, info, value)
    if info.onnx_type == "tensor":
        return admit_converted(slot, info, value)
    if info.onnx_type == "sequence":
        return admit_sequence(signature, index, info, value)
    if info.onnx_type == "map":
        return admit_map(info, value)
    if info.onnx_type == "sparse_tensor":
        return admit_sparse(info, value)
    return f"got {shown(value)}; the input is {info}, which ortx cannot pass to a model"


cdef Feed feed_of(object admitted, ONNXTensorElementDataType element_type):
    """Return what was admitted as a Feed."""
    return admitted if isinstance(admitted, Feed) else feed_over(admitted, element_type)


cdef object admit_converted(const Slot* slot, TypeFacts info, value):
    """Admit a tensor whose elements ORT has in another form than numpy."""
    if slot.tensor_type == ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING:
        return admit_strings(slot, info, value)
    if bits_of(slot.tensor_type) == NO_TENSOR:
        return f"got {shown(value)}; the input is {info}, which ONNX Runtime makes no tensors of"
    admitted = admit_array(slot, info, value)
    return admitted if isinstance(admitted, str) else make_packed_value(admitted, slot.tensor_type)


cdef object admit_strings(const Slot* slot, TypeFacts info, value):
    if isinstance(value, Tensor):
        value = (<Tensor>value).array
    if is_masked(value):
        return f"got a masked array; choose what masked elements mean with .filled(); expected {info}"
    try:
        # An array of objects keeps what numpy's own strings drop: NULs at the end.
        array = numpy.asarray(value, None if isinstance(value, numpy.ndarray) else object)
    except (TypeError, ValueError) as error:
        return f"got {shown(value)}, which numpy cannot make an array of ({error}); expected {info}"
    if array.dtype.kind not in "OUST":
        return f"got {array_words(array)}; expected {info}"
    if isinstance(value, (list, tuple)):
        array = with_declared_dimensions(slot, value, array)
        if isinstance(array, str):
            return f"{array}; expected {info}"
    if array.dtype.kind == "U" and wrong_shape(slot, array) is None and cnp.PyArray_ISNOTSWAPPED(array):
        feed = make_string_value_of_ucs4(cnp.PyArray_FROM_OF(array, cnp.NPY_ARRAY_CARRAY_RO))
        if feed is not None:
            return feed
    array = cnp.PyArray_FROM_OF(array if array.dtype.kind == "O" else array.astype(object), cnp.NPY_ARRAY_CARRAY_RO)
    if not all_are_str(array):
        array = with_decoded_bytes(array)
        if isinstance(array, str):
            return f"{array}; expected {info}"
    advice = wrong_shape(slot, array)
    if advice is not None:
        return f"got strings of shape {array.shape}; expected {info}{advice}"
    try:
        return make_string_value(array)
    except UnicodeEncodeError as error:
        return f"got {shown(error.object)}, which cannot be written as UTF-8 ({error.reason}); expected {info}"


cdef object admit_sequence(Signature signature, Py_ssize_t index, TypeFacts info, value):
    cdef Signature elements = signature.nested[index]
    cdef const Slot* slot = &elements.slots[0]
    if not isinstance(value, (list, tuple)):
        return f"got {shown(value)}; expected a list or tuple: {info}"
    if not value:
        return make_empty_sequence(info.element)
    values, problems = [], []
    for position, item in enumerate(value):
        if cnp.PyArray_CheckExact(item) and fits(slot, <cnp.ndarray>item):
            admitted = item
        else:
            admitted = admit_value(elements, 0, item)
        if isinstance(admitted, str):
            problems.append(f"element {position}: {admitted}")
        else:
            values.append(admitted)
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        return "; ".join(problems[:3]) + more
    return make_container(ONNX_TYPE_SEQUENCE, values, slot.element_type)


cdef object admit_map(TypeFacts info, value):
    """Make a map of a dict: a tensor of its keys and one of its values."""
    if not isinstance(value, Mapping):
        return f"got {shown(value)}; expected a dict: {info}"
    parts = []
    items_of_parts = (("key", info.key_type, value.keys()), ("value", info.value.data_type, value.values()))
    for what, word, items in items_of_parts:
        admitted = admit_elements(word, list(items))
        if isinstance(admitted, str):
            return f"{what}s: {admitted}; expected {info}"
        parts.append(admitted)
    return make_container(ONNX_TYPE_MAP, parts, ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED)


cdef object admit_elements(word, list items):
    """Make a one-dimensional tensor of a list, or say why that cannot be."""
    number = <ONNXTensorElementDataType><int>ELEMENT_TYPE_OF_WORD[word]
    if number == ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING:
        array = numpy.empty(len(items), object)
        for i, item in enumerate(items):
            if not isinstance(item, str):
                return f"got {shown(item)}"
            array[i] = item
        try:
            return make_string_value(array)
        except UnicodeEncodeError as error:
            return f"got {shown(error.object)}, which cannot be written as UTF-8"
    array = array_of_literal(items, dtype_of(number)) if items else numpy.zeros(0, dtype_of(number))
    if isinstance(array, str):
        return array
    if array.ndim != 1:
        return f"got {shown(items)}"
    return feed_over(array, number)


cdef object admit_sparse(TypeFacts info, value):
    from . import sparse
    number = <ONNXTensorElementDataType><int>ELEMENT_TYPE_OF_WORD.get(info.data_type, 0)
    if hasattr(value, "tocoo"):
        try:
            value = sparse.sparse_tensor(value)
        except InvalidArgument as error:
            return f"{error}; expected {info}"
    if not isinstance(value, sparse.SparseTensor):
        return f"got {shown(value)}; expected an ortx.sparse_tensor(...), or what scipy.sparse has: {info}"
    problem = sparse.problem_of(value)
    if problem is not None:
        return problem
    if number == ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED or sparse_element_type(value) != number:
        return f"got {value!r}; expected {info.data_type} values: {info}"
    if info.shape is not None and (len(info.shape) != len(value.shape) or any(
            [declared >= 0 and declared != size for declared, size in zip(info.shape, value.shape)])):
        return f"got {value!r}; expected {info} of shape {info.shape}"
    return make_sparse_value(value, number)
