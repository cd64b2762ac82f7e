# The environment: one per process, made with the first session, never released (ORT crashes when sessions or values
# of some providers outlive it).

cdef extern from *:
    """
    #if defined(__GLIBC__)
    #include <execinfo.h>
    /* An exception that leaves pthread_once, of which ORT has several, makes glibc load libgcc_s, and the process is
       aborted if there is no memory for that: have it loaded before. Return whether it is. */
    static int ortx_prepare_unwinding(void) {
        void* frame;
        return backtrace(&frame, 1) > 0;
    }
    #else
    static int ortx_prepare_unwinding(void) { return 1; }
    #endif
    """
    int ortx_prepare_unwinding() noexcept nogil

cdef extern from "Python.h":
    ctypedef struct PyObjectArenaAllocator:  # takes memory from the system and gives it back: mmap, VirtualAlloc
        void* ctx
        void* (*alloc)(void* ctx, size_t size)
        void (*free)(void* ctx, void* memory, size_t size)
    void PyObject_GetArenaAllocator(PyObjectArenaAllocator* allocator)

cdef enum:
    ROOM_TO_SET_UP = 16 << 20  # bytes; the environment takes 6 MB

cdef OrtEnv* env = NULL
cdef int env_born = 0                            # fork_generation when it was made
cdef OrtRunOptions* default_run_options = NULL  # shared by all runs without options: for NULL, ORT makes one each time
cdef OrtRunOptions* main_run_options = NULL     # the same for runs of the main thread that Ctrl-C ends


@cython.binding(True)
def configure(table: Mapping[str, object] | None = None, /, **keywords) -> None:
    """Set what holds for the whole process. Call it before the first session.

    Parameters
    ----------
    table : mapping, optional
        The options below as a mapping. Keywords win over it; what is in neither keeps its value.
    log_severity_level : int, default 2
        Least severity of the messages that reach ``logging.getLogger("ortx")``: 0 verbose to 4 fatal.
    log_id : str, default "ortx"
        Name of the environment in ORT's messages.
    use_global_thread_pools : bool, default False
        Make one pair of thread pools for all sessions that are opened with ``disable_per_session_threads=True``.
    global_intra_op_num_threads, global_inter_op_num_threads : int, default 0
        Their sizes; 0 means as many as the process may use.
    cpu_arena : mapping from str to int or str, optional
        Make one memory arena for all sessions that are opened with ``use_env_allocators=True``; ``{}`` for ONNX
        Runtime's defaults. ``max_mem``: bytes that it may take from the system; a run that needs more raises
        `OutOfMemory`. ``arena_extend_strategy``: how it grows, ``"power_of_two"`` or ``"same_as_requested"``.
        ``initial_chunk_size_bytes``, ``initial_growth_chunk_size_bytes``: its first piece, and its second one.
        ``max_power_of_two_extend_bytes``: up to where pieces double. ``max_dead_bytes_per_chunk``: what of a piece may
        be left unused.
    telemetry : bool, default False
        Let ONNX Runtime collect and send telemetry. Otherwise ``ORT_DISABLE_TELEMETRY=1`` is set before it is loaded.

    Raises
    ------
    OptionError, OptionTypeError
        For an unknown option or a value that is not allowed.
    Error
        If a session is open, or if the environment exists and the change can no longer take effect. (Once all
        sessions are closed, `log_severity_level` can still be changed.)

    Notes
    -----
    A failed call changes nothing. Stands for ``CreateEnvWithCustomLogger``,
    ``CreateEnvWithCustomLoggerAndGlobalThreadPools``, ``UpdateEnvWithCustomLogLevel``, ``DisableTelemetryEvents``,
    ``CreateArenaCfgV2`` and ``CreateAndRegisterAllocator``.
    """
    global configuration
    with setup_lock:
        present = current_configuration()
        wanted = read_table(RuntimeConfiguration, "ortx.configure", table, keywords, defaults=present)
        if open_sessions:
            raise Error(
                f"configure: {open_sessions} session(s) are open; call ortx.configure before the first session is made")
        changes = changed(present, wanted)
        if env != NULL:
            fixed = [name for name in changes if name != "log_severity_level"]
            if fixed:
                raise Error(
                    f"configure: too late to change {', '.join(fixed)}: the environment was made with the first "
                    "session and lives as long as the process")
            check(api.UpdateEnvWithCustomLogLevel(env, <OrtLoggingLevel><int>wanted.log_severity_level))
        elif api != NULL and "telemetry" in changes:
            raise Error("configure: too late to change telemetry: the library is loaded already")
        configuration = wanted


cdef int threads_or_default(int count) except -1:
    """Return a number of threads for ORT, never 0: it would count the host's cores and pin threads to them."""
    if count:
        return count
    from . import cpus
    return cpus.available()


cdef int ensure_env() except -1:
    """Load the library and make the environment, if that has not happened yet."""
    if env != NULL:
        return 0
    with setup_lock:
        if env != NULL:
            return 0
        ensure_library()
        end_daemon_at_exit()
        require_room_to_set_up()
        make_env()
    return 0


cdef int require_room_to_set_up() except -1:
    """Raise if there is not enough memory for the environment: making it might crash, and cannot be tried again."""
    cdef PyObjectArenaAllocator system  # malloc would keep such blocks from then on, and not give them back
    PyObject_GetArenaAllocator(&system)
    room = system.alloc(system.ctx, ROOM_TO_SET_UP)
    if room != NULL:
        system.free(system.ctx, room, ROOM_TO_SET_UP)
    if room == NULL or not ortx_prepare_unwinding():
        raise OutOfMemory(
            f"the first session: there is not enough memory to set up ONNX Runtime, {ROOM_TO_SET_UP >> 20} MB")
    return 0


cdef int make_env() except -1:
    global env, env_born
    cdef OrtEnv* created = NULL
    cdef OrtThreadingOptions* threading_options = NULL
    cdef int intra = 0, inter = 0
    wanted = current_configuration()
    log_id = wanted.log_id.encode()
    log_id_characters = <const char*>PyBytes_AS_STRING(log_id)
    severity = <OrtLoggingLevel><int>wanted.log_severity_level
    if default_run_options == NULL:
        check(api.CreateRunOptions(&default_run_options))
        check(api.CreateRunOptions(&main_run_options))
    if wanted.use_global_thread_pools:
        intra = threads_or_default(wanted.global_intra_op_num_threads)
        inter = threads_or_default(wanted.global_inter_op_num_threads)
        require_threads("the first session", <long long>intra + inter - 2, "use_global_thread_pools")
        check(api.CreateThreadingOptions(&threading_options))
        live_handles.threading_options += 1
    try:
        if threading_options != NULL:
            check(api.SetGlobalIntraOpNumThreads(threading_options, intra))
            check(api.SetGlobalInterOpNumThreads(threading_options, inter))
        with nogil:
            if threading_options != NULL:
                check(api.CreateEnvWithCustomLoggerAndGlobalThreadPools(
                    receive_message, NULL, severity, log_id_characters, threading_options, &created))
            else:
                check(api.CreateEnvWithCustomLogger(receive_message, NULL, severity, log_id_characters, &created))
    finally:
        if threading_options != NULL:
            live_handles.threading_options -= 1
            api.ReleaseThreadingOptions(threading_options)
    if not wanted.telemetry:
        # On Windows events go to the system's tracing whatever ORT_DISABLE_TELEMETRY says.
        check(api.DisableTelemetryEvents(created))
    if wanted.cpu_arena is not None:
        register_cpu_arena(created, wanted.cpu_arena)
    env, env_born = created, fork_generation
    # Once more: what was imported since then, logging maybe, is let go of after this, and before the first one.
    atexit.register(_deliver_at_exit)
    emit_waiting_messages()
    return 0


cdef int register_cpu_arena(OrtEnv* owner, tuple settings) except -1:
    """Make the arena that sessions share; it lives as long as the environment."""
    cdef OrtArenaCfg* config = NULL
    cdef OrtMemoryInfo* info = NULL
    cdef const char* keys[8]
    cdef size_t values[8]
    cdef size_t count = 0
    names = [name.encode() for name, _ in settings]  # keeps the characters alive
    for name, (_, value) in zip(names, settings):
        keys[count], values[count] = PyBytes_AS_STRING(name), value
        count += 1
    check(api.CreateArenaCfgV2(keys, values, count, &config))
    live_handles.arena_config += 1
    try:
        # Of the type "arena", or ORT would register an allocator without one, in silence.
        check(api.CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &info))
        live_handles.memory_info += 1
        try:
            check(api.CreateAndRegisterAllocator(owner, info, config))
        finally:
            live_handles.memory_info -= 1
            api.ReleaseMemoryInfo(info)
    finally:
        live_handles.arena_config -= 1
        api.ReleaseArenaCfg(config)
    return 0


cdef OrtSession* create_session(
        const OrtSessionOptions* options, const ORTCHAR_T* path, const void* model, size_t size,
        OrtPrepackedWeightsContainer* weights) except NULL:
    """Make a session from a file or from memory, whichever is not NULL, with a container unless that is NULL.

    Whoever makes a session comes here: no other thread may fork meanwhile, or ORT's locks would be held in the child.
    """
    cdef OrtSession* made = NULL
    begin_opening()
    try:
        with nogil:
            if weights == NULL:
                if path != NULL:
                    check(api.CreateSession(env, path, options, &made))
                else:
                    check(api.CreateSessionFromArray(env, model, size, options, &made))
            elif path != NULL:
                check(api.CreateSessionWithPrepackedWeightsContainer(env, path, options, weights, &made))
            else:
                check(api.CreateSessionFromArrayWithPrepackedWeightsContainer(
                    env, model, size, options, weights, &made))
    finally:
        end_opening()
    return made
