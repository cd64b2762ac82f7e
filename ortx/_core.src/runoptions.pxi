# OrtRunOptions as an object.

cdef bytes SHRINKAGE = b"memory.enable_memory_arena_shrinkage"


@cython.final
@cython.binding(True)
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

        A run that has not begun, whatever it waits for, is ended at once. Callable from any thread. The runs raise
        `RunCancelled`. It holds until `reset_terminate` is called.
        Stands for ``RunOptionsSetTerminate``.
        """
        self.require_own()
        self.note_terminated(True)
        check(api.RunOptionsSetTerminate(self.handle))
        if self.runs:
            lock_runs()
            for run in self.runs:  # no Python code runs here, so the set does not change
                stop_job(&(<PendingRun>run).job, STOPPED_BY_OPTIONS)
            unlock_runs()

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
            end_waits(self.handle)
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
        config_keys.check_run_version(key, api_version, library_version)
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
        self.require_own()
        present = RunOptionsTable(
            tag=self.tag, log_severity_level=self.log_severity_level, log_verbosity_level=self.log_verbosity_level,
            shrink_memory_arena=self.shrink_memory_arena)
        wanted = read_table(RunOptionsTable, "ortx.run_options", table, keywords, defaults=present)
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


@cython.binding(True)
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
