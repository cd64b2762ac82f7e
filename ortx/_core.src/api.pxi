# What all parts share. Until `load_library` has succeeded, `api` is NULL and no part may use it; everything that makes
# a handle goes through `ensure_library` or `ensure_env` first.

cdef const OrtApi* api = NULL
cdef uint32_t api_version = 0        # of the function table
cdef uint32_t library_minor = 0      # of the library: 31 for 1.31.1, also where the table is older
cdef OrtAllocator* default_allocator = NULL  # belongs to ORT
cdef OrtMemoryInfo* cpu_memory_info = NULL   # never released, like the environment
cdef object loaded_library = None           # LibraryInfo
cdef object configuration = None            # options.RuntimeConfiguration, once it was asked for
cdef object setup_lock = threading.RLock()  # taken for loading the library and making the environment
cdef bint finalizing = False                # set when the interpreter starts to exit: nothing is released after that

# How many handles of each kind ortx owns at this moment. Tests compare it before and after; changed under the GIL only.
cdef struct HandleCounts:
    Py_ssize_t session
    Py_ssize_t value
    Py_ssize_t run_options
    Py_ssize_t io_binding
    Py_ssize_t custom_op_library
    Py_ssize_t prepacked_weights

cdef HandleCounts live_handles


def _live_handles() -> dict[str, int]:
    """Return how many native handles of each kind ortx owns at this moment."""
    return live_handles  # as a dict


def _renew_setup_lock() -> None:
    """Forget, in a forked child, what thread of the parent's held the lock."""
    global setup_lock
    setup_lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_setup_lock)


@atexit.register
def _note_exit() -> None:
    global finalizing
    finalizing = True
