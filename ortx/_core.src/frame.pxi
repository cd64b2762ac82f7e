# The C side of one call: a Frame (see `_core.pxd`), which lies on the C stack of the call. It holds a reference to each
# array that a value looks into, so the caller's containers may change while the model runs, and it owns its values
# until they are released, handed on or kept for the next call.

cdef inline int frame_open(Frame* frame, Py_ssize_t inputs, Py_ssize_t outputs) except -1:
    """Make room for at most so many inputs and outputs."""
    cdef void** at = frame.own_block
    frame.inputs_count = frame.outputs_count = frame.required_count = 0
    frame.known_shapes = True
    frame.bytes_in = frame.bytes_out = 0
    frame.block = NULL
    if inputs + outputs > FRAME_SLOTS:
        frame.block = malloc(4 * (inputs + outputs) * sizeof(void*))
        if frame.block == NULL:
            raise MemoryError()
        at = <void**>frame.block
    frame.input_names = <const char**>at
    frame.inputs = <OrtValue**>(at + inputs)
    frame.input_arrays = <PyObject**>(at + 2 * inputs)
    frame.kept_inputs = <KeptValue**>(at + 3 * inputs)
    at += 4 * inputs
    frame.output_names = <const char**>at
    frame.outputs = <OrtValue**>(at + outputs)
    frame.output_arrays = <PyObject**>(at + 2 * outputs)
    frame.kept_outputs = <KeptValue**>(at + 3 * outputs)
    return 0


cdef inline void frame_add_all_outputs(Frame* frame, Signature signature) noexcept:
    """Add all outputs of the model, for ORT to allocate."""
    # There is room for all and no more, so the three lists lie side by side.
    memset(frame.outputs, 0, 3 * <size_t>signature.count * sizeof(void*))
    frame.output_names = signature.c_names
    frame.outputs_count = signature.count


cdef int frame_add_new_outputs(Frame* frame, Signature signature) except -1:
    """Add all outputs of the model: arrays of ortx's own for the small ones; ORT is slower at it."""
    cdef Py_ssize_t i
    cdef Slot* slot
    for i in range(signature.count):
        slot = &signature.slots[i]
        if slot.is_small:
            dtype = element_types[<int>slot.element_type].dtype
            Py_INCREF(<object>dtype)
            add_output(frame, slot, <cnp.ndarray>PyArray_NewFromDescr(
                &PyArray_Type, <PyArray_Descr*>dtype, slot.rank, <const cnp.npy_intp*>slot.dims, NULL, NULL, 0, NULL))
        else:
            add_output(frame, slot, None)
    frame.output_names = signature.c_names  # the same ones; says that these are all
    return True


cdef inline void frame_release_inputs(Frame* frame) noexcept nogil:
    """Release the inputs that no later call can use, once the run has ended: a sequence may take long."""
    cdef Py_ssize_t i
    for i in range(frame.inputs_count):
        if frame.kept_inputs[i] == NULL:
            api.ReleaseValue(frame.inputs[i])
            frame.inputs[i] = NULL


cdef inline OrtStatus* frame_run(Frame* frame, OrtSession* session, const OrtRunOptions* run_options) noexcept nogil:
    cdef OrtStatus* status = api.Run(
        session, run_options, frame.input_names, <const OrtValue* const*>frame.inputs, <size_t>frame.inputs_count,
        frame.output_names, <size_t>frame.outputs_count, frame.outputs)
    frame_release_inputs(frame)
    return status


cdef inline void frame_clear(Frame* frame) noexcept:
    """Drop everything that the frame still owns."""
    cdef Py_ssize_t i
    for i in range(frame.inputs_count):
        drop_value(frame.inputs[i], frame.kept_inputs[i])
        Py_XDECREF(frame.input_arrays[i])
        live_handles.value -= 1
    for i in range(frame.outputs_count):
        drop_value(frame.outputs[i], frame.kept_outputs[i])
        if frame.output_arrays[i] != NULL:
            Py_XDECREF(frame.output_arrays[i])
            live_handles.value -= 1
    frame.inputs_count = frame.outputs_count = frame.required_count = 0
    frame.known_shapes = True
    frame.bytes_in = frame.bytes_out = 0


cdef inline void frame_close(Frame* frame) noexcept:
    frame_clear(frame)
    free(frame.block)


cdef void frame_abandon(Frame* frame) noexcept:
    """Let go of what was made before a fork, in the child: nothing of it may be released there."""
    frame.inputs_count = frame.outputs_count = 0


# --- values ---------------------------------------------------------------------------------------------------------
#
# A value over a caller's buffer is a pointer and a shape. A program that fills the same buffers for each call would
# have ORT make the same value each time, for 70 ns; so a slot keeps the last one. A call takes it out of its slot, and
# nobody else can use it meanwhile. What it points to is not looked at while it lies there, and need not exist.

cdef inline bint take_value(
        Slot* slot, cnp.ndarray array, OrtValue** value, KeptValue** kept, size_t* size) except -1:
    """Take the slot's value, if it is over an array's memory, or make one.

    Add its bytes to `size`. Return whether the array has the shape of the one before.
    """
    cdef KeptValue* found = slot.kept
    cdef cnp.npy_intp* shape = cnp.PyArray_DIMS(array)
    cdef bint is_known = True
    cdef int i
    if found == NULL or found.handle == NULL or found.data != cnp.PyArray_DATA(array):
        return renew_value(slot, array, value, kept, size)
    for i in range(slot.rank):
        is_known &= found.shape[i] == shape[i]
    if not is_known:
        return renew_value(slot, array, value, kept, size)
    slot.kept, kept[0], value[0] = NULL, found, found.handle
    size[0] += found.size
    live_handles.value += 1
    return True


cdef bint renew_value(
        Slot* slot, cnp.ndarray array, OrtValue** value, KeptValue** kept, size_t* size) except -1:
    """Make a value over an array's memory, in place of the slot's."""
    cdef KeptValue* found = slot.kept
    cdef cnp.npy_intp* shape = cnp.PyArray_DIMS(array)
    cdef bint is_known = True
    cdef int i
    kept[0] = NULL
    size[0] += size_in_bytes(array, slot.element_type)
    if slot.rank < 0:
        make_value(array, slot.element_type, value)
        return False
    if found == NULL:
        slot.kept = found = <KeptValue*>malloc(sizeof(KeptValue) + <size_t>slot.rank * sizeof(int64_t))
        if found == NULL:
            raise MemoryError()
        found.slot, found.handle, found.data = slot, NULL, NULL
    if found.handle == NULL:
        is_known = False
    else:
        for i in range(slot.rank):
            is_known &= found.shape[i] == shape[i]
        api.ReleaseValue(found.handle)
        found.handle = NULL
    make_value(array, slot.element_type, &found.handle)
    found.data = cnp.PyArray_DATA(array)
    found.size = size_in_bytes(array, slot.element_type)
    for i in range(slot.rank):
        found.shape[i] = shape[i]
    slot.kept, kept[0], value[0] = NULL, found, found.handle
    return is_known


cdef inline void drop_value(OrtValue* value, KeptValue* kept) noexcept:
    """Put a value that was taken from a slot back there; release it if another one came first, or if it is none."""
    if kept != NULL:
        if kept.slot.kept == NULL:
            kept.slot.kept = kept
        else:
            release_kept(kept)
    elif value != NULL:
        api.ReleaseValue(value)


cdef inline int add_input(Frame* frame, Slot* slot, cnp.ndarray array) except -1:
    cdef Py_ssize_t i = frame.inputs_count
    frame.known_shapes &= take_value(
        slot, array, &frame.inputs[i], &frame.kept_inputs[i], &frame.bytes_in)
    frame.required_count += slot.required
    frame.input_names[i] = slot.name
    frame.input_arrays[i] = <PyObject*>array
    Py_INCREF(array)
    frame.inputs_count = i + 1
    return 0


cdef int add_feed(Frame* frame, const Slot* slot, Feed feed) except -1:
    """Add an input that was made of something else than an array that fits."""
    cdef Py_ssize_t i = frame.inputs_count
    frame.required_count += slot.required
    frame.bytes_in += feed.size
    frame.input_names[i] = slot.name
    frame.inputs[i] = give_away(feed)
    frame.kept_inputs[i] = NULL
    frame.known_shapes = False
    frame.input_arrays[i] = <PyObject*>feed  # holds what the handle looks into
    Py_INCREF(feed)
    frame.inputs_count = i + 1
    return 0


cdef inline bint is_written_in_place(const Slot* slot) noexcept:
    """Whether ORT writes an output into a buffer itself: not what it has in another form, nor what may be missing."""
    return slot.element_type != ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED and slot.required


cdef inline int add_output(Frame* frame, Slot* slot, cnp.ndarray array) except -1:
    """Add one output; without an array, or with one that elements have to be copied into, ORT allocates it."""
    cdef Py_ssize_t i = frame.outputs_count
    frame.output_names[i] = slot.name
    frame.outputs[i] = NULL
    frame.output_arrays[i] = NULL
    frame.kept_outputs[i] = NULL
    if array is not None and is_written_in_place(slot):
        take_value(slot, array, &frame.outputs[i], &frame.kept_outputs[i], &frame.bytes_out)
        frame.output_arrays[i] = <PyObject*>array
        Py_INCREF(array)
    frame.outputs_count = i + 1
    return 0
