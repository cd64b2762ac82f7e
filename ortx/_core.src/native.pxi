# OrtSession: made of a path or a buffer and a table of options; with the providers asked for, or without them.

@cython.final
@cython.no_gc_clear  # the session reads its weights until it is released
cdef class NativeSession:
    """The owner of an ``OrtSession``, inside a `Session`."""

    def __cinit__(self):
        self.handle = NULL
        self.run_lock = NULL
        self.born = fork_generation

    def __init__(self):
        raise TypeError("NativeSession cannot be made directly; use ortx.session(path)")

    def __dealloc__(self):
        global open_sessions
        if self.handle == NULL or self.born != releasing_generation:
            return
        open_sessions -= 1
        live_handles.session -= 1
        with nogil:  # it ends the session's threads and gives memory back
            api.ReleaseSession(self.handle)
            if self.is_large:
                ortx_trim_heap()
        free(self.run_lock)


@cython.final
cdef class ModelBuffer:
    """The buffer of a model in memory, held for as long as somebody may look into it."""

    def __cinit__(self):
        self.is_held = False

    def __init__(self):
        raise TypeError("ModelBuffer cannot be made directly; use ortx.session_from_bytes(model)")

    def __dealloc__(self):
        if self.is_held:
            PyBuffer_Release(&self.view)


cdef ModelBuffer hold_buffer(model):
    """Have a contiguous buffer exported; raises what the exporter does."""
    cdef ModelBuffer held = ModelBuffer.__new__(ModelBuffer)
    PyObject_GetBuffer(model, &held.view, PyBUF_SIMPLE)
    held.is_held = True
    return held


cdef NativeSession open_native(str function, table, str source, str path, ModelBuffer buffer):
    """Make a native session from a file or from a buffer, whichever is not None."""
    cdef NativeSession session
    ensure_env()
    table = with_threads(table)
    if not table.disable_per_session_threads:
        of_nodes = table.inter_op_num_threads if table.execution_mode == "parallel" else 1
        count = <long long>table.intra_op_num_threads + of_nodes - 2
        require_threads(function, count, "intra_op_num_threads, inter_op_num_threads")
    libraries = unique_libraries(function, table.custom_op_libraries)
    initializers, external_data = {}, {}
    is_needed = (
        table.free_dimension_overrides or table.initializers or table.external_data
        or not table.allow_external_data_outside_model_folder)  # who does not know the content cannot refuse it
    content = content_of_file(function, table, path, is_needed) if buffer is None else content_of_buffer(buffer)
    if table.external_data:
        external_data = external_buffers(function, table.external_data, content)
    hazardous_nodes, names_files, has_zip_maps = ([], False, False) if content is None else looked_through(content)
    check_content(function, table, hazardous_nodes, names_files, content, path, external_data)
    check_overrides(function, table.free_dimension_overrides, content)
    if table.initializers:
        initializers = shared_initializers(
            function, table.initializers, content, folder_of_external_data(table, path))
    without_nodes, zip_maps = replaced_zip_maps(table, content) if has_zip_maps else (b"", ())
    is_predictable, is_shaped_by_shapes = predictions(without_nodes or content)
    is_large = is_large_model(content)
    reads_in_place = buffer is not None and is_model_read_in_place(table, content)
    content = None
    appended, failures = [], []
    try:
        try:
            session = create_native(
                function, table, libraries, initializers, external_data, without_nodes, table.providers, appended,
                failures, path, buffer)
        except InvalidProtobuf:
            raise
        except Error as error:
            # With the reason why the providers fail; without them it may work, or fail for a reason of its own.
            if not appended:
                raise
            if not table.fallback_to_cpu:
                raise EpFail(f"{function}: a session with {', '.join(appended)} cannot be made: {error}") from error
            failures += [(name, error) for name in appended]
            appended.clear()
            session = create_native(
                function, table, libraries, initializers, external_data, without_nodes, (), appended, failures, path,
                buffer)
    except Error as error:
        # The system's reason is in neither of the texts, which stand for a model and for one in ORT's own format.
        if table.optimized_model_path and re.search("serialization failed|Failed to save", str(error)):
            raise FileError(
                f"{function}: option 'optimized_model_path': ONNX Runtime could not write all of "
                f"{table.optimized_model_path!r} ({error}); the disk may be full, or a limit reached (ulimit -f). What "
                "is there now is no complete model") from None
        if isinstance(error, InvalidProtobuf):
            raise InvalidProtobuf(f"{source} is no ONNX model, or a damaged one ({error})") from None
        raise
    finally:
        emit_waiting_messages()
    for name, error in failures:
        warn(ProviderFallbackWarning, f"{name} cannot be used, so {source} runs without it: {error}")
    session.zip_maps = zip_maps
    session.model_buffer = buffer if reads_in_place else None
    is_all_of_ort = not appended and not libraries  # and on the CPU
    session.may_be_brief = table.brief_runs_keep_gil and is_predictable and is_all_of_ort
    session.has_constant_shapes = is_shaped_by_shapes and is_all_of_ort
    session.provider_names = (*appended, "CPUExecutionProvider")
    session.table = without_what_was_for_opening(table, libraries)
    session.is_large = is_large
    if table.use_env_allocators:
        require_room_in_arena(function, session)
    if not runs_concurrently(table, appended):
        session.run_lock = make_run_lock()
        session.may_be_brief = False  # it may wait
    return session


cdef NativeSession create_native(
        str function, table, tuple libraries, dict initializers, dict external_data, bytes without_nodes, providers,
        list appended, list failures, str path, ModelBuffer buffer):
    """Make the native session; `appended` gets the providers that could be appended, `failures` the others, and why."""
    global open_sessions
    cdef NativeSession session = NativeSession.__new__(NativeSession)
    cdef PrepackedWeights weights = table.prepacked_weights
    cdef OrtSessionOptions* native = NULL
    cdef const ORTCHAR_T* c_path = NULL
    cdef const void* model = NULL if buffer is None else buffer.view.buf
    cdef size_t size = 0 if buffer is None else <size_t>buffer.view.len
    cdef list values = []  # ORT looks at the initializers until the session is made
    check(api.CreateSessionOptions(&native))
    live_handles.session_options += 1
    try:
        fill_session_options(native, function, table)
        for library in libraries:
            register_custom_ops(native, f"{function}: option 'custom_op_libraries'", library)
        add_initializers(native, initializers, values)
        add_external_data(native, external_data)
        appended += append_providers(native, function, table, providers, failures)
        if without_nodes:
            model, size = PyBytes_AS_STRING(without_nodes), <size_t>len(without_nodes)
        elif path is not None:
            encoded_path = native_path(path)
            c_path = path_characters(encoded_path)
        session.handle = create_session(
            native, c_path, model, size, NULL if weights is None else weights.handle)
        session.prepacked_weights = weights
        session.initializers = initializers
        session.external_data = external_data if is_read_in_place(table) else None
        live_handles.session += 1
        open_sessions += 1
    finally:
        live_handles.session_options -= 1
        api.ReleaseSessionOptions(native)
    return session


cdef int check_content(
        str function, table, list hazardous_nodes, bint names_files, content, str path, dict external_data) except -1:
    """Refuse a model that names files outside of its folder, unless the options allow it, or that crashes ORT."""
    if hazardous_nodes:
        from . import hazards
        hazards.check(function, hazardous_nodes, table.graph_optimization_level)
    if names_files:
        from . import externalfiles
        externalfiles.check(
            function, content, path=path, entries=table.config_entries,
            allowed=table.allow_external_data_outside_model_folder, served=external_data)
    return 0


cdef str folder_of_external_data(table, str path):
    """Return the folder that names of other files are relative to; of a model in memory, the current one."""
    from . import externalfiles
    return [*externalfiles.folders(path, table.config_entries), os.curdir][0]


cdef tuple replaced_zip_maps(table, content):
    """Return the model without its ZipMap nodes, and these; empty where they stay."""
    if not table.fast_zip_map or table.optimized_model_path is not None:
        return b"", ()
    from . import zipmaps
    try:
        return zipmaps.without_zip_maps(content)
    except ValueError:
        return b"", ()  # damaged, or of another format: ORT has to say so


cdef int require_room_in_arena(str function, NativeSession session) except -1:
    """Refuse a session whose weights fill the shared arena: ORT takes them in, and has no limit at all from then on."""
    limit = dict(current_configuration().cpu_arena).get("max_mem")
    if limit is None or api_version < 23:
        return 0
    taken = stats_of_allocator(session, cpu_memory_info)["TotalAllocated"]
    if taken > limit:
        raise OutOfMemory(
            f"{function}: with the weights of this session, {taken} bytes are taken of the arena that sessions share; "
            f"its max_mem is {limit}")
    return 0


cdef bint is_large_model(content) except -1:
    """Whether a session of a model takes so much memory that it is to be given back at once; None: not known."""
    # A model with weights in another file names it; a mistake costs some microseconds.
    return content is not None and (len(content) >= LARGE_MODEL or b"location" in bytes(content))


cdef object content_of_buffer(ModelBuffer buffer):
    return PyMemoryView_FromMemory(<char*>buffer.view.buf, buffer.view.len, PyBUF_READ)


cdef bint is_model_read_in_place(table, content) except -1:
    """Whether a session of a model in memory uses the weights where they lie, for as long as it lives."""
    entries = dict(table.config_entries)
    if (entries.get("session.use_ort_model_bytes_directly") != "1"  # without it, the other uses a copy of ORT's own
            or entries.get("session.use_ort_model_bytes_for_initializers") != "1"):
        return False
    from . import modelfile
    return modelfile.is_ort_format(content)


cdef object content_of_file(str function, table, str path, bint is_needed):
    """Read a model's file, without the weights if nobody asks for them. None: it cannot be, and need not be.

    A small file is read here, as a whole: that takes less than to import what leaves the weights out.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            if file.seek(0, os.SEEK_END) <= LARGE_MODEL:
                file.seek(0)
                return memoryview(file.readall())
        from . import modelsource
        return modelsource.read(function, path, whole=bool(table.initializers or table.free_dimension_overrides))
    except OSError as error:
        if not is_needed:
            return None
        if error.errno == errno.ENOMEM:
            raise OutOfMemory(f"{function}: model_path: there is not enough memory to look into {path!r}") from None
        raise file_error(error, f"{function}: model_path: cannot read {path!r}") from None


cdef object file_error(error, str message):
    """Make an error of an `OSError`, with the system's number and reason."""
    refused = FileError(f"{message}: {error.strerror or error}")
    refused.errno = error.errno
    return refused


cdef str end_profile(NativeSession session, str source):
    """Have the profile written, and return the name of its file."""
    cdef char* name = NULL
    with nogil:
        check(api.SessionEndProfiling(session.handle, default_allocator, &name))
    file = take_string(name)
    emit_waiting_messages()
    if not file:
        raise Error(
            f"end_profiling: {source} is not profiled (any more): open the session with profile_file_prefix=..., and "
            "end profiling once")
    if not os.path.exists(file):
        raise NoSuchFile(
            f"end_profiling: ONNX Runtime could not write {file!r}; profile_file_prefix needs a folder that "
            "exists and can be written")
    if not is_complete_profile(file):
        raise FileError(
            f"end_profiling: ONNX Runtime could not write all of {file!r}: it is cut off at {os.path.getsize(file)} "
            "bytes; the disk may be full, or a limit reached (ulimit -f)")
    return file


cdef bint is_complete_profile(str file) except -1:
    """Whether a profile has its end: ORT does not say if the system takes no more of it."""
    try:
        with open(file, "rb") as profile:
            profile.seek(-min(8, os.path.getsize(file)), os.SEEK_END)
            return profile.read().rstrip().endswith(b"]")
    except OSError as error:
        raise file_error(error, f"end_profiling: cannot read {file!r}, which was just written") from None


cdef int add_custom_op_library(Session session, path_or_library) except -1:
    """Replace a session's native session by one with another library; if that fails, nothing has changed."""
    cdef NativeSession replacement
    function = "register_custom_op_library"
    path = absolute_path(function, "path_or_library", path_argument(function, "path_or_library", path_or_library))
    check_library_file(f"{function}: path_or_library", path)
    while True:
        session.opened()
        table, dynamic_options = table_in_effect(session), session.dynamic_options
        libraries = unique_libraries(function, (*table.custom_op_libraries, path))
        if libraries == table.custom_op_libraries:
            return 0
        begin_opening()
        try:
            replacement = reopen_native(session, function, table.replace(
                custom_op_libraries=libraries,
                config_entries=session.given.config_entries))  # the current folder may be another one now
        finally:
            end_opening()
        outputs = output_signature(replacement.handle, replacement.zip_maps)
        if (value_infos(input_signature(replacement.handle)) != value_infos(session.inputs)
                or value_infos(outputs) != value_infos(session.outputs)):
            raise Error(  # the call path of other threads looks into the signatures that there are
                f"{function}: {session.source} has other inputs or outputs than when the session was opened; make a "
                "new session")
        if dynamic_options:
            set_dynamic_options(replacement, dynamic_options)
        session.opened()  # it may have been closed meanwhile
        # Otherwise another thread was faster, and its library or options have to be kept.
        if session.table is table and session.dynamic_options is dynamic_options:
            session.given = session.given.replace(custom_op_libraries=libraries)
            return session.adopt(replacement)


cdef NativeSession reopen_native(Session session, str function, table):
    cdef ModelBuffer buffer
    if session.had_external_data and not table.external_data:
        raise Error(
            f"{function}: the external_data of {session.source} was let go when the session had been opened; open it "
            "with keep_model=True to be able to open it again")
    if session.path is not None:
        path = existing_model_path(function, session.path)
        if state_of_file(path) != session.file_state:
            raise Error(
                f"{function}: the model {path!r} was changed since the session was opened; make a new session of it")
        return open_native(function, table, session.source, path, None)
    if session.model is None:
        raise Error(
            f"{function}: the model of {session.source} was let go when the session had been opened; open it with "
            "keep_model=True to be able to open it again")
    try:
        buffer = hold_buffer(session.model)
    except (BufferError, ValueError) as error:
        raise Error(f"{function}: the buffer that {session.source} were loaded from is gone ({error})") from None
    return open_native(function, table, session.source, None, buffer)


cdef int change_dynamic_options(Session session, options) except -1:
    from . import config_keys
    changes = dict(config_keys.read_dynamic_options(options))
    generation = -1
    while generation != session.generation:  # another thread may open the session anew meanwhile
        generation = session.generation
        set_dynamic_options(session.opened(), changes)
    session.dynamic_options = {**(session.dynamic_options or {}), **changes}
    emit_waiting_messages()
    return 0


cdef int set_dynamic_options(NativeSession session, dict options) except -1:
    cdef OptionTexts texts = make_option_texts(options.items())
    with nogil:
        check(api.SetEpDynamicOptions(session.handle, texts.keys, texts.values, texts.count))
    return 0


cdef tuple state_of_file(str path):
    status = os.stat(path)
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


cdef str existing_model_path(str function, str path):
    """Return the path, if there is a file that can be a model."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise NoSuchFile(f"{function}: model_path: there is no file {path!r}") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidArgument(f"{function}: model_path: cannot look at {path!r}: {error.strerror}") from None
        raise file_error(error, f"{function}: model_path: cannot look at {path!r}") from None
    if stat.S_ISDIR(status.st_mode):
        raise InvalidArgument(f"{function}: model_path: {path!r} is a folder; expected a model file")
    if not stat.S_ISREG(status.st_mode):
        raise InvalidArgument(
            f"{function}: model_path: {path!r} is a pipe, a device or a socket; expected a model file; what can be read"
            " there goes to ortx.session_from_bytes")
    if status.st_size == 0:
        raise InvalidProtobuf(f"{function}: model_path: {path!r} is empty; expected an ONNX model")
    return path
