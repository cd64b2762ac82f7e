# What all parts share. Until `load_library` has succeeded, `api` is NULL and no part may use it; everything that makes
# a handle goes through `ensure_library` or `ensure_env` first.

cdef const OrtApi* api = NULL
cdef uint32_t api_version = 0        # of the function table
cdef uint32_t library_minor = 0      # of the library: 31 for 1.31.1, also where the table is older
cdef OrtAllocator* default_allocator = NULL  # belongs to ORT
cdef OrtMemoryInfo* cpu_memory_info = NULL   # never released, like the environment
cdef Candidate loaded_from = None           # where the library was found
cdef str library_version = None             # of the library: "1.31.1"
cdef object loaded_library = None           # LibraryInfo, once somebody has asked for it
cdef object configuration = None            # RuntimeConfiguration, once it was asked for
cdef object setup_lock = _thread.RLock()            # taken for loading the library and making the environment
cdef bint finalizing = False                # set when the interpreter starts to exit: nothing is released after that
cdef Py_ssize_t open_sessions = 0
cdef object is_finalizing = sys.is_finalizing

# What holds a native handle remembers in `born` which process made it, as the number of forks that lie behind that.
cdef int fork_generation = 0        # of this process
cdef int releasing_generation = 0   # whose handles are released: the same; -1 once the interpreter exits

# How many handles of each kind ortx owns at this moment; in a forked child, of those made there. Tests compare it
# before and after; changed under the GIL only.
cdef struct HandleCounts:
    Py_ssize_t session
    Py_ssize_t value
    Py_ssize_t run_options
    Py_ssize_t io_binding
    Py_ssize_t custom_op_library
    Py_ssize_t prepacked_weights
    # What lives no longer than the function that made it, unless something goes wrong.
    Py_ssize_t session_options
    Py_ssize_t type_info
    Py_ssize_t tensor_info
    Py_ssize_t model_metadata
    Py_ssize_t provider_options
    Py_ssize_t threading_options
    Py_ssize_t arena_config
    Py_ssize_t memory_info
    Py_ssize_t allocator
    Py_ssize_t key_value_pairs

cdef HandleCounts live_handles


def _live_handles() -> dict[str, int]:
    """Return how many native handles of each kind ortx owns at this moment."""
    return live_handles  # as a dict


@atexit.register
def _note_exit() -> None:
    global finalizing, releasing_generation
    with setup_lock:  # ORT crashes if the process takes it down while a thread sets it up
        finalizing = True
        releasing_generation = -1


cdef int refuse_when_finalized(str function) except -1:
    """Raise if the interpreter is past its exit handlers: a new thread would wait for it for ever, an import fail."""
    if finalizing and is_finalizing():
        raise Error(f"{function}: the interpreter is exiting")
    return 0


cdef int end_daemon_at_exit() except -1:
    """End a daemon thread that comes to set up what the process begins to take down."""
    if finalizing:
        threading = sys.modules.get("threading")  # who makes daemon threads has imported it
        if threading is not None and threading.current_thread().daemon:
            raise SystemExit
    return 0
