# OrtSession: open, look at, run, close.

@cython.final
cdef class Session:
    """A loaded model, ready to run; make one with `ortx.session` or `ortx.session_from_bytes`.

    It owns an ``OrtSession``. Any number of threads may use one session at the same time. It is closed by `close`, at
    the end of a ``with`` block, or when the last reference goes; outputs outlive it.
    """

    def __cinit__(self):
        self.handle = NULL
        self.running_calls = 0
        self.is_closed = False
        self.drained = NULL

    def __init__(self):
        raise TypeError("Session cannot be made directly; use ortx.session(path) or ortx.session_from_bytes(model)")

    def __dealloc__(self):
        if self.drained != NULL:
            PyThread_free_lock(self.drained)
        if self.handle != NULL and not finalizing:
            release_session(self.handle)

    # --- run ---

    def run(
            self, inputs: Mapping[str, object] | Sequence[object], output_names: Sequence[str] | None = None,
            run_options: RunOptions | None = None) -> Outputs:
        """Run the model and return the outputs.

        Parameters
        ----------
        inputs : mapping or sequence
            The inputs by name, or in the model's order, going on into overridable initializers. Each is a numpy array
            of exactly the declared element type, anything that exports a buffer, ``__array__`` or ``__dlpack__``, or a
            list or scalar, which takes the declared element type if that loses nothing. Arrays are not copied, unless
            they are not C-contiguous or not aligned: then once. They may not be changed while the model runs.
        output_names : sequence of str, optional
            Which outputs to compute, in which order; all by default.
        run_options : RunOptions, optional
            From `ortx.run_options`.

        Returns
        -------
        Outputs
            numpy arrays over the memory that ONNX Runtime allocated; no copy. They outlive the session. An optional
            output without a value is None.

        Raises
        ------
        CallError
            If inputs or outputs do not fit the model; it lists everything that is wrong, and nothing was run.
        SessionClosed
            If the session is closed.
        Error
            If the model fails while it runs, or was terminated.

        Notes
        -----
        The model runs without the GIL. Safe to call from any thread. Stands for ``Run``.
        """
        cdef Frame frame
        cdef const OrtRunOptions* native_options = native_run_options(run_options)
        cdef tuple names = None if output_names is None else names_argument(output_names)
        outputs_count = self.outputs.count if names is None else PyTuple_GET_SIZE(names)
        frame_open(&frame, self.inputs.count, outputs_count)
        try:
            outputs = marshal_run(&frame, self.inputs, self.outputs, inputs, names)
            self.call(&frame, native_options)
            return unmarshal(&frame, outputs, self.passed_through)
        finally:
            frame_close(&frame)

    def run_into(
            self, inputs: Mapping[str, object] | Sequence[object], outputs: Mapping[str, object] | Sequence[object],
            run_options: RunOptions | None = None) -> Outputs:
        """Run the model and write the outputs into buffers of the caller's.

        Parameters
        ----------
        inputs : mapping or sequence
            As for `run`.
        outputs : mapping or sequence
            The buffers by output name, or in the model's order: writable, C-contiguous, aligned numpy arrays (or
            whatever exports such a buffer) of exactly the declared element type and the shape that the run produces;
            None where ONNX Runtime is to allocate. No two may share memory, nor an output with an input. Only these
            outputs are computed.
        run_options : RunOptions, optional
            From `ortx.run_options`.

        Returns
        -------
        Outputs
            The very objects that were given; arrays as from `run` in place of None.

        Raises
        ------
        CallError
            If inputs or outputs do not fit the model; it lists everything that is wrong, and nothing was run.
        SessionClosed
            If the session is closed.
        Error
            If the model fails while it runs, for example because an output has another shape than its buffer.

        Notes
        -----
        The model runs without the GIL. Safe to call from any thread. Stands for ``Run`` with preallocated outputs.
        """
        cdef Frame frame
        cdef const OrtRunOptions* native_options = native_run_options(run_options)
        frame_open(&frame, self.inputs.count, self.outputs.count)
        try:
            results = marshal_run_into(&frame, self.inputs, self.outputs, inputs, outputs)
            self.call(&frame, native_options)
            return unmarshal(&frame, results, self.passed_through)
        finally:
            frame_close(&frame)

    cdef int call(self, Frame* frame, const OrtRunOptions* native_options) except -1:
        """Make the native call; `close` waits for it."""
        cdef OrtStatus* status
        self.start_call()
        with nogil:
            status = frame_run(frame, self.handle, native_options)
        self.end_call()
        # No Python code above: whatever runs from here on, a logging handler for one, may close this session.
        emit_waiting_messages()
        return check(status)

    cdef inline int start_call(self) except -1:
        if self.is_closed:
            raise SessionClosed(f"the session of {self.source} is closed; make a new one to run the model again")
        self.running_calls += 1
        return 0

    cdef inline void end_call(self) noexcept:
        self.running_calls -= 1
        if self.running_calls == 0 and self.drained != NULL:
            PyThread_release_lock(self.drained)

    # --- look at ---

    def input_names(self) -> tuple[str, ...]:
        """Return the names of the inputs, in the model's order. Stands for ``SessionGetInputName``."""
        return self.inputs.names[:self.input_count()]

    def output_names(self) -> tuple[str, ...]:
        """Return the names of the outputs, in the model's order. Stands for ``SessionGetOutputName``."""
        return self.outputs.names

    def overridable_initializer_names(self) -> tuple[str, ...]:
        """Return the names of the initializers that a call may override, in the model's order.

        Stands for ``SessionGetOverridableInitializerName``.
        """
        return self.inputs.names[self.input_count():]

    def input_count(self) -> int:
        """Return the number of inputs, overridable initializers not counted. Stands for ``SessionGetInputCount``."""
        return self.inputs.count - self.inputs.initializers

    def output_count(self) -> int:
        """Return the number of outputs. Stands for ``SessionGetOutputCount``."""
        return self.outputs.count

    def overridable_initializer_count(self) -> int:
        """Return the number of overridable initializers. Stands for ``SessionGetOverridableInitializerCount``."""
        return self.inputs.initializers

    def __repr__(self):
        state = " (closed)" if self.is_closed else ""
        return (f"<ortx.Session of {self.source}{state}: {', '.join(self.input_names())} -> "
                f"{', '.join(self.output_names())}>")

    # --- close ---

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self.is_closed

    @property
    def running(self) -> int:
        """Number of native calls in progress at this moment, over all threads."""
        return self.running_calls

    def close(self) -> None:
        """Wait for running calls to end, then release the native session.

        Calls that have not started yet raise `SessionClosed`. Closing twice is allowed; arrays that the session
        returned stay valid; names and counts can still be asked for. Callable from any thread. Stands for
        ``ReleaseSession``.
        """
        cdef OrtSession* handle
        self.is_closed = True
        if self.running_calls:
            self.wait_until_drained()
        handle, self.handle = self.handle, NULL
        if handle != NULL:
            release_session(handle)

    cdef int wait_until_drained(self) except -1:
        if self.drained == NULL:
            self.drained = PyThread_allocate_lock()
            if self.drained == NULL:
                raise MemoryError()
            PyThread_acquire_lock(self.drained, WAIT_LOCK)  # free so far; end_call opens it
        with nogil:
            PyThread_acquire_lock(self.drained, WAIT_LOCK)
        PyThread_release_lock(self.drained)  # for the next one who waits
        return 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


cdef void release_session(OrtSession* handle) noexcept:
    global open_sessions
    open_sessions -= 1
    live_handles.session -= 1
    with nogil:
        api.ReleaseSession(handle)
    emit_waiting_messages()


cdef inline const OrtRunOptions* native_run_options(run_options) except? NULL:
    if run_options is None:
        return default_run_options
    if not isinstance(run_options, RunOptions):
        raise InvalidType(
            f"run_options: got {shown(run_options)}; expected an ortx.RunOptions, as ortx.run_options(...) returns")
    return (<RunOptions>run_options).handle


cdef tuple names_argument(names):
    if isinstance(names, str) or not isinstance(names, Iterable):
        hint = f": write [{names!r}]" if isinstance(names, str) else ""
        raise InvalidType(f"output_names: got {shown(names)}; expected a list of names{hint}")
    names = tuple(names)
    if not names:
        raise InvalidArgument("output_names: got an empty list; expected names of outputs, or None for all")
    if len(names) > 1:  # ORT would give one buffer to both
        seen = set()
        for name in names:
            if isinstance(name, str):
                if name in seen:
                    raise InvalidArgument(f"output_names: {name!r} is asked for twice")
                seen.add(name)
    return names


# --- open -----------------------------------------------------------------------------------------------------------

def session(
        model_path: str | os.PathLike[str], options: Mapping[str, object] | None = None, /, **keywords) -> Session:
    """Load a model from a file.

    Parameters
    ----------
    model_path : str or os.PathLike
        An ``.onnx`` or ``.ort`` file.
    options : mapping, optional
        The options below as a mapping. Keywords win over it.
    intra_op_num_threads, inter_op_num_threads : int, default 0
        Threads inside an operator, and across operators with ``execution_mode="parallel"``. 0 means as many as this
        process may use, by its affinity mask and its container's quota.
    graph_optimization_level : str, optional
        ``"disable"``, ``"basic"``, ``"extended"``, ``"layout"`` (ONNX Runtime 1.23 or newer) or ``"all"``.
    execution_mode : str, optional
        ``"sequential"`` or ``"parallel"``.
    deterministic_compute : bool, optional
        Prefer kernels that give the same bits each time.
    disable_per_session_threads : bool, default False
        Use the global thread pools, which ``ortx.configure(use_global_thread_pools=True)`` makes.
    enable_cpu_mem_arena, enable_mem_pattern : bool, optional
        Whether memory is kept for the next run, and laid out in advance.
    log_id : str, optional
        Name of the session in ORT's messages.
    session_log_severity_level : int, optional
        Least severity of the session's messages, 0 (verbose) to 4 (fatal).
    session_log_verbosity_level : int, optional
        Level of detail of verbose messages.
    optimized_model_path : str or os.PathLike, optional
        Write the optimised model to this file.

    Returns
    -------
    Session

    Raises
    ------
    NoSuchFile
        If there is no such file.
    InvalidProtobuf
        If the file is no model, or a damaged one.
    InvalidType, InvalidArgument
        If `model_path` is no path, or that of a folder.
    OptionError, OptionTypeError
        For an unknown option or a value that is not allowed.
    LibraryError
        If ONNX Runtime cannot be loaded; see `ortx.load_library`.
    Error
        If ONNX Runtime refuses the model for another reason.

    Notes
    -----
    The model is loaded without the GIL. Stands for ``CreateSession``.
    """
    table = read_session_options("ortx.session", options, keywords)
    path = existing_model_path(path_argument("ortx.session", "model_path", model_path))
    return open_session(table, repr(path), path, NULL)


def session_from_bytes(
        model: Buffer, options: Mapping[str, object] | None = None, /, **keywords) -> Session:
    """Load a model from memory.

    Parameters
    ----------
    model : buffer
        The content of an ``.onnx`` or ``.ort`` file: bytes, bytearray, memoryview, mmap, numpy array, or whatever else
        exports a contiguous buffer. It is not copied by ortx, and not needed any more afterwards.
    options : mapping, optional
        Options as for `ortx.session`, also as `keywords`.

    Returns
    -------
    Session

    Raises
    ------
    InvalidProtobuf
        If the buffer is no model, or a damaged or empty one.
    InvalidType, InvalidArgument
        If `model` is no buffer, or not a contiguous one.
    OptionError, OptionTypeError, LibraryError, Error
        As for `ortx.session`.

    Notes
    -----
    The model is loaded without the GIL; the buffer must not be changed meanwhile. Stands for
    ``CreateSessionFromArray``.
    """
    cdef Py_buffer view
    table = read_session_options("ortx.session_from_bytes", options, keywords)
    if not PyObject_CheckBuffer(model):
        hint = "; to load a file use ortx.session(path)" if isinstance(model, (str, os.PathLike)) else ""
        raise InvalidType(
            f"ortx.session_from_bytes: model: got {shown(model)}; expected bytes or another buffer{hint}")
    try:
        PyObject_GetBuffer(model, &view, PyBUF_SIMPLE)
    except BufferError as error:
        raise InvalidArgument(
            f"ortx.session_from_bytes: model: got {shown(model)}; expected a contiguous buffer ({error})") from None
    try:
        source = f"{view.len} bytes"
        if view.len == 0:
            raise InvalidProtobuf("ortx.session_from_bytes: model: got an empty buffer; expected an ONNX model")
        return open_session(table, source, None, &view)
    finally:
        PyBuffer_Release(&view)


cdef object read_session_options(function, table, keywords):
    from . import options
    return options.read_table(options.SessionOptions, function, table, keywords)


cdef str existing_model_path(str path):
    """Return the path, if there is a file that can be a model."""
    if os.path.isdir(path):
        raise InvalidArgument(f"ortx.session: model_path: {path!r} is a folder; expected a model file")
    try:
        size = os.stat(path).st_size
    except FileNotFoundError:
        raise NoSuchFile(f"ortx.session: model_path: there is no file {path!r}") from None
    except OSError as error:
        raise InvalidArgument(f"ortx.session: model_path: cannot look at {path!r}: {error}") from None
    if size == 0 and os.path.isfile(path):
        raise InvalidProtobuf(f"ortx.session: model_path: {path!r} is empty; expected an ONNX model")
    return path


cdef Session open_session(table, str source, str path, Py_buffer* view):
    """Make a session from a file or from a buffer, whichever is not None or NULL."""
    global open_sessions
    cdef Session session = Session.__new__(Session)
    cdef OrtSessionOptions* native = NULL
    cdef OrtSession* handle = NULL
    cdef const ORTCHAR_T* c_path = NULL
    ensure_env()
    session.source = source
    check(api.CreateSessionOptions(&native))
    try:
        fill_session_options(native, table)
        if path is not None:
            encoded_path = native_path(path)
            c_path = path_characters(encoded_path)
        with nogil:
            if c_path != NULL:
                check(api.CreateSession(env, c_path, native, &handle))
            else:
                check(api.CreateSessionFromArray(env, view.buf, <size_t>view.len, native, &handle))
    except InvalidProtobuf as error:
        raise InvalidProtobuf(f"{source} is no ONNX model, or a damaged one ({error})") from None
    finally:
        api.ReleaseSessionOptions(native)
        emit_waiting_messages()
    session.handle = handle
    live_handles.session += 1
    open_sessions += 1
    session.inputs = input_signature(handle)
    session.outputs = output_signature(handle)
    if not session.inputs.index_of.keys().isdisjoint(session.outputs.names):
        session.passed_through = session.inputs
    return session
