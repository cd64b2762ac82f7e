# Opening a session, from a file or from a buffer.

@cython.binding(True)
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
    preset : str, optional
        Defaults for a way of running: ``"latency"`` (all CPUs, whose threads spin), ``"throughput"`` (one thread for
        each caller) or ``"service"`` (all CPUs, nobody spins). Options and configuration entries that are given win.
    intra_op_num_threads, inter_op_num_threads : int, default 0
        Threads inside an operator, and across operators with ``execution_mode="parallel"``. 0 means as many as this
        process may use, by its affinity mask and its container's quota.
    graph_optimization_level : str, default "all"
        ``"disable"``, ``"basic"``, ``"extended"``, ``"layout"`` (ONNX Runtime 1.23 or newer) or ``"all"``.
    execution_mode : str, default "sequential"
        ``"sequential"`` or ``"parallel"``.
    deterministic_compute : bool, default False
        Prefer kernels that give the same bits each time.
    disable_per_session_threads : bool, default False
        Use the global thread pools, which ``ortx.configure(use_global_thread_pools=True)`` makes.
    enable_cpu_mem_arena, enable_mem_pattern : bool, default True
        Whether memory is kept for the next run, and laid out in advance.
    use_env_allocators : bool, default False
        Take memory from the arena that ``ortx.configure(cpu_arena=...)`` makes, with all other sessions that do.
    log_id : str, default ""
        Name of the session in ORT's messages.
    session_log_severity_level : int, optional
        Least severity of the session's messages, 0 (verbose) to 4 (fatal); that of `ortx.configure` if not given.
    session_log_verbosity_level : int, default 0
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
    custom_op_libraries : path, CustomOpLibrary or list, default ()
        Libraries of custom operators: a path, what `ortx.load_custom_op_library` returned, or a list of such. Their
        code runs in this process. One that is named twice counts once.
    initializers : mapping from str to array, default ()
        Arrays to use in place of the model's weights of these names, so that sessions share them. They are not copied
        and have to hold what the model holds; do not change them while the session lives, which keeps them alive.
    prepacked_weights : PrepackedWeights, optional
        A container in which sessions share what is packed of the `initializers`.
    external_data : mapping from str to buffer, default ()
        The files that the model's weights are in, by the names that the model has for them, as contiguous buffers. All
        of them, or none. They may not be changed while the session is opened, and are not needed any more afterwards;
        but with ``{"session.use_external_initializer_file_buffers_directly": "1"}`` among the `config_entries`
        (ONNX Runtime 1.31) the session uses them in place, and keeps them until it is closed.
    allow_external_data_outside_model_folder : bool, default False
        Let the model read its weights from any file that it names: outside of its folder, or, of a model in memory,
        at all. For models that you trust. ONNX Runtime 1.24 and newer refuse such files themselves, whatever this says.
    keep_model : bool, default False
        Keep the buffers that `ortx.session_from_bytes` and `external_data` were given, so that the session can be
        opened anew (`Session.register_custom_op_library`), copied and pickled. They may not be changed then.
    concurrent_runs : bool, optional
        Whether runs of the session may be in progress at the same time. If False, calls from several threads wait for
        each other, without the GIL. By default, whatever the `providers` can do; the CPU can.
    fast_zip_map : bool, default True
        Let ortx make the dictionaries of a ZipMap node at the end of a model (scikit-learn's converters write such) of
        the tensor that the node reads: the same ones, sooner. The node itself is left out then.
    brief_runs_keep_gil : bool, default True
        Let runs keep the GIL that are known to end sooner (in some microseconds) than another thread could take it.
        That is so for small models on the CPU whose cost follows from the shapes of their inputs, once several runs of
        one shape were as short. While no other Python thread exists, this holds for runs of up to a millisecond.
    max_concurrency : int, default 0
        Runs of `Session.run_async` and `Session.submit` that go on at once, each on a thread of its own. 0 means the
        number of CPUs that this process may use, divided by `intra_op_num_threads`; at least 1.
    max_queued_runs : int, default 1024
        Such runs that may wait besides; whoever comes then waits with nothing begun.
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
        If `model_path` is no path, or that of a folder, a pipe or a device.
    OptionError, OptionTypeError
        For an unknown option, a value that is not allowed, or two options that contradict each other.
    ExternalDataRefused
        If the model names a file outside of its folder for some weights, which the options do not allow.
    EpFail
        If a provider cannot be used and ``fallback_to_cpu=False``; with ONNX Runtime's reason.
    LibraryError
        If ONNX Runtime cannot be loaded; see `ortx.load_library`.
    OutOfMemory
        If there is not enough memory for the model, or for the session's threads.
    FileError
        If a file may not be read or written.
    Error
        If ONNX Runtime refuses the model for another reason, or the system the session's threads.

    Notes
    -----
    The model is loaded without the GIL. Stands for ``CreateSession``.
    """
    begin_opening()
    try:
        table = options_of_session("ortx.session", options, keywords)
        path = existing_model_path("ortx.session", path_argument("ortx.session", "model_path", model_path))
        return open_session("ortx.session", table, repr(path), path, None, None)
    finally:
        end_opening()


@cython.binding(True)
def session_from_bytes(
        model: Buffer, options: Mapping[str, object] | None = None, /, **keywords) -> Session:
    """Load a model from memory.

    Parameters
    ----------
    model : buffer
        The content of an ``.onnx`` or ``.ort`` file: bytes, bytearray, memoryview, mmap, numpy array, or whatever else
        exports a contiguous buffer. It is not copied by ortx, and not needed any more afterwards. But an ``.ort`` model
        that is opened with ``"session.use_ort_model_bytes_directly"`` and
        ``"session.use_ort_model_bytes_for_initializers"`` set to ``"1"`` among the `config_entries` has its weights
        read where they lie: the session holds the buffer until it is closed, and its content may not be changed.
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
    ExternalDataRefused
        If the model names a file for some weights: a model in memory has no folder. The configuration entry
        ``"session.model_external_initializers_file_folder_path"`` gives it one (ONNX Runtime 1.21 or newer).
    OptionError, OptionTypeError, LibraryError, OutOfMemory, FileError, Error
        As for `ortx.session`.

    Notes
    -----
    The model is loaded without the GIL; the buffer must not be changed meanwhile. Stands for
    ``CreateSessionFromArray``.
    """
    begin_opening()
    try:
        return session_from_buffer(model, options, keywords)
    finally:
        end_opening()


cdef Session session_from_buffer(model, options, dict keywords):
    cdef ModelBuffer buffer
    table = options_of_session("ortx.session_from_bytes", options, keywords)
    if not PyObject_CheckBuffer(model):
        hint = "; to load a file use ortx.session(path)" if isinstance(model, (str, os.PathLike)) else ""
        raise InvalidType(
            f"ortx.session_from_bytes: model: got {shown(model)}; expected bytes or another buffer{hint}")
    try:
        buffer = hold_buffer(model)
    except BufferError as error:
        raise InvalidArgument(
            f"ortx.session_from_bytes: model: got {shown(model)}; expected a contiguous buffer ({error})") from None
    if buffer.view.len == 0:
        raise InvalidProtobuf("ortx.session_from_bytes: model: got an empty buffer; expected an ONNX model")
    return open_session("ortx.session_from_bytes", table, f"{buffer.view.len} bytes", None, model, buffer)


cdef object options_of_session(function, table, keywords):
    refuse_when_finalized(function)
    read = read_session_options(function, table, keywords)
    check_prepacked_weights(function, read.prepacked_weights)
    return read


cdef object for_another_opening(str function, table):
    """Return options that mean the same files wherever they are read again, and keep no more than they are to."""
    changes = {}
    for name in ("optimized_model_path", "profile_file_prefix"):
        if getattr(table, name) is not None:
            changes[name] = absolute_path(function, f"option {name!r}", getattr(table, name))
    if table.config_entries:
        changes["config_entries"] = with_absolute_paths(function, table.config_entries)
    if table.external_data and not table.keep_model:
        changes["external_data"] = ()
    return table.replace(**changes) if changes else table


cdef tuple with_absolute_paths(str function, tuple entries):
    """Return configuration entries whose paths hold in any folder."""
    from . import config_keys
    changed = []
    for key, value in entries:
        known = config_keys.SESSION_KEYS.get(key)
        if known is not None and known.kind is config_keys.PATH and value and not os.path.isabs(value):
            # Not `abspath`, which would take "link/.." for ".": the system does not.
            folder = absolute_path(function, f"option 'config_entries'[{key!r}]", os.curdir)
            value = os.path.join(folder, value)
        changed.append((key, value))
    return tuple(changed)


cdef Session open_session(str function, table, str source, str path, model, ModelBuffer buffer):
    """Make a session from a file, or from the buffer of `model`."""
    cdef Session session = Session.__new__(Session)
    session.source, session.given = source, for_another_opening(function, table)
    session.opened_at, session.opened_at_ns = time.time(), clock_ns()
    if path is not None:
        session.path, session.file_state = os.path.abspath(path), state_of_file(path)
    session.model = model if table.keep_model else None
    session.had_external_data = bool(table.external_data)
    session.adopt(open_native(function, table, source, path, buffer))
    session.inputs = input_signature(session.native.handle)
    session.outputs = output_signature(session.native.handle, session.native.zip_maps)
    session.zip_maps = zip_map_columns(session.native.zip_maps) or None
    if not session.inputs.index_of.keys().isdisjoint(session.outputs.names):
        session.passed_through = session.inputs
    if session.native.has_constant_shapes and session.passed_through is None and session.zip_maps is None:
        session.allocates_small = who_allocates_small(session.inputs, session.outputs)
    listen_for_interrupts()
    return session


cdef int who_allocates_small(Signature inputs, Signature outputs) noexcept:
    """Return who allocates the small outputs of a model whose inputs' shapes tell those of its outputs."""
    cdef Py_ssize_t i
    for i in range(inputs.count):
        if not has_fixed_shape(&inputs.slots[i]):
            return ORT_ALLOCATES
    for i in range(outputs.count):
        if outputs.slots[i].is_small:
            return ORT_ALLOCATES_FIRST
    return ORT_ALLOCATES
