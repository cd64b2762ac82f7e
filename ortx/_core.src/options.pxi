# OrtSessionOptions, filled from an options table for the time it takes to make a session; OrtRunOptions as an object.

cdef int fill_session_options(OrtSessionOptions* native, str function, table) except -1:
    """Hand a `SessionOptions` table to ORT, option by option; `function` is whose options these are."""
    from . import options
    check(api.SetIntraOpNumThreads(native, threads_or_default(table.intra_op_num_threads)))
    check(api.SetInterOpNumThreads(native, threads_or_default(table.inter_op_num_threads)))
    if table.graph_optimization_level == "layout":
        require_version(23, "graph_optimization_level='layout'")
    level = options.GRAPH_OPTIMIZATION_LEVELS[table.graph_optimization_level]
    check(api.SetSessionGraphOptimizationLevel(native, <GraphOptimizationLevel><int>level))
    mode = options.EXECUTION_MODES[table.execution_mode]
    check(api.SetSessionExecutionMode(native, <ExecutionMode><int>mode))
    check(api.SetDeterministicCompute(native, table.deterministic_compute))
    if table.disable_per_session_threads:
        if not current_configuration().use_global_thread_pools:
            raise OptionError(
                f"{function}: option 'disable_per_session_threads': there are no global thread pools to use; make "
                "them with ortx.configure(use_global_thread_pools=True) before the first session")
        if env_born != fork_generation:  # with execution_mode="parallel" a run would wait for them for ever
            refuse_inherited(
                f"{function}: option 'disable_per_session_threads': the pair of global thread pools", env_born,
                "leave the option out, or fork before the first session is opened")
        check(api.DisablePerSessionThreads(native))
    check(api.EnableCpuMemArena(native) if table.enable_cpu_mem_arena else api.DisableCpuMemArena(native))
    if table.use_env_allocators:
        if current_configuration().cpu_arena is None:
            raise OptionError(
                f"{function}: option 'use_env_allocators': there is no arena to share; make it with "
                "ortx.configure(cpu_arena={}) before the first session")
        check(api.AddSessionConfigEntry(native, b"session.use_env_allocators", b"1"))
    refuse_inherited_arena(function, table)
    check(api.EnableMemPattern(native) if table.enable_mem_pattern else api.DisableMemPattern(native))
    log_id = table.log_id.encode()
    check(api.SetSessionLogId(native, PyBytes_AS_STRING(log_id)))
    if table.session_log_severity_level is not None:
        check(api.SetSessionLogSeverityLevel(native, table.session_log_severity_level))
    check(api.SetSessionLogVerbosityLevel(native, table.session_log_verbosity_level))
    if table.optimized_model_path is not None:
        path = native_path(table.optimized_model_path)
        check(api.SetOptimizedModelFilePath(native, path_characters(path)))
    if table.profile_file_prefix is not None:
        path = native_path(unique_prefix(table.profile_file_prefix))
        check(api.EnableProfiling(native, path_characters(path)))
    if table.config_entries:
        from . import config_keys
        config_keys.check_versions(table.config_entries, api_version, loaded_library.version, function=function)
        for key, value in table.config_entries:
            encoded_key, encoded_value = key.encode(), value.encode()
            check(api.AddSessionConfigEntry(
                native, PyBytes_AS_STRING(encoded_key), PyBytes_AS_STRING(encoded_value)))
    for by, key, size in table.free_dimension_overrides:
        encoded_key = key.encode()
        if by == "name":
            check(api.AddFreeDimensionOverrideByName(native, PyBytes_AS_STRING(encoded_key), size))
        else:
            check(api.AddFreeDimensionOverride(native, PyBytes_AS_STRING(encoded_key), size))
    return 0


cdef int refuse_inherited_arena(str function, table) except -1:
    """Refuse a shared arena that was made before a fork: a thread of the parent's may hold its lock for ever."""
    key = "session.use_env_allocators"
    by_entry = dict(table.config_entries).get(key) == "1" and current_configuration().cpu_arena is not None
    if (table.use_env_allocators or by_entry) and env_born != fork_generation:
        option = "'use_env_allocators'" if table.use_env_allocators else f"'config_entries'[{key!r}]"
        refuse_inherited(
            f"{function}: option {option}: the shared arena", env_born,
            "leave it out, or fork before the first session is opened")
    return 0


cdef dict uses_of_prefix = {}


cdef str unique_prefix(str prefix):
    """Return the prefix, with a number behind it from its second use on.

    ORT adds the time in milliseconds, which two sessions can have in common: they would write into one file.
    """
    uses_of_prefix[prefix] = uses_of_prefix.get(prefix, 0) + 1
    return prefix if uses_of_prefix[prefix] == 1 else f"{prefix}_{uses_of_prefix[prefix]}"


cdef int check_overrides(str function, overrides, model) except -1:
    """Refuse an override that the model has no dimension for; ORT says nothing about it.

    `model` is the content of the file. Looked for is how either format writes such a text, so a text that is something
    else in the model may be taken for it, but none that the model has is missed.
    """
    for position, (by, key, _) in enumerate(overrides):
        text = key.encode()
        tag = b"\x12" if by == "name" else b"\x1a"  # field 2 or 3 of TensorShapeProto.Dimension
        in_onnx = tag + varint(len(text)) + text
        in_ort = len(text).to_bytes(4, "little") + text + b"\0"
        if not re.search(re.escape(in_onnx) + b"|" + re.escape(in_ort), model):
            raise OptionError(
                f"{function}: option 'free_dimension_overrides'[{position}]['key']: the model has no dimension of the "
                f"{by} {key!r}")
    return 0


cdef bytes varint(Py_ssize_t number):
    """Write a number as protobuf does: seven bits a byte, the least first."""
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7f | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


cdef bytes SHRINKAGE = b"memory.enable_memory_arena_shrinkage"


@cython.final
cdef class RunOptions:
    """Options of a run; make one with `ortx.run_options`.

    One object may be used for any number of runs, one after another or at the same time. What is set here concerns
    all of them, `terminate` included: use one object per run to stop one run alone. While a run uses it, only
    `terminate` and `reset_terminate` may be called: ONNX Runtime reads everything else without a lock. It owns an
    ``OrtRunOptions``.
    """

    def __cinit__(self):
        self.handle = NULL
        self.born = fork_generation
        self.terminated.options = NULL

    def __init__(self):
        raise TypeError("RunOptions cannot be made directly; use ortx.run_options(...)")

    def __dealloc__(self):
        if self.is_terminated():
            self.note_terminated(False)
        if self.handle != NULL and self.born == releasing_generation:
            live_handles.run_options -= 1
            api.ReleaseRunOptions(self.handle)

    @property
    def tag(self) -> str:
        """Tag of the run in ORT's messages; empty by default. Stands for ``RunOptionsSetRunTag``."""
        cdef const char* tag = NULL
        check(api.RunOptionsGetRunTag(self.handle, &tag))
        return tag.decode("utf-8", "replace")

    @tag.setter
    def tag(self, value):
        self.set(tag=value)

    @property
    def log_severity_level(self) -> int:
        """Least severity of the run's messages, 0 (verbose) to 4 (fatal); -1 is the session's.

        Stands for ``RunOptionsSetRunLogSeverityLevel``.
        """
        cdef int level = 0
        check(api.RunOptionsGetRunLogSeverityLevel(self.handle, &level))
        return level

    @log_severity_level.setter
    def log_severity_level(self, value):
        self.set(log_severity_level=value)

    @property
    def log_verbosity_level(self) -> int:
        """Level of detail of verbose messages; 0 by default. Stands for ``RunOptionsSetRunLogVerbosityLevel``."""
        cdef int level = 0
        check(api.RunOptionsGetRunLogVerbosityLevel(self.handle, &level))
        return level

    @log_verbosity_level.setter
    def log_verbosity_level(self, value):
        self.set(log_verbosity_level=value)

    @property
    def shrink_memory_arena(self) -> tuple[str, ...]:
        """Devices whose arenas give memory that is free back to the system after a run, such as ``("cpu:0",)``.

        Can be set to True, which is the CPU, False, a text such as ``"cpu:0;gpu:0"``, or a list of devices. Stands for
        the entry ``"memory.enable_memory_arena_shrinkage"`` of ``AddRunConfigEntry``.
        """
        from . import memoryoptions
        return memoryoptions.devices_of_entry((self.entries or {}).get(SHRINKAGE, b"").decode())

    @shrink_memory_arena.setter
    def shrink_memory_arena(self, value):
        self.set(shrink_memory_arena=value)

    def terminate(self) -> None:
        """End the runs that use these options as soon as their current kernels are done, and refuse new ones.

        Callable from any thread. The runs raise `RunCancelled`. It holds until `reset_terminate` is called.
        Stands for ``RunOptionsSetTerminate``.
        """
        self.require_own()
        self.note_terminated(True)
        check(api.RunOptionsSetTerminate(self.handle))
        if self.derived:
            for run in self.derived:  # no Python code runs here, so the set does not change
                check(api.RunOptionsSetTerminate((<PendingRun>run).job.own_options))

    def reset_terminate(self) -> None:
        """Allow runs again after `terminate`. Stands for ``RunOptionsUnsetTerminate``."""
        self.require_own()
        self.note_terminated(False)
        check(api.RunOptionsUnsetTerminate(self.handle))

    cdef inline bint is_terminated(self) noexcept:
        return self.terminated.options != NULL

    cdef void note_terminated(self, bint value) noexcept:
        lock_stops()
        delist_terminated(&self.terminated)
        if value:
            enlist_terminated(&self.terminated, self.handle)
        unlock_stops()

    def add_config_entry(self, key: str, value: str) -> None:
        """Set an entry of ONNX Runtime's run configuration, such as ``"memory.enable_memory_arena_shrinkage"``.

        A later value for the same key wins. Values of keys that ortx knows are checked; a key that it does not know is
        kept, with an `UnknownConfigKeyWarning`. Raises `OptionTypeError` unless `key` and `value` are strings,
        `OptionError` for a value that the key does not have, and `NotSupported` for a key that the loaded library does
        not have yet. Stands for ``AddRunConfigEntry``.
        """
        from . import config_keys
        self.require_own()
        key, value = config_keys.read_run_entry(key, value)
        config_keys.check_run_version(key, api_version, loaded_library.version)
        encoded_key, encoded_value = key.encode(), value.encode()
        before = self.entries or {}
        self.entries = {**before, encoded_key: encoded_value}
        if encoded_key in before and env == NULL:
            self.renew()
        elif before.get(encoded_key) != encoded_value:  # otherwise ORT would warn of a second value
            check(api.AddRunConfigEntry(self.handle, PyBytes_AS_STRING(encoded_key), PyBytes_AS_STRING(encoded_value)))

    cdef int renew(self) except -1:
        """Make the native options anew. No run can be using them before there is an environment.

        ORT warns of a second value for a key, and without an environment it has nowhere to say so: the process ends.
        """
        cdef OrtRunOptions* made = own_run_options(self)
        release_own_run_options(self.handle)
        self.handle = made
        if self.is_terminated():
            self.note_terminated(True)
        return 0

    def set(self, table: Mapping[str, object] | None = None, /, **keywords) -> None:
        """Set some of the options that `ortx.run_options` takes, in a mapping `table` or as `keywords`.

        The others keep their values; None gives one its default back. Raises `OptionError` or `OptionTypeError`, and
        changes nothing, if one of them cannot be used.
        """
        from . import options
        self.require_own()
        present = options.RunOptionsTable(
            tag=self.tag, log_severity_level=self.log_severity_level, log_verbosity_level=self.log_verbosity_level,
            shrink_memory_arena=self.shrink_memory_arena)
        wanted = options.read_table(options.RunOptionsTable, "ortx.run_options", table, keywords, defaults=present)
        tag = wanted.tag.encode()
        check(api.RunOptionsSetRunTag(self.handle, PyBytes_AS_STRING(tag)))
        check(api.RunOptionsSetRunLogSeverityLevel(self.handle, wanted.log_severity_level))
        check(api.RunOptionsSetRunLogVerbosityLevel(self.handle, wanted.log_verbosity_level))
        if wanted.shrink_memory_arena != present.shrink_memory_arena:  # an empty entry is as good as none
            self.add_config_entry(SHRINKAGE.decode(), ";".join(wanted.shrink_memory_arena))

    cdef inline int require_own(self) except -1:
        """Refuse to change options that were made before a fork: to read them does no harm."""
        return 0 if self.born == fork_generation else refuse_run_options(self)

    def __repr__(self):
        shrink = f" shrink_memory_arena={self.shrink_memory_arena}" if self.shrink_memory_arena else ""
        return (f"<ortx.RunOptions tag={self.tag!r} log_severity_level={self.log_severity_level} "
                f"log_verbosity_level={self.log_verbosity_level}{shrink}>")


def run_options(table: Mapping[str, object] | None = None, /, **keywords) -> RunOptions:
    """Make options for runs.

    Parameters
    ----------
    table : mapping, optional
        The options below as a mapping. Keywords win over it.
    tag : str, default ""
        Tag of the run in ORT's messages.
    log_severity_level : int, default -1
        Least severity of the run's messages, 0 (verbose) to 4 (fatal); -1 for the session's, which is the default.
    log_verbosity_level : int, default 0
        Level of detail of verbose messages.
    shrink_memory_arena : bool, str or list of str, default ()
        Whether arenas give memory that is free at the end of the run back to the system. True is the CPU's; a text such
        as ``"cpu:0;gpu:0"`` or a list says which devices'. Costs a run that needs the memory again the time to get it.

    Returns
    -------
    RunOptions

    Raises
    ------
    OptionError, OptionTypeError
        For an unknown option or a value that is not allowed.

    Notes
    -----
    Stands for ``CreateRunOptions``.
    """
    cdef RunOptions made = RunOptions.__new__(RunOptions)
    ensure_library()
    check(api.CreateRunOptions(&made.handle))
    live_handles.run_options += 1
    made.set(table, **keywords)
    return made


cdef inline void release_own_run_options(OrtRunOptions* options) noexcept:
    live_handles.run_options -= 1
    api.ReleaseRunOptions(options)


cdef int add_entries(OrtRunOptions* options, dict entries) except -1:
    if entries is not None:
        for key, value in entries.items():
            check(api.AddRunConfigEntry(options, PyBytes_AS_STRING(key), PyBytes_AS_STRING(value)))
    return 0


cdef OrtRunOptions* own_run_options(RunOptions copied) except NULL:
    """Make options for one run alone: a copy, or the defaults if `copied` is None. The caller releases them."""
    cdef OrtRunOptions* made = NULL
    cdef const char* tag = NULL
    cdef int level = 0
    check(api.CreateRunOptions(&made))
    live_handles.run_options += 1
    if copied is None:
        return made
    try:
        check(api.RunOptionsGetRunTag(copied.handle, &tag))
        check(api.RunOptionsSetRunTag(made, tag))
        check(api.RunOptionsGetRunLogSeverityLevel(copied.handle, &level))
        check(api.RunOptionsSetRunLogSeverityLevel(made, level))
        check(api.RunOptionsGetRunLogVerbosityLevel(copied.handle, &level))
        check(api.RunOptionsSetRunLogVerbosityLevel(made, level))
        add_entries(made, copied.entries)
        if copied.is_terminated():
            check(api.RunOptionsSetTerminate(made))
    except BaseException:
        release_own_run_options(made)
        raise
    return made


cdef inline const OrtRunOptions* native_run_options(run_options) except? NULL:
    if run_options is None:
        return default_run_options
    if not isinstance(run_options, RunOptions):
        raise InvalidType(
            f"run_options: got {shown(run_options)}; expected an ortx.RunOptions, as ortx.run_options(...) returns")
    if (<RunOptions>run_options).born != fork_generation:
        refuse_run_options(run_options)
    return (<RunOptions>run_options).handle


cdef int refuse_run_options(RunOptions run_options) except -1:
    refuse_inherited(
        "run_options: this object", run_options.born,
        "make new ones with ortx.run_options(...), or copy.copy(run_options)")
    return 0
