# One call, from Python values to a Frame (marshal) and back to Outputs (unmarshal). Every way of running uses this.
#
# First the plain case is tried: arrays that can be used as they are. Only when something is not plain is all of it gone
# through again, slowly, to convert what can be converted and to say everything that is wrong at once.

cdef Outputs marshal_run(
        str function, Frame* frame, Session session, inputs, tuple output_names):
    """Fill in a call whose outputs are new. Return their names, still without values."""
    cdef Signature input_signature = session.inputs, output_signature = session.outputs
    cdef tuple names = output_names
    if names is None or names == output_signature.names:
        names = output_signature.names
    if not (add_simple_values(frame, input_signature, inputs, False)
            and frame.required_count == input_signature.required
            and (frame_add_new_outputs(frame, output_signature)
                 if session.allocates_small == ORTX_ALLOCATES and names is output_signature.names else
                 add_output_names(frame, output_signature, names, None))):
        frame_clear(frame)
        problems = []
        names = plain_names(names)
        add_any_inputs(frame, input_signature, inputs, problems)
        add_output_names(frame, output_signature, names, problems)
        refuse(input_signature, function, problems)
    return make_outputs(names, None)


cdef Outputs marshal_run_into(
        Frame* frame, Signature input_signature, Signature output_signature, inputs, outputs):
    """Fill in a call whose outputs go into callers' buffers. Return their names and the caller's own objects.

    In the plain case the objects are the arrays that the frame holds, and are left out.
    """
    cdef list problems = None
    if (add_simple_values(frame, input_signature, inputs, False)
            and frame.required_count == input_signature.required
            and add_simple_values(frame, output_signature, outputs, True)
            and frame.outputs_count > 0):
        if has_overlaps(frame, output_signature):
            problems = []
        result = make_outputs(simple_names(frame, output_signature, outputs), None)
    else:
        frame_clear(frame)
        problems = []
        add_any_inputs(frame, input_signature, inputs, problems)
        result = add_any_outputs(frame, output_signature, outputs, problems)
    if problems is not None:
        find_overlaps(frame, problems)
        refuse(input_signature, "run_into", problems)
    return result


cdef inline tuple simple_names(Frame* frame, Signature signature, values):
    """Return the names of outputs that `add_simple_values` has added."""
    cdef Py_ssize_t i
    for i in range(frame.outputs_count):
        if frame.output_names[i] != signature.slots[i].name:
            return tuple(<dict>values)
    if frame.outputs_count == signature.count:
        return signature.names
    return signature.names[:frame.outputs_count]


cdef tuple names_argument(Signature inputs, names):
    if isinstance(names, str) or not isinstance(names, Iterable):
        hint = f": write [{names!r}]" if isinstance(names, str) else ""
        inputs.refused += 1
        raise InvalidType(f"output_names: got {shown(names)}; expected a list of names{hint}")
    try:
        names = tuple(names)
    except TypeError as error:
        inputs.refused += 1
        raise InvalidType(f"output_names: got {shown(names)}; expected a list of names ({error})") from None
    if not names:
        inputs.refused += 1
        raise CallError("output_names: got an empty list; expected names of outputs, or None for all")
    if len(names) > 1:  # ORT would give one buffer to both
        seen = set()
        for name in names:
            if isinstance(name, str):
                name = plain_text(name)
                if name in seen:
                    inputs.refused += 1
                    raise CallError(f"output_names: {name!r} is asked for twice")
                seen.add(name)
    return names


cdef int refuse(Signature inputs, str function, list problems) except -1:
    """Raise what is wrong with a call, which is counted, if anything is."""
    if not problems:
        return 0
    inputs.refused += 1
    if len(problems) == 1:
        raise CallError(f"{function}: {problems[0]}", problems)
    raise CallError(f"{function}: {len(problems)} problems:" + "".join([f"\n  - {p}" for p in problems]), problems)


cdef int add_simple_values(Frame* frame, Signature signature, values, bint are_outputs) except -1:
    """Add a dict, list or tuple of arrays that can be used as they are; return False as soon as anything is not so.

    Nothing here runs Python code, so the borrowed references stay good and the container cannot change.
    """
    cdef PyObject* key = NULL
    cdef PyObject* value = NULL
    cdef Py_ssize_t i, position = 0, expected = 0
    cdef int index
    if PyDict_CheckExact(values):
        for i in range(PyDict_Size(values)):
            PyDict_Next(values, &position, &key, &value)
            if expected < signature.count and key == PyTuple_GET_ITEM(signature.names, expected):
                index = <int>expected  # the usual case: the model's order, interned names
            elif PyUnicode_CheckExact(<object>key):
                index = signature.find(<object>key)
                if index < 0:
                    return False
            else:
                return False
            expected = index + 1
            if not add_simple_value(frame, &signature.slots[index], value, are_outputs):
                return False
    elif PyList_CheckExact(values) or PyTuple_CheckExact(values):
        for i in range(PySequence_Fast_GET_SIZE(values)):
            value = PySequence_Fast_GET_ITEM(values, i)
            if i >= signature.count or not add_simple_value(frame, &signature.slots[i], value, are_outputs):
                return False
    else:
        return False
    return True


cdef inline int add_simple_value(Frame* frame, Slot* slot, PyObject* value, bint is_output) except -1:
    if type(<object>value) is Tensor and not is_output:  # as an output, the caller wants the Tensor back
        value = <PyObject*>(<Tensor>value).array
    if not cnp.PyArray_CheckExact(<object>value) or not fits(slot, <cnp.ndarray>value):
        return False
    if is_output:
        if not cnp.PyArray_ISWRITEABLE(<cnp.ndarray>value) or not slot.required:
            return False
        add_output(frame, slot, <cnp.ndarray>value)
    else:
        add_input(frame, slot, <cnp.ndarray>value)
    return True


cdef int add_any_inputs(Frame* frame, Signature signature, inputs, list problems) except -1:
    """Add inputs of any form; add to `problems`."""
    cdef int index
    given = set()
    for index, value in indexed_values(signature, inputs, problems):
        if not signature.slots[index].required and is_left_out(value, signature.facts[index]):
            continue
        given.add(index)
        admitted = admit_value(signature, index, value)
        if isinstance(admitted, str):
            problems.append(f"input {signature.names[index]!r}: {admitted}")
        elif isinstance(admitted, Feed):
            add_feed(frame, &signature.slots[index], admitted)
        else:
            add_input(frame, &signature.slots[index], admitted)
    for index in range(<int>signature.count):
        if signature.slots[index].required and index not in given:
            problems.append(f"input {signature.names[index]!r}: missing; expected {signature.facts[index]}")
    return 0


cdef Outputs add_any_outputs(Frame* frame, Signature signature, outputs, list problems):
    """Add output buffers of any form, None where ORT allocates; add to `problems`."""
    cdef int index
    names, values, copied_later = [], [], []
    for index, value in indexed_values(signature, outputs, problems):
        admitted = admit_output(signature, index, value)
        if isinstance(admitted, str):
            problems.append(admitted)
        else:
            if admitted is not None and not is_written_in_place(&signature.slots[index]):
                for name, other in copied_later:
                    if numpy.may_share_memory(admitted, other):
                        problems.append(
                            f"output {signature.names[index]!r}: shares memory with output {name!r}; give each a "
                            "buffer of its own")
                copied_later.append((signature.names[index], admitted))
            add_output(frame, &signature.slots[index], admitted)
            names.append(signature.names[index])
            values.append(value)
    if not names and not problems:
        problems.append(f"outputs: none given; the model has {', '.join(signature.names)}")
    return make_outputs(tuple(names), tuple(values))


cdef int add_output_names(Frame* frame, Signature signature, tuple names, list problems) except -1:
    """Add outputs that ORT allocates. Add to `problems`; without such a list, return False at the first one."""
    cdef Py_ssize_t i
    cdef int index
    if names is signature.names:
        frame_add_all_outputs(frame, signature)
        return True
    for i in range(PyTuple_GET_SIZE(names)):
        name = <object>PyTuple_GET_ITEM(names, i)
        if i < signature.count and <PyObject*>name == PyTuple_GET_ITEM(signature.names, i):
            index = <int>i
        else:
            index = signature.find(name) if PyUnicode_CheckExact(name) else -1
        if index >= 0:
            add_output(frame, &signature.slots[index], None)
        elif problems is None:
            return False
        else:
            problems.append(no_such_name(signature, name))
    return True


cdef list indexed_values(Signature signature, values, list problems):
    """Return (index, value) pairs for a mapping from names or a positional sequence; add to `problems`."""
    kind, valid = signature.kind, ", ".join(signature.names)
    pairs = []
    if isinstance(values, Mapping):
        for name, value in dict(values).items():
            index = signature.find(plain_text(name)) if isinstance(name, str) else -1
            if index >= 0:
                pairs.append((index, value))
            else:
                problems.append(no_such_name(signature, name))
    elif isinstance(values, Sequence) and not isinstance(values, (str, bytes, bytearray, memoryview)):
        pairs = list(enumerate(values))
        if len(pairs) > signature.count:
            problems.append(f"{len(pairs)} {kind}s given by position, but the model has {signature.count} ({valid})")
            del pairs[signature.count:]
    else:
        problems.append(
            f"{kind}s: got {shown(values)}; expected a mapping from names ({valid}) or a list in the model's order")
    return pairs


cdef str no_such_name(Signature signature, name):
    kind, suggestion = signature.kind, nearest(name, signature.names)
    return f"{kind} {shown(name, True)}: the model has no such {kind}{suggestion} (it has {', '.join(signature.names)})"


cdef inline bint has_overlaps(Frame* frame, Signature outputs) except -1:
    cdef Py_ssize_t i, k
    if frame.inputs_count + frame.outputs_count > FEW_BUFFERS:
        return many_have_overlaps(frame, outputs)
    for i in range(frame.outputs_count):
        for k in range(i):
            if overlap(frame.output_arrays[i], frame.output_arrays[k]):
                return True
        for k in range(frame.inputs_count):
            if overlap(frame.output_arrays[i], frame.input_arrays[k]):
                return True
    return False


cdef bint many_have_overlaps(Frame* frame, Signature outputs) except -1:
    """Do the same without comparing each with each; not at all, if they are those of the last call."""
    cdef Py_ssize_t i, count = frame.inputs_count + frame.outputs_count
    cdef size_t size = <size_t>count * sizeof(Span)
    cdef Span* spans = <Span*>malloc(2 * size)
    cdef Span* in_order = spans + count
    cdef char* end = NULL           # of all so far
    cdef char* end_of_outputs = NULL
    if spans == NULL:
        raise MemoryError()
    for i in range(count):
        spans[i].is_output = i >= frame.inputs_count
        fill_span(
            &spans[i], frame.output_arrays[i - frame.inputs_count] if spans[i].is_output else frame.input_arrays[i])
    if outputs.apart_count == count and memcmp(outputs.apart, spans, size) == 0:
        free(spans)
        return False
    memcpy(in_order, spans, size)
    qsort(in_order, <size_t>count, sizeof(Span), by_begin)
    for i in range(count):
        if in_order[i].begin < (end if in_order[i].is_output else end_of_outputs):
            free(spans)
            return True
        end = max(end, in_order[i].end)
        if in_order[i].is_output:
            end_of_outputs = max(end_of_outputs, in_order[i].end)
    free(outputs.apart)
    outputs.apart, outputs.apart_count = spans, count
    return False


cdef inline void fill_span(Span* span, PyObject* buffer) noexcept:
    """Note where a buffer lies; nowhere, if ORT allocates it or it is a `Feed`."""
    span.begin = span.end = NULL
    if buffer != NULL and cnp.PyArray_Check(<object>buffer):
        span.begin = <char*>cnp.PyArray_DATA(<cnp.ndarray>buffer)
        span.end = span.begin + size_in_bytes(<cnp.ndarray>buffer, element_type_of(<cnp.ndarray>buffer))


cdef int by_begin(const void* first, const void* second) noexcept nogil:
    cdef char* a = (<const Span*>first).begin
    cdef char* b = (<const Span*>second).begin
    return (a > b) - (a < b)


cdef int find_overlaps(Frame* frame, list problems) except -1:
    """Refuse output buffers that share memory with one another or with an input: ORT writes and reads in any order."""
    cdef Py_ssize_t i, k
    for i in range(frame.outputs_count):
        output = f"output {frame.output_names[i].decode()!r}: shares memory with"
        for k in range(i):
            if overlap(frame.output_arrays[i], frame.output_arrays[k]):
                problems.append(f"{output} output {frame.output_names[k].decode()!r}; give each a buffer of its own")
        for k in range(frame.inputs_count):
            if overlap(frame.output_arrays[i], frame.input_arrays[k]):
                problems.append(
                    f"{output} input {frame.input_names[k].decode()!r}, which may be read after it is written; give it "
                    "a buffer of its own")
    return 0


cdef inline bint overlap(PyObject* first, PyObject* second) noexcept:
    """Whether two C-contiguous arrays have bytes in common; NULL (ORT allocates) has none, nor has a `Feed`."""
    if first == NULL or second == NULL or not cnp.PyArray_Check(<object>second):
        return False
    cdef char* first_data = <char*>cnp.PyArray_DATA(<cnp.ndarray>first)
    cdef char* second_data = <char*>cnp.PyArray_DATA(<cnp.ndarray>second)
    if first_data < second_data:
        return second_data < first_data + size_in_bytes(<cnp.ndarray>first, element_type_of(<cnp.ndarray>first))
    return first_data < second_data + size_in_bytes(<cnp.ndarray>second, element_type_of(<cnp.ndarray>second))


# --- unmarshal ------------------------------------------------------------------------------------------------------

cdef int unmarshal(Frame* frame, Outputs outputs, Session session) except -1:
    """Put an array over each output that ORT allocated; the others are the caller's own objects already."""
    cdef Py_ssize_t i
    cdef OrtValue* value
    cdef Value owner
    cdef tuple values = PyTuple_New(frame.outputs_count)
    cdef Signature passed_through = session.passed_through
    cdef dict zip_maps = session.zip_maps
    # The slots of the outputs, where no more has to be known of any than that.
    cdef Slot* slots = NULL
    if frame.output_names == session.outputs.c_names and passed_through is None and zip_maps is None:
        slots = session.outputs.slots
    for i in range(frame.outputs_count):
        if frame.output_arrays[i] != NULL:
            item = <object>frame.output_arrays[i] if outputs._values is None else outputs._values[i]
            if passed_through is not None:  # ... and writes nothing into another buffer
                copy_passed_through(frame, i)
        else:
            value = frame.outputs[i]
            frame.outputs[i] = NULL
            owner = own_value(value)
            if slots != NULL and outputs._values is None and is_plain_tensor(&slots[i]):
                item = declared_tensor(owner, <str>PyTuple_GET_ITEM(outputs._names, i))
            else:
                item = python_of(owner, outputs._names[i])
            frame.bytes_out += owner.size if owner.size else <size_t>bytes_of(item)
            if zip_maps is not None:
                item = zipped(item, outputs._names[i], zip_maps)
            # ORT hands the input's own buffer back for such an output, which nothing would keep alive.
            if passed_through is not None and passed_through.find(outputs._names[i]) >= 0:
                item = copied(item)
            if outputs._values is not None and outputs._values[i] is not None:
                item = copied_into(outputs._values[i], item, outputs._names[i])
        Py_INCREF(item)
        PyTuple_SET_ITEM(values, i, item)
    outputs._values = values
    if session.allocates_small == ORT_ALLOCATES_FIRST and slots != NULL:
        session.allocates_small = ORTX_ALLOCATES if are_as_declared(session.outputs, values) else ORT_ALLOCATES
    session.counts.bytes_out += <int64_t>frame.bytes_out
    return 0


cdef bint are_as_declared(Signature signature, tuple values) except -1:
    """Whether the small outputs that ORT has allocated are what the model declares, which may be wrong."""
    cdef Py_ssize_t i
    for i in range(signature.count):
        if signature.slots[i].is_small:
            value = values[i]
            if not cnp.PyArray_CheckExact(value) or not fits(&signature.slots[i], <cnp.ndarray>value):
                return False
    return True


cdef object zipped(value, str name, dict zip_maps):
    """Return the dictionaries of an output for which the native model gives a tensor."""
    columns = zip_maps.get(name)
    return value if columns is None else zip_map_dicts(value, columns, name)


cdef object copied(value):
    """Return a value that looks into no input any more."""
    import copy
    return value.copy() if isinstance(value, numpy.ndarray) else copy.deepcopy(value)


cdef object copied_into(target, array, name):
    """Write an output that ORT cannot write there itself into the caller's buffer, and return that."""
    buffer = array_of_exporter(target, shared=True)
    if array is None:
        raise InvalidArgument(f"output {name!r}: got {array_words(buffer)}; the optional result has no value")
    if buffer.shape != array.shape:
        raise InvalidArgument(f"output {name!r}: got {array_words(buffer)}; the result is {array_words(array)}")
    buffer[...] = array
    return target


cdef int copy_passed_through(Frame* frame, Py_ssize_t output) except -1:
    """Copy into an output's buffer what was given as the input of the same name, if it was."""
    cdef Py_ssize_t i
    for i in range(frame.inputs_count):
        if strcmp(frame.input_names[i], frame.output_names[output]) == 0:
            given, buffer = <object>frame.input_arrays[i], <object>frame.output_arrays[output]
            if given.shape != buffer.shape:
                raise InvalidArgument(
                    f"run_into: output {frame.output_names[output].decode()!r}: got {array_words(buffer)}; the result "
                    f"is {array_words(given)}")
            buffer[...] = given
    return 0
