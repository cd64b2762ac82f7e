# Which run options are terminated by their user: ONNX Runtime has a flag for it, but says nobody what it is.

# Guards the list, and in `serial.pxi` who waits for a turn. It is held for a moment, and nobody waits meanwhile, nor
# for the GIL: it may be taken with the GIL and without.
cdef PyThread_type_lock stops_lock = PyThread_allocate_lock()
cdef Terminated* first_terminated = NULL


cdef inline void lock_stops() noexcept nogil:
    PyThread_acquire_lock(stops_lock, WAIT_LOCK)


cdef inline void unlock_stops() noexcept nogil:
    PyThread_release_lock(stops_lock)


cdef void enlist_terminated(Terminated* entry, const OrtRunOptions* options) noexcept nogil:
    """Enter options that are not in the list; `stops_lock` is held."""
    global first_terminated
    entry.options, entry.before, entry.after = options, NULL, first_terminated
    if first_terminated != NULL:
        first_terminated.before = entry
    first_terminated = entry


cdef void delist_terminated(Terminated* entry) noexcept nogil:
    """Take options out, if they are in the list; `stops_lock` is held."""
    global first_terminated
    if entry.options == NULL:
        return
    if entry.before == NULL:
        first_terminated = entry.after
    else:
        entry.before.after = entry.after
    if entry.after != NULL:
        entry.after.before = entry.before
    entry.options = NULL


cdef bint is_listed(const OrtRunOptions* options) noexcept nogil:
    """Whether options are in the list; `stops_lock` is held."""
    cdef Terminated* entry = first_terminated
    while entry != NULL and entry.options != options:
        entry = entry.after
    return entry != NULL


cdef bint is_terminated(const OrtRunOptions* options) noexcept nogil:
    lock_stops()
    cdef bint found = is_listed(options)
    unlock_stops()
    return found


def _renew_stops_lock() -> None:
    """Begin anew in a forked child, whose parent's threads may hold the lock."""
    global stops_lock
    stops_lock = PyThread_allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_stops_lock)
