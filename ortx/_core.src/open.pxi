# Opening a session, from a file or from a buffer.

def session(
        model_path: str | os.PathLike[str], options: Mapping[str, object] | None = None, /, **keywords) -> Session:
    """Load a model from a file.

    Parameters
    ----------
    model_path : str or os.PathLike
        An ``.onnx`` or ``.ort`` file.
    options : mapping, optional
        The options below as a mapping. Keywords win over it.
    providers, provider : str, pair or list, default ()
        Execution providers, best first: ``"cpu"``, ``"CoreMLExecutionProvider"``, ``("cuda", {"device_id": 0})``, or a
        list of such; upper and lower case do not matter. What stands behind ``"cpu"`` is not used. The CPU by default.
    fallback_to_cpu : bool, default True
        If a provider cannot be used, warn (`ProviderFallbackWarning`) and go on without it; otherwise raise `EpFail`.
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
    profile_file_prefix : str or os.PathLike, optional
        Record where time goes, into a file whose name begins like this; `Session.end_profiling` returns the name.
    free_dimension_overrides : list of mappings, default ()
        Fix dimensions that the model leaves open: ``{"by": "name" or "denotation", "key": "batch", "value": 1}``.
    config_entries : mapping from str to str, default ()
        ONNX Runtime's session configuration, such as ``{"session.intra_op.allow_spinning": "0"}``. Values of keys that
        ortx knows are checked; a key that it does not know is kept, with an `UnknownConfigKeyWarning`.
    coreml_compute_units : str, optional
        ``"all"``, ``"cpu_only"``, ``"cpu_and_gpu"`` or ``"cpu_and_neural_engine"``. This and the following go with the
        provider ``"coreml"``; two that contradict each other are refused.
    coreml_create_mlprogram, coreml_require_static_input_shapes, coreml_enable_on_subgraph : bool, optional
        Use the MLProgram format; take only nodes whose input shapes are fixed; run in subgraphs, too.
    coreml_flags : int, optional
        ORT's old bit mask of the same.
    coreml_use_cpu_only, coreml_use_cpu_and_gpu, coreml_only_enable_device_with_ane : bool, optional
        Its single bits: two words for compute units, and the wish for a device with a Neural Engine.

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
        For an unknown option, a value that is not allowed, or two options that contradict each other.
    EpFail
        If a provider cannot be used and ``fallback_to_cpu=False``; with ONNX Runtime's reason.
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
    if table.free_dimension_overrides:
        check_overrides_of_file(table.free_dimension_overrides, path)
    return open_session("ortx.session", table, repr(path), path, NULL)


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
        if table.free_dimension_overrides:
            check_overrides("ortx.session_from_bytes", table.free_dimension_overrides, content_of(&view))
        return open_session("ortx.session_from_bytes", table, source, None, &view)
    finally:
        PyBuffer_Release(&view)


cdef object read_session_options(function, table, keywords):
    from . import options
    return options.read_session_options(function, table, keywords)


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


cdef object content_of(Py_buffer* view):
    return PyMemoryView_FromMemory(<char*>view.buf, view.len, PyBUF_READ)


cdef int check_overrides_of_file(overrides, str path) except -1:
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return check_overrides("ortx.session", overrides, content)
    except (OSError, ValueError) as error:  # ValueError: a file that cannot be mapped, such as a pipe
        if isinstance(error, Error):
            raise
        raise InvalidArgument(f"ortx.session: model_path: cannot read {path!r}: {error}") from None


cdef Session open_session(str function, table, str source, str path, Py_buffer* view):
    """Make a session from a file or from a buffer, whichever is not None or NULL."""
    cdef Session session = Session.__new__(Session)
    ensure_env()
    session.source = source
    session.table = table
    session.provider_names = ("CPUExecutionProvider",)
    failures = []
    try:
        try:
            create_session(session, function, table, table.providers, failures, path, view)
        except (InvalidProtobuf, NoSuchFile):
            raise
        except Error as error:
            # With the reason why the providers fail; without them it may work, or fail for a reason of its own.
            used = [name for name in session.provider_names if name != "CPUExecutionProvider"]
            if not used:
                raise
            if not table.fallback_to_cpu:
                raise EpFail(f"{function}: a session with {', '.join(used)} cannot be made: {error}") from error
            failures += [(name, error) for name in used]
            create_session(session, function, table, (), failures, path, view)
    except InvalidProtobuf as error:
        raise InvalidProtobuf(f"{source} is no ONNX model, or a damaged one ({error})") from None
    finally:
        emit_waiting_messages()
    for name, error in failures:
        warn(ProviderFallbackWarning, f"{name} cannot be used, so {source} runs without it: {error}")
    session.inputs = input_signature(session.native.handle)
    session.outputs = output_signature(session.native.handle)
    if not session.inputs.index_of.keys().isdisjoint(session.outputs.names):
        session.passed_through = session.inputs
    return session


cdef int create_session(
        Session session, str function, table, providers, list failures, str path, Py_buffer* view) except -1:
    """Make the native session; `failures` gets the providers that could not be appended, and why."""
    global open_sessions
    cdef NativeSession opened = NativeSession.__new__(NativeSession)
    cdef OrtSessionOptions* native = NULL
    cdef const ORTCHAR_T* c_path = NULL
    check(api.CreateSessionOptions(&native))
    try:
        fill_session_options(native, function, table)
        appended = append_providers(native, function, table, providers, failures)
        session.provider_names = (*appended, "CPUExecutionProvider")
        if path is not None:
            encoded_path = native_path(path)
            c_path = path_characters(encoded_path)
        with nogil:
            if c_path != NULL:
                check(api.CreateSession(env, c_path, native, &opened.handle))
            else:
                check(api.CreateSessionFromArray(env, view.buf, <size_t>view.len, native, &opened.handle))
        session.native = opened
        live_handles.session += 1
        open_sessions += 1
    finally:
        api.ReleaseSessionOptions(native)
    return 0
